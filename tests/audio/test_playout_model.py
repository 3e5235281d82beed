"""The playout against a model that keeps single samples: any sequence of calls, same outcome."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio.formats import PCMU
from gateway.audio.loop import Loop
from gateway.audio.playout import Heard, ItemPart, Playout, Started, Stopped

pytestmark = pytest.mark.pure

MS = 8  # bytes of PCMU per millisecond
HELLO = ItemPart("resp_1", "item_1", 0)


@dataclass
class Line:
    """One pending part of the model."""

    part: ItemPart
    waiting: list[int] = field(default_factory=list)
    heard: int = 0
    came: int = 0
    finished: bool = False
    cut: bool = False


class Model:
    """A playout of the plainest kind."""

    def __init__(self, frame: int, limit: int) -> None:
        self.frame, self.limit = frame, limit
        self.lines: list[Line] = []
        self.sounding: set[str] = set()
        self.marks: list[Started | Stopped] = []
        self.dropped = 0

    def line(self, part: ItemPart) -> Line | None:
        return next((line for line in self.lines if line.part == part), None)

    def waiting(self) -> int:
        return sum(len(line.waiting) for line in self.lines)

    def push(self, part: ItemPart, audio: bytes) -> None:
        if not audio:
            return
        line = self.line(part)
        if line is None:
            line = Line(part)
            self.lines.append(line)
        line.finished = False
        line.came += len(audio)
        for sample in audio:
            if line.cut or self.waiting() >= self.limit:
                line.cut = True
                self.dropped += 1
            else:
                line.waiting.append(sample)

    def finish(self, part: ItemPart) -> None:
        line = self.line(part)
        if line is not None:
            line.finished = True
            self.settle(line)

    def settle(self, line: Line) -> None:
        response_id = line.part.response_id
        if line.finished and not line.waiting:
            self.lines.remove(line)
            others = [other.part.response_id for other in self.lines]
            if response_id in self.sounding and response_id not in others:
                self.sounding.remove(response_id)
                self.marks.append(Stopped(line.part))

    def pull(self) -> bytes | None:
        talking = [line for line in self.lines if line.waiting]
        if not talking or (self.waiting() < self.frame and not talking[-1].finished):
            return None
        frame: list[int] = []
        while len(frame) < self.frame and self.waiting():
            line = self.lines[0]
            if not line.waiting:
                self.lines.append(self.lines.pop(0))
                continue
            if line.part.response_id not in self.sounding:
                self.sounding.add(line.part.response_id)
                self.marks.append(Started(line.part))
            frame.append(line.waiting.pop(0))
            line.heard += 1
            self.settle(line)
        return bytes(frame) + PCMU.silence(self.frame - len(frame))

    def clear(self) -> list[Heard]:
        heard = [Heard(line.part, line.heard // MS, line.came // MS) for line in self.lines]
        self.lines.clear()
        self.sounding.clear()
        return heard


PARTS = [ItemPart(f"resp_{n // 2}", f"item_{n}", n % 2) for n in range(5)]
STEPS = st.one_of(
    st.tuples(st.just("push"), st.sampled_from(PARTS), st.binary(max_size=90)),
    st.tuples(st.just("push"), st.sampled_from(PARTS), st.sampled_from([b"a" * 32, b"b" * 64])),
    st.tuples(st.just("finish"), st.sampled_from(PARTS)),
    st.tuples(st.just("pull"), st.integers(1, 4)),
    st.tuples(st.just("clear")),
    st.tuples(st.just("marks")),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=60), st.sampled_from([50, 10_000]))
def test_it_does_what_the_plain_model_does(steps: list[tuple[Any, ...]], limit_ms: int) -> None:
    frame = 32
    playout = Playout(PCMU, frame_samples=frame, limit_ms=limit_ms)
    model = Model(frame, limit_ms * MS)
    for kind, *arguments in steps:
        if kind == "pull":
            for _ in range(arguments[0]):
                assert playout.pull() == model.pull()
        elif kind == "marks":
            assert playout.marks() == model.marks
            model.marks.clear()
        else:
            got = getattr(playout, kind)(*arguments)
            assert got == getattr(model, kind)(*arguments)
        assert playout.buffered_ms == model.waiting() // MS
        assert playout.dropped_ms == model.dropped // MS
        assert playout.playing is None or model.line(playout.playing) is not None
    assert playout.marks() == model.marks
    assert playout.clear() == model.clear()
    assert playout.pull() is None


@settings(max_examples=100, deadline=None)
@given(
    deltas=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
    pulled=st.integers(0, 40),
)
def test_an_interruption_counts_exactly_the_frames_that_left(
    deltas: list[int], pulled: int
) -> None:
    playout = Playout(PCMU)
    for size in deltas:
        playout.push(HELLO, bytes([7]) * size)
    sent = [frame for frame in (playout.pull() for _ in range(pulled)) if frame is not None]
    assert playout.clear() == [Heard(HELLO, len(sent) * 20, sum(deltas) // MS)]
    assert playout.pull() is None


BACKGROUND = b"\x55"


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=60),
    sounding=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_a_background_sounds_where_there_would_be_silence_and_nowhere_else(
    steps: list[tuple[Any, ...]], sounding: list[bool]
) -> None:
    frame = 32
    bare, backed = (Playout(PCMU, frame_samples=frame, limit_ms=50) for _ in range(2))
    for (kind, *arguments), sounds in zip(steps, sounding, strict=False):
        backed.background = Loop(BACKGROUND) if sounds else None
        if kind == "pull":
            for _ in range(arguments[0]):
                silence = BACKGROUND * frame if sounds else None
                assert backed.pull() == (bare.pull() or silence)
        else:
            assert getattr(backed, kind)(*arguments) == getattr(bare, kind)(*arguments)
        assert (backed.buffered_ms, backed.playing) == (bare.buffered_ms, bare.playing)
    assert backed.marks() == bare.marks()
    assert backed.clear() == bare.clear()
