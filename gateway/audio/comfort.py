"""What a caller hears while nobody speaks: recordings, and two soft notes where there is none.

A `Prompt` is a recording that can be had in the format of any leg. It begins and ends softly, so it
neither clicks when it is played once nor when a `Loop` plays it round and round.

Recordings come at rates that the formats of a call do not know, 44.1 kHz above all, and all of one
is there at once. So its rate is not changed as that of a stream is, but in one step: the spectrum
of the whole is cut off, or continued with nothing, where the new rate says so.
"""

import wave
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.audio import g711
from gateway.audio.formats import AudioFormat

MAX_PROMPT_S: Final = 300
"""A longer recording is refused: it is kept in memory, once for each format."""
_RATES_HZ: Final = range(8000, 48_001)
_FADE_MS: Final = 10


class WavError(ValueError):
    """A file is no WAV file, or not one that can be played to a caller."""


class Prompt:
    """A mono recording.

    Args:
        samples: on the 16-bit scale.
        rate_hz: any from 8 to 48 kHz.
    """

    def __init__(self, samples: NDArray[np.int16], rate_hz: int) -> None:
        self._samples = _softened(samples, rate_hz)
        self._rate_hz = rate_hz
        self._formats: dict[AudioFormat, bytes] = {}

    def in_format(self, format: AudioFormat) -> bytes:
        """All of it; computed once for each format."""
        audio = self._formats.get(format)
        if audio is None:
            samples = _resampled(self._samples, self._rate_hz, format.rate_hz)
            law = format.encoding
            audio = samples.tobytes() if law == "pcm16" else g711.encode(samples, law)
            self._formats[format] = audio
        return audio


def read_wav(data: bytes) -> Prompt:
    """Read a WAV file: PCM of 8 or 16 bits, mono or stereo, at a rate from 8 to 48 kHz.

    The two channels of a stereo file are mixed. A file that ends early, or never said how long it
    is, counts as far as it goes.

    Raises:
        WavError: what is wrong with the file.
    """
    try:
        with wave.open(BytesIO(data)) as file:
            width, channels, rate_hz = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(MAX_PROMPT_S * rate_hz + 1)
    except (wave.Error, EOFError, RuntimeError) as error:  # the last for lengths that do not fit
        fault = str(error) or "it is cut off"
        raise WavError(f"not a WAV file of linear PCM: {fault}") from None
    if width not in (1, 2):
        raise WavError(f"its samples have {width * 8} bits: 8 and 16 can be played")
    if channels not in (1, 2):
        raise WavError(f"it has {channels} channels: one and two can be played")
    if rate_hz not in _RATES_HZ:
        raise WavError(f"it is sampled at {rate_hz} Hz: 8000 to 48000 can be played")
    frames = len(raw) // (width * channels)
    if not frames:
        raise WavError("there is no audio in it")
    if frames > MAX_PROMPT_S * rate_hz:
        raise WavError(f"it is longer than {MAX_PROMPT_S} seconds")
    raw = raw[: frames * width * channels]
    if width == 1:  # without a sign, 128 is silence
        samples = (np.frombuffer(raw, np.uint8).astype(np.int16) - 128) * 256
    else:
        samples = np.frombuffer(raw, np.dtype("<i2")).astype(np.int16)
    if channels == 2:
        samples = samples.reshape(-1, 2).mean(axis=1).astype(np.int16)
    return Prompt(samples, rate_hz)


def _softened(samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
    """The samples with a short fade at both ends."""
    fade = min(rate_hz * _FADE_MS // 1000, len(samples) // 2)
    weight = np.ones(len(samples), np.float32)
    weight[:fade] = np.arange(fade) / fade if fade else 0
    weight[len(samples) - fade :] = weight[:fade][::-1]
    softened: NDArray[np.int16] = np.rint(samples * weight).astype(np.int16)
    return softened


def _resampled(samples: NDArray[np.int16], source_hz: int, target_hz: int) -> NDArray[np.int16]:
    if source_hz == target_hz:
        return samples
    # Whole seconds have a whole number of samples at both rates, whatever they are.
    seconds = -(-len(samples) // source_hz)
    spectrum = np.fft.rfft(samples.astype(np.float32), seconds * source_hz)
    signal = np.fft.irfft(spectrum, seconds * target_hz) * (target_hz / source_hz)
    length = max(1, round(len(samples) * target_hz / source_hz))
    return np.rint(signal[:length]).clip(-32768, 32767).astype(np.int16)


def _tone() -> Prompt:
    """Two notes, a fourth apart, and silence.

    Both lie in the telephone's band and away from its signals: dialling, ringing, keys and fax.
    """
    rate_hz, seconds = 8000, 2.0
    note_s, amplitude = 0.4, 32_768 * 10 ** (-32 / 20)
    at = np.arange(int(rate_hz * note_s)) / rate_hz
    swell = amplitude * np.sin(np.pi * at / note_s) ** 2
    notes = [swell * np.sin(2 * np.pi * note_hz * at) for note_hz in (392.0, 523.3)]
    signal = np.zeros(int(rate_hz * seconds))
    signal[: 2 * len(at)] = np.concatenate(notes)
    return Prompt(np.rint(signal).astype(np.int16), rate_hz)


def _ringback() -> Prompt:
    """A second of 425 Hz and four of silence (ITU-T E.180), 20 dB below full scale."""
    rate_hz = 8000
    at = np.arange(rate_hz) / rate_hz
    tone = np.rint(3276 * np.sin(2 * np.pi * 425 * at)).astype(np.int16)
    silence = np.zeros(4 * rate_hz, np.int16)
    return Prompt(np.concatenate((_softened(tone, rate_hz), silence)), rate_hz)


RINGBACK: Final = _ringback()
"""What a telephone sounds like that rings elsewhere."""
TONE: Final = _tone()
"""A soft sound of two seconds, 32 dB below full scale at its loudest."""
