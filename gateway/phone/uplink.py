"""What leaves the phone: one frame after the other of speech, silence or a key. Pure.

Silence is sent too, as a telephone does. A key takes the place of what would have been said; the
speech goes on after it where it stood. Keys that are pressed while one is still sounding wait.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gateway.audio import g711
from gateway.audio.formats import AudioFormat, Law
from gateway.phone.plan import KEY_S
from gateway.rtp.session import RtpSession


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The first packet of the speech is in this frame."""

    interrupts: bool


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The last packet of the speech was in the frame before."""


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The first packet of a key is in this frame."""

    digit: str


@dataclass(frozen=True, slots=True)
class KeyImpossible:
    """The far end agreed to no telephone-events, so this key cannot be sent."""

    digit: str


Mark = SpeechBegan | SpeechEnded | KeyPressed | KeyImpossible


@dataclass(frozen=True, slots=True)
class Frame:
    """What to send now."""

    datagrams: list[bytes]
    marks: list[Mark]


class Uplink:
    """Turns intentions into packets.

    Args:
        rtp: stamps them.
        law: what is spoken on the wire.
        voice: what there is to say: linear 16-bit samples at 8 kHz; empty for nothing.
        frame_samples: samples in a packet.
    """

    def __init__(self, rtp: RtpSession, law: Law, voice: bytes, frame_samples: int) -> None:
        self._rtp = rtp
        self._silence = AudioFormat(law, 8000).silence(frame_samples)
        self._voice = g711.encode(np.frombuffer(voice, "<i2"), law)
        self._at: int | None = None
        self._interrupts = False
        self._keys: deque[str] = deque()
        self._key: Iterator[list[bytes]] | None = None

    def speak(self, *, interrupts: bool) -> None:
        """Say it, from the next frame on."""
        self._at = 0
        self._interrupts = interrupts

    def press(self, digit: str) -> None:
        """Press a key from the next frame on, or when the one before is done."""
        self._keys.append(digit)

    def frame(self, *, muted: bool) -> Frame:
        """The next frame interval. Muted means on hold: time passes and nothing is sent."""
        marks: list[Mark] = []
        if muted:
            self._key = None
            self._rtp.skip(len(self._silence))
            return Frame([], marks)
        datagrams = self._key_datagrams(marks)
        if datagrams is None:
            datagrams = [self._rtp.send(self._audio(marks))]
        return Frame(datagrams, marks)

    def _key_datagrams(self, marks: list[Mark]) -> list[bytes] | None:
        if self._key is not None:
            datagrams = next(self._key, None)
            if datagrams is not None:
                return datagrams
            self._key = None
        if not self._keys:
            return None
        digit = self._keys.popleft()
        try:
            self._key = self._rtp.press(digit, duration_ms=round(KEY_S * 1000))
        except ValueError:
            marks.append(KeyImpossible(digit))
            return None
        marks.append(KeyPressed(digit))
        return next(self._key, None)

    def _audio(self, marks: list[Mark]) -> bytes:
        if self._at is None:
            return self._silence
        size = len(self._silence)
        audio = self._voice[self._at : self._at + size]
        if not audio:
            if self._at > 0:
                marks.append(SpeechEnded())
            self._at = None
            return self._silence
        if self._at == 0:
            marks.append(SpeechBegan(self._interrupts))
        self._at += size
        return audio + self._silence[len(audio) :]
