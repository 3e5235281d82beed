"""Speech of a person, from the agent's own prompts: what it takes to be heard as speech, and to be
found again in what came through a codec."""

import numpy as np

from tests.peers.audio import RATE_HZ, Signal, read_sound, voiced
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


def _without_silence(begin: str) -> Signal:
    (path,) = _PROMPTS.glob(f"{begin}*.opus")
    sound = read_sound(path)
    stretches = voiced(sound)
    return sound[int(stretches[0][0] * RATE_HZ) : int(stretches[-1][1] * RATE_HZ)]
