"""Collects key presses into the one line of text that the model reads.

Digits go to the model together: on `#`, when no key came for a while, or when the caller starts to
speak. Each method returns the line that it completed, or "".
"""

DIGIT_PAUSE_S = 2.5
"""This long without a key ends a line of digits."""
MAX_DIGITS = 64
"""A longer line is sent on at once, so that a stuck key cannot fill memory."""


class DigitCollector:
    """The digits pressed and not yet sent."""

    def __init__(self) -> None:
        self._digits = ""
        self._deadline: float | None = None

    def press(self, digit: str, now: float) -> str:
        self._digits += digit
        self._deadline = now + DIGIT_PAUSE_S
        return self.take() if digit == "#" or len(self._digits) >= MAX_DIGITS else ""

    def take(self) -> str:
        """End the line here."""
        digits, self._digits, self._deadline = self._digits, "", None
        return digits

    def timeout(self, now: float) -> str:
        due = self._deadline is not None and now >= self._deadline
        return self.take() if due else ""

    def next_timeout(self) -> float | None:
        return self._deadline
