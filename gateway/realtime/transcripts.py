"""Transcripts of the caller's words that come whole each time, made into what was added since."""

from collections.abc import Hashable


class GrowingTranscripts:
    """What was told of each transcript so far."""

    def __init__(self) -> None:
        self._told: dict[Hashable, str] = {}

    def added(self, of: Hashable, text: str) -> str:
        """What `text` has more than was told before; "" also where it corrects that.

        A delta cannot take anything back: the final transcript does.
        """
        told = self._told.get(of, "")
        if not text.startswith(told):
            return ""
        self._told[of] = text
        return text[len(told) :]

    def end(self, of: Hashable) -> None:
        """The final transcript is there."""
        self._told.pop(of, None)
