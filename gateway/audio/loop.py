"""Audio that goes round and round: what is heard while nobody speaks."""


class Loop:
    """Audio without end, handed out piece by piece.

    Args:
        audio: one round of it, at least a sample.
    """

    def __init__(self, audio: bytes) -> None:
        self._audio = audio
        self._at = 0

    def next(self, size: int) -> bytes:
        """The next `size` bytes."""
        at = self._at
        piece = self._audio[at : at + size]
        self._at = at + size
        missing = size - len(piece)
        if missing:
            rounds, self._at = divmod(missing, len(self._audio))
            piece += self._audio * rounds + self._audio[: self._at]
        return piece
