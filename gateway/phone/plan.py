"""What the person at the phone does, and when. Pure: told what is heard and asked what is due.

A person who is given no times behaves like a polite caller: listens to the greeting, presses the
keys once it has begun, speaks when the far end has paused, and speaks anyway when nothing is heard
for a while, or when the far end does not stop. Times that are given are counted from the answer;
only the interruption is counted from the far end's first sound, because what it interrupts begins
there. If that moment falls into a pause between two sentences, it waits a little for the next one:
an interruption of nothing shows nothing.
"""

from dataclasses import dataclass
from typing import Final

from gateway.rtp.dtmf import DIGITS

KEY_S: Final = 0.1
"""How long a key is held down."""
_KEY_PERIOD_S: Final = 0.2
_KEYS_INTO_GREETING_S: Final = 0.7
_TURN_PAUSE_S: Final = 0.8
"""The far end has paused for this long: it is our turn."""
_PATIENCE_S: Final = 3.0
"""Nothing was heard for this long since the answer: begin all the same."""
_LISTEN_AT_MOST_S: Final = 4.0
"""The far end has talked for this long: begin all the same."""
_SOUNDING_S: Final = 0.1
"""A voice heard this recently still sounds."""
_WAIT_FOR_SOUND_S: Final = 1.0
"""So long may an interruption be put off until there is a voice to interrupt."""
MAX_DURATION_S: Final = 3600.0
MAX_DIGITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Times in seconds after the answer, unless said otherwise; None leaves it to the situation.

    Raises:
        ValueError: a key that does not exist, or a time that makes no sense.
    """

    duration_s: float = 10.0
    """When to hang up."""
    speak_after_s: float | None = None
    """When to speak; None: when the far end has paused."""
    interrupt_after_s: float | None = None
    """Speak into the far end's voice, this long after it was first heard; during a pause of it up
    to a second later."""
    digits: str = ""
    """Keys to press: 0-9 * # A-D."""
    digits_after_s: float | None = None
    """When to press the first; None: shortly after the greeting began."""
    hold_after_s: float | None = None
    """When to put the far end on hold; None: never."""
    hold_s: float = 2.0
    """How long to hold."""

    def __post_init__(self) -> None:
        for name, value in (
            ("duration", self.duration_s),
            ("time to speak", self.speak_after_s),
            ("time to interrupt", self.interrupt_after_s),
            ("time of the keys", self.digits_after_s),
            ("time to hold", self.hold_after_s),
            ("length of the hold", self.hold_s),
        ):
            if value is not None and not 0.0 <= value <= MAX_DURATION_S:
                raise ValueError(f"the {name} must be 0 to {MAX_DURATION_S:.0f} seconds")
        if self.interrupt_after_s is not None and self.speak_after_s is not None:
            raise ValueError("either speak at a time or interrupt: there is one thing to say")
        if len(self.digits) > MAX_DIGITS:
            raise ValueError(f"at most {MAX_DIGITS} keys")
        for digit in self.digits:
            if digit not in DIGITS:
                raise ValueError(f"not a key: {digit!r}")


@dataclass(frozen=True, slots=True)
class Speak:
    """Begin to say what there is to say."""

    interrupts: bool


@dataclass(frozen=True, slots=True)
class Press:
    """Press a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Put the far end on hold, or take it back."""

    on: bool


@dataclass(frozen=True, slots=True)
class HangUp:
    """Time to go. Nothing comes after it."""


Action = Speak | Press | Hold | HangUp


class Script:
    """Carries out a `Plan`, step by step."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._answered_at: float | None = None
        self._first_voice_at: float | None = None
        self._last_voice_at = 0.0
        self._keys_from: float | None = None
        self._pressed = 0
        self._spoken = False
        self._hold_steps = 0
        self._over = False

    def answer(self, now: float) -> None:
        """The far end picked up."""
        self._answered_at = now

    def hear(self, now: float) -> None:
        """The far end's voice sounds now."""
        if self._first_voice_at is None:
            self._first_voice_at = now
        self._last_voice_at = now

    def due(self, now: float) -> list[Action]:
        """What is to be done now, in order; each action is returned once."""
        if self._answered_at is None or self._over:
            return []
        if now >= self._answered_at + self._plan.duration_s:
            self._over = True
            return [HangUp()]
        return [
            *self._keys(now, self._answered_at),
            *self._speech(now, self._answered_at),
            *self._holding(now, self._answered_at),
        ]

    def _keys(self, now: float, answered_at: float) -> list[Action]:
        plan = self._plan
        if self._pressed == len(plan.digits):
            return []
        if self._keys_from is None:
            if plan.digits_after_s is not None:
                self._keys_from = answered_at + plan.digits_after_s
            elif self._first_voice_at is not None:
                self._keys_from = self._first_voice_at + _KEYS_INTO_GREETING_S
            elif now >= answered_at + _PATIENCE_S:
                self._keys_from = now
            else:
                return []
        if now < self._keys_from + self._pressed * _KEY_PERIOD_S:
            return []
        self._pressed += 1
        return [Press(plan.digits[self._pressed - 1])]

    def _speech(self, now: float, answered_at: float) -> list[Action]:
        if self._spoken:
            return []
        interrupts = self._plan.interrupt_after_s is not None
        at = self._speech_at(answered_at)
        if at is None or now < at:
            return []
        if interrupts and self._last_voice_at + _SOUNDING_S < now < at + _WAIT_FOR_SOUND_S:
            return []
        self._spoken = True
        return [Speak(interrupts)]

    def _speech_at(self, answered_at: float) -> float | None:
        plan = self._plan
        if plan.interrupt_after_s is not None:
            if self._first_voice_at is None:
                return None
            return self._first_voice_at + plan.interrupt_after_s
        if plan.speak_after_s is not None:
            return answered_at + plan.speak_after_s
        if self._pressed < len(plan.digits):
            return None
        last_key_at = (
            answered_at
            if self._keys_from is None
            else (self._keys_from + self._pressed * _KEY_PERIOD_S)
        )
        if self._first_voice_at is None:
            return max(answered_at + _PATIENCE_S, last_key_at)
        return min(
            max(self._last_voice_at, last_key_at) + _TURN_PAUSE_S,
            max(self._first_voice_at, last_key_at) + _LISTEN_AT_MOST_S,
        )

    def _holding(self, now: float, answered_at: float) -> list[Action]:
        if self._plan.hold_after_s is None or self._hold_steps == 2:
            return []
        at = answered_at + self._plan.hold_after_s + self._hold_steps * self._plan.hold_s
        if now < at:
            return []
        self._hold_steps += 1
        return [Hold(on=self._hold_steps == 1)]
