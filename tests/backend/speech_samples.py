"""Speech for the tests: the shipped prompts, which flite spoke."""

import numpy as np
from numpy.typing import NDArray

from gateway.audio.formats import AudioFormat
from gateway.backend.voice import PROMPTS, decode_clip

PCM16K = AudioFormat("pcm16", 16_000)


def prompt(start: str, audio_format: AudioFormat) -> bytes:
    """The prompt whose file name starts like this, in this format."""
    (path,) = PROMPTS.glob(f"{start}*.opus")
    return decode_clip(path.read_bytes(), audio_format)


def speech_and_noise(noise_dbov: float, seed: int) -> NDArray[np.int16]:
    """Sentences with pauses of up to a second and a half between them, in white noise: 16 kHz."""
    random = np.random.default_rng(seed)
    pieces = []
    for path in sorted(PROMPTS.glob("*.opus"))[seed % 5 :: 12]:
        samples = np.frombuffer(decode_clip(path.read_bytes(), PCM16K), np.int16)
        pieces.append(np.zeros(random.integers(4000, 24_000)))
        pieces.append(samples * random.choice([1.0, 0.3]))
    clean = np.concatenate(pieces)
    noise = random.normal(0, 32768 * 10 ** (noise_dbov / 20), len(clean))
    return np.clip(clean + noise, -32767, 32767).astype(np.int16)
