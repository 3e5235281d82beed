"""The queue between a model that talks faster than real time and a caller who listens in it.

A Realtime session sends its speech in bursts; the caller gets one frame every 20 ms. What waits in
between belongs to *parts*, the pieces of content of a response, and the playout is the ledger of
what became of each of them. Only what `pull` handed out was heard; that is what an interruption
has to tell the model.

A part is pending from its first audio until it is finished and all of it was handed out. Parts play
in the order in which they began, each as a whole: audio for one that waits does not overtake the
one that plays. If a part runs dry before it is finished, it waits for more, but only as long as
nothing else is there to say. Then it gives way, and its further audio queues up again.

A frame may join the end of one part and the start of the next, and the end of a finished part is
filled up with silence. The end of an unfinished one waits until it fills a frame, because silence
inside a word would be heard.

When there is nothing to say, a *background* may sound. It is no part of the ledger: the first frame
of something to say takes its place, and nothing here would be otherwise without it.

Only whole chunks are queued and a frame is one slice of the chunk in front, so a call with nothing
to say costs two comparisons, and one that talks a slice.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.audio.formats import AudioFormat

_LIMIT_MS: Final = 600_000


class Background(Protocol):
    """What sounds while there is nothing to say."""

    def next(self, size: int) -> bytes:
        """The next `size` bytes."""


@dataclass(frozen=True, slots=True)
class ItemPart:
    """A piece of spoken content; equal when all three fields are."""

    response_id: str
    item_id: str
    content_index: int


@dataclass(frozen=True, slots=True)
class Heard:
    """How far a part got that was cleared."""

    part: ItemPart
    heard_ms: int
    """Its audio handed out by `pull`, in whole milliseconds, rounded down."""
    held_ms: int
    """All the audio that had come for it, what the limit dropped included, counted the same way.

    Whoever knows what was said in that time can tell from both how much of it was heard.
    """


@dataclass(frozen=True, slots=True)
class Started:
    """The first audio of a response was handed out; `part` is the part it belongs to."""

    part: ItemPart


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing of a response is pending any more: all was handed out, `part` last.

    A response that brings a further part later starts and stops once more.
    """

    part: ItemPart


class _Entry:
    """A pending part."""

    __slots__ = ("chunks", "cut", "dropped", "finished", "part", "pushed", "taken")

    def __init__(self, part: ItemPart) -> None:
        self.part = part
        self.chunks: deque[bytes] = deque()
        self.pushed = 0
        self.taken = 0  # bytes of the chunks that were handed out whole
        self.finished = False
        self.cut = False  # lost its end to the limit
        self.dropped = 0  # bytes of that end


class Playout:
    """What waits to be said on one leg.

    Args:
        format: of everything pushed and pulled.
        frame_samples: the length of a frame.
        limit_ms: how much audio may wait. What exceeds it is dropped and counted, and so is the
            rest of that part: a part is heard up to one point, never with a hole.
    """

    def __init__(
        self, format: AudioFormat, *, frame_samples: int = 160, limit_ms: int = _LIMIT_MS
    ) -> None:
        self.format = format
        self.background: Background | None = None
        """In the same format: what sounds while there is nothing to say."""
        self._sample_bytes = format.bytes_per_sample
        self._bytes_per_ms = format.bytes_per_ms
        self._frame_bytes = frame_samples * format.bytes_per_sample
        self._silence = format.silence(frame_samples)
        self._limit = limit_ms * format.bytes_per_ms
        self._entries: dict[ItemPart, _Entry] = {}  # in the order of playing
        self._chunk = b""  # the one in front, taken from the first entry; empty when used up
        self._at = 0  # bytes of it handed out
        self._held = 0  # bytes of it and of all chunks behind it
        self._dropped = 0
        self._sounding: set[str] = set()  # responses that started and did not stop
        self._playing: ItemPart | None = None
        self._marks: list[Started | Stopped] = []

    @property
    def buffered_ms(self) -> int:
        """Audio that waits, rounded down."""
        return (self._held - self._at) // self._bytes_per_ms

    @property
    def dropped_ms(self) -> int:
        """Audio that the limit cost so far, rounded down."""
        return self._dropped // self._bytes_per_ms

    @property
    def playing(self) -> ItemPart | None:
        """The pending part heard last: it is in the middle of being said, or waits for more."""
        return self._playing

    def push(self, part: ItemPart, audio: bytes) -> None:
        """Queue audio behind what this part already has. A finished part is open again.

        Raises:
            ValueError: the audio ends inside a sample.
        """
        size = len(audio)
        if size % self._sample_bytes:
            raise ValueError(f"{size} bytes are not whole samples")
        if not size:
            return
        entry = self._entries.get(part)
        if entry is None:
            entry = self._entries[part] = _Entry(part)
        entry.finished = False
        room = 0 if entry.cut else self._limit - self._held + self._at
        if size > room:
            entry.cut = True
            entry.dropped += size - room
            self._dropped += size - room
            audio = audio[:room]
            if not audio:
                return
        entry.chunks.append(audio)
        entry.pushed += len(audio)
        self._held += len(audio)

    def finish(self, part: ItemPart) -> None:
        """No more audio of this part will come. Nothing happens if it is not pending."""
        entry = self._entries.get(part)
        if entry is not None:
            entry.finished = True
            if entry.taken == entry.pushed:
                self._remove(entry)

    def pull(self) -> bytes | None:
        """The frame to send now, always of full length, or None to be silent."""
        if self._held:
            at = self._at
            end = at + self._frame_bytes
            if end < len(self._chunk):
                self._at = end
                return self._chunk[at:end]
            frame = self._assemble()
            if frame is not None:
                return frame
        return None if self.background is None else self.background.next(self._frame_bytes)

    def clear(self) -> list[Heard]:
        """Drop all that waits and say what was pending, in the order of playing.

        A part that played all it had counts as pending until it is finished: the model goes on
        generating it. One that was heard to its end is not listed, one not yet begun has 0 ms.
        """
        if not self._entries:
            return []
        heard = []
        ahead = self._at  # only the first entry has a chunk in front
        for entry in self._entries.values():
            heard_ms = (entry.taken + ahead) // self._bytes_per_ms
            held_ms = (entry.pushed + entry.dropped) // self._bytes_per_ms
            heard.append(Heard(entry.part, heard_ms, held_ms))
            ahead = 0
        self._entries.clear()
        self._sounding.clear()
        self._chunk = b""
        self._at = self._held = 0
        self._playing = None
        return heard

    def marks(self) -> list[Started | Stopped]:
        """What happened since the last call, in order; to be asked after `pull` and `finish`."""
        if not self._marks:
            return []
        marks, self._marks = self._marks, []
        return marks

    def _assemble(self) -> bytes | None:
        """A frame that ends a chunk or reaches beyond it, if there is enough audio for one."""
        missing = self._frame_bytes
        if self._held - self._at < missing and not self._may_pad():
            return None
        pieces = []
        while missing and self._held:
            entry = self._front()
            piece = self._chunk[self._at : self._at + missing]
            pieces.append(piece)
            missing -= len(piece)
            self._at += len(piece)
            if self._at == len(self._chunk):
                self._leave_chunk(entry)
        if missing:
            pieces.append(self._silence[:missing])
        return b"".join(pieces)

    def _may_pad(self) -> bool:
        """Whether the last audio that waits is the end of its part. Some part must have audio."""
        waiting = (e for e in reversed(self._entries.values()) if e.taken < e.pushed)
        return next(waiting).finished

    def _front(self) -> _Entry:
        """The part whose turn it is, with a chunk in front. Some part must have audio."""
        entry = next(iter(self._entries.values()))
        if self._chunk:
            return entry
        while not entry.chunks:
            # It ran dry and another part has audio: it gives way.
            self._entries[entry.part] = self._entries.pop(entry.part)
            entry = next(iter(self._entries.values()))
        self._chunk = entry.chunks.popleft()
        self._playing = entry.part
        response_id = entry.part.response_id
        if response_id not in self._sounding:
            self._sounding.add(response_id)
            self._marks.append(Started(entry.part))
        return entry

    def _leave_chunk(self, entry: _Entry) -> None:
        size = len(self._chunk)
        entry.taken += size
        self._held -= size
        self._chunk = b""
        self._at = 0
        if entry.finished and entry.taken == entry.pushed:
            self._remove(entry)

    def _remove(self, entry: _Entry) -> None:
        """A part is finished and was handed out to its end."""
        part = entry.part
        del self._entries[part]
        if self._playing == part:
            self._playing = None
        if part.response_id in self._sounding and not any(
            other.response_id == part.response_id for other in self._entries
        ):
            self._sounding.remove(part.response_id)
            self._marks.append(Stopped(part))
