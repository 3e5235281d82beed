"""Listens to all sessions at once: one batch of windows, one pass of the network.

Sessions are grouped by their audio format, because each sampling rate has its own first layer. A
session that waits with several windows takes part in several passes.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.audio import g711
from gateway.audio.formats import AudioFormat
from gateway.backend.ear import Ear
from gateway.backend.silero import MEMORY, Array, Silero, model_path, read_weights

_FULL_SCALE: Final = np.float32(32768)


class Hearing:
    """The voice detector of a process.

    Raises:
        SileroError: the model cannot be loaded.
    """

    def __init__(self) -> None:
        self._weights = read_weights(model_path().read_bytes())
        self._networks: dict[int, Silero] = {}
        codes = bytes(range(256))
        self._levels = {
            law: g711.decode(codes, law).astype(np.float32) / _FULL_SCALE
            for law in ("pcmu", "pcma")
        }

    def listen(self, ears: Sequence[Ear]) -> list[tuple[Ear, float]]:
        """Judge the next window of each ear that has one: the probabilities of speech."""
        groups: dict[AudioFormat, list[Ear]] = {}
        for ear in ears:
            if ear.windows > 0:
                groups.setdefault(ear.format, []).append(ear)
        judged: list[tuple[Ear, float]] = []
        for audio_format, group in groups.items():
            judged += zip(group, self._judge(audio_format, group), strict=True)
        return judged

    def _judge(self, audio_format: AudioFormat, ears: list[Ear]) -> list[float]:
        network = self._networks.get(audio_format.rate_hz)
        if network is None:
            network = self._networks[audio_format.rate_hz] = Silero(
                self._weights, audio_format.rate_hz
            )
        windows = self._decode(audio_format, b"".join([ear.take() for ear in ears]))
        memory = np.zeros((len(ears), MEMORY), np.float32)
        for row, ear in enumerate(ears):
            if ear.memory is not None:
                memory[row] = ear.memory
        probabilities, memory = network.run(windows.reshape(len(ears), -1), memory)
        for ear, row_of_memory in zip(ears, memory, strict=True):
            ear.memory = row_of_memory
        result: list[float] = probabilities.tolist()
        return result

    def _decode(self, audio_format: AudioFormat, audio: bytes) -> Array:
        if audio_format.encoding == "pcm16":
            return np.frombuffer(audio, "<i2").astype(np.float32) / _FULL_SCALE
        return self._levels[audio_format.encoding].take(np.frombuffer(audio, np.uint8))
