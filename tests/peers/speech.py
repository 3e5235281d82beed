"""Speech of a person, from the agent's own prompts: what it takes to be heard as speech, and to be
found again in what came through a codec."""

import numpy as np

from tests.peers.audio import RATE_HZ, Signal, likeness, read_sound, voiced
from tests.peers.gateway import ROOT

_PROMPTS = ROOT / "gateway" / "backend" / "prompts"


def prompt(*begins: str) -> Signal:
    """The prompts whose files begin so, one after the other, without the silence around them."""
    return np.concatenate([_without_silence(begin) for begin in begins])


def monologue() -> Signal:
    """Seven seconds or more without a pause worth the name."""
    return prompt("so-she-walked", "she-said-that")


def pcm(signal: Signal, rate_hz: int) -> bytes:
    """A signal in samples of 16 bits, at a rate that is a multiple of its own."""
    at = np.arange(len(signal) * rate_hz // RATE_HZ) * RATE_HZ / rate_hz
    smooth = np.interp(at, np.arange(len(signal)), signal)
    return (np.clip(smooth, -1, 1) * 32767).astype("<i2").tobytes()


def found(said: Signal, heard: Signal) -> float:
    """How well a stretch of what was said is found in what was heard, whichever of them best.

    Jitter buffers stretch and cut speech, ever more so on a machine that is busy; between two such
    places the audio has to be what it was.
    """
    size = int(1.5 * RATE_HZ)
    begins = range(0, len(said) - size, size // 3)
    return max(likeness(said[at : at + size], heard)[0] for at in begins)


def _without_silence(begin: str) -> Signal:
    (path,) = _PROMPTS.glob(f"{begin}*.opus")
    sound = read_sound(path)
    stretches = voiced(sound)
    return sound[int(stretches[0][0] * RATE_HZ) : int(stretches[-1][1] * RATE_HZ)]
