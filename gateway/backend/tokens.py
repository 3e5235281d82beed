"""How many tokens a model would have counted. Rough, and the same every time.

The caller's audio is a token for each 100 ms, the agent's one for each 50 ms, and text one for each
four characters; parts of a token do not count. The words of the caller's audio are no text: models
hear it.
"""

from typing import Any, Final, NamedTuple

_MS_PER_TOKEN: Final = {"input_audio": 100, "output_audio": 50}
_CHARACTERS_PER_TOKEN: Final = 4
_TEXTS: Final = ("name", "arguments", "output")


class Tokens(NamedTuple):
    """Tokens of the two kinds that this server takes and makes."""

    text: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        return self.text + self.audio

    def plus(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio)

    def at_most(self, other: "Tokens") -> "Tokens":
        """The lesser of both, kind by kind."""
        return Tokens(min(self.text, other.text), min(self.audio, other.audio))


def text_tokens(text: str) -> int:
    return len(text) // _CHARACTERS_PER_TOKEN


def speech_tokens(audio_ms: int, transcript: str) -> Tokens:
    """Of what the agent has spoken."""
    return Tokens(text_tokens(transcript), audio_ms // _MS_PER_TOKEN["output_audio"])


def item_tokens(body: dict[str, Any], audio_ms: int) -> Tokens:
    """Of an item; `audio_ms` is the length of its audio."""
    text = sum(text_tokens(body.get(name) or "") for name in _TEXTS)
    audio = 0
    for part in body.get("content", ()):
        kind = part["type"]
        if kind != "input_audio":
            text += text_tokens(part.get("text") or part.get("transcript") or "")
        if kind in _MS_PER_TOKEN:
            audio += audio_ms // _MS_PER_TOKEN[kind]
    return Tokens(text, audio)
