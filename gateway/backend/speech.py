"""A line of the dialogue as sound: the clips of its phrases with short pauses, and where each word
begins, so that the transcript keeps step with the audio."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.audio.formats import AudioFormat
from gateway.backend.dialogue import Line
from gateway.backend.items import Word

_PAUSE_MS: Final = {".": 350, "!": 350, "?": 350, ",": 120}
_SHORT_PAUSE_MS: Final = 60
LONGEST_LINE_MS: Final = 300_000
"""How long the clips of a line may be in all. What would come after it is not said."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A line that a response waits to have spoken, phrase by phrase, in this format."""

    response_id: str
    line: Line
    format: AudioFormat


@dataclass(frozen=True, slots=True)
class Speech:
    audio: bytes
    words: tuple[Word, ...]


def compose(line: Line, clips: Sequence[bytes], audio_format: AudioFormat) -> Speech:
    """Put a line together from one clip per phrase; the phrases that have none are left out."""
    audio = bytearray()
    words: list[Word] = []
    for number, (phrase, clip) in enumerate(zip(line, clips, strict=False)):
        if number:
            pause_ms = _PAUSE_MS.get(line[number - 1][-1:], _SHORT_PAUSE_MS)
            audio += audio_format.silence(pause_ms * audio_format.rate_hz // 1000)
        start_ms = len(audio) // audio_format.bytes_per_ms
        words += _words(phrase, start_ms, len(clip) // audio_format.bytes_per_ms)
        audio += clip
    if words:
        words[0] = Word(words[0].start_ms, words[0].text.lstrip())
    return Speech(bytes(audio), tuple(words))


def _words(phrase: str, start_ms: int, length_ms: int) -> list[Word]:
    """The words of a phrase, in time as they are in letters."""
    words, at = [], 0
    for text in phrase.split():
        words.append(Word(start_ms + at * length_ms // len(phrase), f" {text}"))
        at += len(text) + 1
    return words
