"""A binding of the part of libopus that a call needs, by ctypes.

The library is the one that comes with PyAV, else the system's. PyAV itself cannot be asked, because
what stands between it and libopus, FFmpeg's decoder, has no way to say what matters on a lossy
network: it always calls `opus_decode` with the flag of in-band FEC at 0, never without a packet
(which is how libopus is asked to conceal one), and always at 48 kHz.

All that is used exists since libopus 1.0, but for one function that can be done without. The states
are freed with the objects that hold them. Calls keep the interpreter's lock: one takes less than
0.3 ms, while taking the lock back from a busy thread may take 5 ms.
"""

import ctypes
import weakref
from ctypes.util import find_library
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# The numbers of opus_defines.h.
APPLICATION_AUDIO: Final = 2049
SET_BITRATE: Final = 4002
SET_COMPLEXITY: Final = 4010
SET_INBAND_FEC: Final = 4012
SET_PACKET_LOSS_PERC: Final = 4014
SET_SIGNAL: Final = 4024
SIGNAL_VOICE: Final = 3001
SIGNAL_MUSIC: Final = 3002
_OK: Final = 0
_HAS_FEC: Final = "opus_packet_has_lbrr"

RATES_HZ: Final = (8000, 12_000, 16_000, 24_000, 48_000)
LONGEST_PACKET_MS: Final = 120
_LARGEST_FRAME_BYTES: Final = 1276
_SAMPLE_BYTES: Final = 2
_MONO: Final = 1


class LibopusMissing(Exception):
    """There is no libopus on this machine, or not one that can be loaded."""


class OpusError(Exception):
    """libopus refused, for instance a packet. The text is its own."""


def version() -> str:
    """What libopus calls itself, such as `libopus 1.6.1`.

    Raises:
        LibopusMissing: nothing of Opus can be had.
    """
    return _text(_library().opus_get_version_string())


def packet_samples(packet: bytes, rate_hz: int) -> int:
    """How much audio a packet holds, by its first two bytes (RFC 6716 section 3.1).

    Raises:
        OpusError: it is empty, or holds more than 120 ms.
    """
    return _checked(_library().opus_packet_get_nb_samples(packet, len(packet), rate_hz))


def frame_samples(packet: bytes, rate_hz: int) -> int:
    """The length of each frame in a packet, which must have a first byte."""
    return _checked(_library().opus_packet_get_samples_per_frame(packet, rate_hz))


def has_fec(packet: bytes) -> bool:
    """Whether a packet tells of the frame before its first.

    A libopus before 1.5 cannot say so: then it is True, and `Decoder.recover` conceals if need be.
    """
    if not packet:
        return False
    look = getattr(_library(), _HAS_FEC, None)
    return look is None or look(packet, len(packet)) > 0


class Encoder:
    """Encodes mono PCM of 16 bits.

    Raises:
        LibopusMissing: see `version`.
        OpusError: no memory, or not one of `RATES_HZ`.
    """

    def __init__(self, rate_hz: int, application: int) -> None:
        library = _library()
        error = ctypes.c_int()
        state = library.opus_encoder_create(rate_hz, _MONO, application, ctypes.byref(error))
        _checked(error.value)
        self._state = ctypes.c_void_p(state)
        weakref.finalize(self, library.opus_encoder_destroy, self._state)
        self._encode = library.opus_encode
        self._ctl = library.opus_encoder_ctl
        self._packet = ctypes.create_string_buffer(_LARGEST_FRAME_BYTES)

    def set(self, request: int, value: int) -> None:
        """Change a setting.

        Raises:
            OpusError: there is no such setting or value.
        """
        _checked(self._ctl(self._state, request, ctypes.c_int(value)))

    def encode(self, frame: bytes) -> bytes:
        """One packet of 2.5, 5, 10, 20, 40 or 60 ms of audio.

        Raises:
            OpusError: another length.
        """
        samples = len(frame) // _SAMPLE_BYTES
        size = self._encode(self._state, frame, samples, self._packet, _LARGEST_FRAME_BYTES)
        return ctypes.string_at(self._packet, _checked(size))


class Decoder:
    """Decodes packets of any mode, mono or stereo, to mono PCM of 16 bits.

    Raises:
        LibopusMissing: see `version`.
        OpusError: no memory, or not one of `RATES_HZ`.
    """

    def __init__(self, rate_hz: int) -> None:
        library = _library()
        error = ctypes.c_int()
        state = library.opus_decoder_create(rate_hz, _MONO, ctypes.byref(error))
        _checked(error.value)
        self._state = ctypes.c_void_p(state)
        weakref.finalize(self, library.opus_decoder_destroy, self._state)
        self._decode = library.opus_decode
        self._room = rate_hz // 1000 * LONGEST_PACKET_MS
        self._samples = ctypes.create_string_buffer(self._room * _SAMPLE_BYTES)

    def decode(self, packet: bytes) -> bytes:
        """The audio of a packet.

        Raises:
            OpusError: it is none.
        """
        if not packet:  # libopus would conceal as much as there is room for
            raise OpusError("an empty packet")
        return self._decoded(packet, self._room, fec=False)

    def recover(self, following: bytes, samples: int) -> bytes:
        """This many samples from before a packet that came: its FEC for the last of them.

        The rest is concealed, and all of it where the packet holds no FEC.

        Args:
            samples: a multiple of 2.5 ms up to 120 ms.

        Raises:
            OpusError: it is no packet.
        """
        return self._decoded(following, samples, fec=True)

    def conceal(self, samples: int) -> bytes:
        """This many samples in place of what did not come.

        Args:
            samples: a multiple of 2.5 ms up to 120 ms.

        Raises:
            OpusError: another length.
        """
        return self._decoded(None, samples, fec=False)

    def _decoded(self, packet: bytes | None, samples: int, *, fec: bool) -> bytes:
        size = len(packet) if packet else 0
        count = self._decode(self._state, packet, size, self._samples, samples, fec)
        return ctypes.string_at(self._samples, _checked(count) * _SAMPLE_BYTES)


@cache
def _library() -> ctypes.PyDLL:
    for path in _places():
        try:
            return _typed(ctypes.PyDLL(path))
        except (OSError, AttributeError):
            continue
    raise LibopusMissing("no libopus: neither PyAV nor the system brought one that can be loaded")


def _places() -> list[str]:
    """Where libopus may be, by what each system's wheels of PyAV look like."""
    places: list[str] = []
    package = find_spec("av")  # not imported: that is slow, and brings all of FFmpeg
    for directory in (package.submodule_search_locations or ()) if package else ():
        inside, beside = Path(directory, ".dylibs"), Path(directory).with_name("av.libs")
        places += [str(path) for root in (inside, beside) for path in root.glob("libopus[-.]*")]
    system = find_library("opus")
    return sorted(places) + ([system] if system else [])


def _typed(library: ctypes.PyDLL) -> ctypes.PyDLL:
    """Declare what is called.

    Of the two functions with a variable number of arguments only the fixed ones are declared: that
    is how ctypes knows where the others begin, which processors of Apple pass in another way.
    """
    number, address, error = ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)
    text = ctypes.c_char_p
    for name, result, arguments in (
        ("opus_get_version_string", text, []),
        ("opus_strerror", text, [number]),
        ("opus_packet_get_nb_samples", number, [text, number, number]),
        ("opus_packet_get_samples_per_frame", number, [text, number]),
        ("opus_encoder_create", address, [number, number, number, error]),
        ("opus_encoder_ctl", number, [address, number]),
        ("opus_encode", number, [address, text, number, text, number]),
        ("opus_encoder_destroy", None, [address]),
        ("opus_decoder_create", address, [number, number, error]),
        ("opus_decode", number, [address, text, number, text, number, number]),
        ("opus_decoder_destroy", None, [address]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if hasattr(library, _HAS_FEC):
        getattr(library, _HAS_FEC).argtypes = [text, number]
    return library


def _checked(result: int) -> int:
    """The result of a function of libopus, unless it is the number of an error."""
    if result < _OK:
        raise OpusError(_text(_library().opus_strerror(result)))
    return result


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
