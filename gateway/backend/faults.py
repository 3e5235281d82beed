"""Faults by plan: how the embedded server misbehaves, so that a client can be tried. Pure.

A plan is a list, in JSON or TOML, of tables like these:

    {"at": "connect", "n": 2, "do": "http", "status": 429, "retry_after": 1}
    {"at": "response.output_audio.delta", "n": 5, "do": "drop"}
    {"at": "append", "n": 100, "connection": 1, "do": "stall", "ms": 3000}
    {"at": 20000, "do": "drop"}

`at` is where it strikes: "connect", the type of a server's or a client's event as it is on the
wire, "append" for `input_audio_buffer.append`, or how many bytes of messages were sent to the
client. `n` is the how manieth such event of a connection, from 1. `connection` is the how manieth
connection since the plan was made; without it each one is struck. At "connect" `n` is the same as
`connection`.

`do` is what happens:

* `drop`: the connection ends without a word; at "connect" before the handshake is answered.
* `http` (only at "connect"): the handshake is answered by `status`, with `retry_after` in seconds.
* `stall`: for `ms`, or for ever without it, nothing is sent and nothing is read.
* `delay`: the event, and all behind it in its direction, is `ms` late.
* `error`: an `error` event with this `code`, and a `message`, comes before a server's event (at
  "connect": before the first), or instead of what a client's event would have brought about.
* `close`: the WebSocket is closed with this `code`.
* only at a server's event: `malformed` (it is cut in the middle, and no JSON), `dup` (it comes
  twice), `reorder` (it comes after the next one), `truncate_frame` (the connection ends in the
  middle of its frame).

At a number of bytes there are `drop` and `stall`, in the middle of a message.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

CONNECT: Final = "connect"

_SHORT: Final = 126
_SHORT_16_BITS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Drop:
    """End the connection, once all before it is sent, without closing the WebSocket."""


@dataclass(frozen=True, slots=True)
class Http:
    status: int
    retry_after: int | None


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing in both directions; `seconds` None is for ever."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Delay:
    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """An `error` event."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the WebSocket; the reason is told to the client."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Malformed:
    pass


@dataclass(frozen=True, slots=True)
class Twice:
    pass


@dataclass(frozen=True, slots=True)
class Swap:
    pass


@dataclass(frozen=True, slots=True)
class Truncate:
    pass


Action = Drop | Http | Stall | Delay | Fail | Close | Malformed | Twice | Swap | Truncate


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of a plan. `connection` None means each."""

    at: str | int
    n: int
    connection: int | None
    action: Action


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes for the wire as they are, a piece of a frame."""

    data: bytes


Step = bytes | Raw | Drop | Stall | Delay | Fail | Close
"""What is to be done on the way to the client; `bytes` is a message to send."""


class WireFaults:
    """The faults of one connection: counts what passes, and says what is to happen.

    Args:
        number: which connection of the plan it is; None for one that was there before the plan and
            is struck only by faults for each.
    """

    def __init__(self, plan: Sequence[Fault], number: int | None) -> None:
        self._faults = [fault for fault in plan if fault.connection in (None, number)]
        self._passed: Counter[str] = Counter()
        self._bytes = 0
        self._held: bytes | None = None

    def connecting(self) -> list[Action]:
        """What strikes the handshake."""
        return self._due(CONNECT)

    def receiving(self, kind: str) -> list[Action]:
        """What strikes a client's event of this type before it is taken."""
        return self._due(kind)

    def sending(self, kind: str, message: bytes) -> list[Step]:
        """What is to be done in order to send a server's event."""
        steps: list[Step] = []
        messages = [message]
        held, self._held = self._held, None
        for action in self._due(kind):
            match action:
                case Malformed():
                    messages = [message[: len(message) // 2]]
                case Twice():
                    messages = [message, message]
                case Swap():
                    self._held = message
                    messages = []
                case Truncate():
                    return [*steps, Raw(frame(message)[: -(len(message) // 2)]), Drop()]
                case Drop() | Stall() | Delay() | Fail() | Close():
                    steps.append(action)
        if held is not None:
            messages.append(held)
        for one in messages:
            steps += self._cut(one)
        return steps

    def _due(self, kind: str) -> list[Action]:
        self._passed[kind] += 1
        count = self._passed[kind]
        return [fault.action for fault in self._faults if fault.at == kind and fault.n == count]

    def _cut(self, message: bytes) -> Iterator[Step]:
        """A message, in pieces where a fault lies within it."""
        start, end = self._bytes, self._bytes + len(message)
        self._bytes = end
        cuts = sorted(
            (fault.at - start, number)
            for number, fault in enumerate(self._faults)
            if isinstance(fault.at, int) and start <= fault.at < end
        )
        if not cuts:
            yield message
            return
        whole = frame(message)
        header, done = len(whole) - len(message), 0
        for at, number in cuts:
            yield Raw(whole[done : header + at])
            done = header + at
            action = self._faults[number].action
            if isinstance(action, Drop | Stall):
                yield action
        yield Raw(whole[done:])


def frame(message: bytes) -> bytes:
    """A text message as an unmasked WebSocket frame (RFC 6455, section 5.2)."""
    size = len(message)
    if size < _SHORT:
        length = size.to_bytes(1)
    elif size < _SHORT_16_BITS:
        length = b"\x7e" + size.to_bytes(2)
    else:
        length = b"\x7f" + size.to_bytes(8)
    return b"\x81" + length + message
