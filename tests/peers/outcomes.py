"""What becomes of a call when its Realtime server does something wrong: the outcomes, and calls in
which each of it happens.

All calls are placed at once, through one gateway, to one server that fails by plan: one fault for
each connection. When all callers are answered, the application asks for a line in each call, and
the fault strikes in the middle of it. Then each caller presses a key, which must be answered.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tests.peers.backend import BackendProcess, Fault, sound
from tests.peers.followed import FollowedCall
from tests.peers.gateway import GatewayProcess, LogLine, eventually
from tests.peers.media import FRAME_BYTES, frames
from tests.peers.wire import Caller, UdpWire, offer

LINE = "This is a line of some length"
AGAIN = "There is nothing new to be said about that"
ANSWER = "Yes"
DIALOGUE = f"""
start = "line"
otherwise = "{AGAIN}"
[states.line]
say = "{LINE}"
[[on]]
dtmf = "1"
say = "{ANSWER}"
"""
CONNECT_TIMEOUT_S = 1.5
SETTINGS = {
    "GATEWAY_CALLS_GREET": "false",
    "GATEWAY_REALTIME_CONNECT_TIMEOUT_S": str(CONNECT_TIMEOUT_S),
}
TEST_MODE = ("--test", "--jitter-ms", "0")
DELTA: Final = "response.output_audio.delta"
STRUCK: Final = 5
"""The delta that is struck, in mid-sentence."""
PIECE: Final = 10 * FRAME_BYTES
"""The audio of one delta."""


def at(event: str, do: str, n: int = 1, **more: object) -> Fault:
    return {"at": event, "do": do, "n": n, **more}


def speaking(do: str, **more: object) -> Fault:
    return at(DELTA, do, STRUCK, **more)


WHOLE = sound(LINE)
_BEFORE, _STRUCK = WHOLE[: (STRUCK - 1) * PIECE], WHOLE[(STRUCK - 1) * PIECE : STRUCK * PIECE]
_NEXT = WHOLE[STRUCK * PIECE : (STRUCK + 1) * PIECE]
_AFTER = WHOLE[STRUCK * PIECE :]
ANEW = _BEFORE + WHOLE
"""What had come of the line, and the sentence in which it was cut anew."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a call in which this goes wrong."""

    faults: tuple[Fault, ...]
    heard: bytes = WHOLE
    lost: str = ""
    """Why the session was replaced by another; "" if it was not."""
    garbage: int = 0
    """Messages that are no events: they are logged, and nobody is shown them."""
    error: str = ""
    """The code of the `error` that is logged and that the application is shown."""

    @property
    def errors(self) -> list[str]:
        return [self.error] if self.error else []

    @property
    def frames(self) -> list[bytes]:
        """All that is heard."""
        return frames(self.heard) + frames(sound(ANSWER))


def gone(code: int, *faults: Fault, error: str = "") -> Outcome:
    """The connection ends: another session takes over, and says what the caller is owed."""
    return Outcome(faults, ANEW, f"closed with code {code}", error=error)


def harmless(fault: Fault, heard: bytes = WHOLE, garbage: int = 0) -> Outcome:
    """The session goes on, and so does what is said."""
    return Outcome((fault,), heard, garbage=garbage)


OUTCOMES = {
    "stalled for good": Outcome((speaking("stall"),), ANEW, "the server was silent for 10 s"),
    "dropped": gone(1006, speaking("drop")),
    "dropped in mid-frame": gone(1006, speaking("truncate_frame")),
    "closed as if all were well": gone(1000, speaking("close", code=1000)),
    "closed by going away": gone(1001, speaking("close", code=1001)),
    "closed by a failure": gone(1011, speaking("close", code=1011)),
    "closed to try again later": gone(1013, speaking("close", code=1013)),
    "expired": gone(
        1001,
        speaking("error", code="session_expired"),
        speaking("close", code=1001),
        error="session_expired",
    ),
    "stalled for a while": harmless(speaking("stall", ms=1500)),
    "late": harmless(speaking("delay", ms=300)),
    "an error meanwhile": Outcome((speaking("error", code="server_error"),), error="server_error"),
    # Another response may be asked for; the one that was refused is not asked for again.
    "a response refused": Outcome(
        (at("response.create", "error", code="rate_limit_exceeded"),),
        heard=b"",
        error="rate_limit_exceeded",
    ),
    "audio garbled": harmless(speaking("malformed"), _BEFORE + _AFTER, garbage=1),
    "audio doubled": harmless(speaking("dup"), _BEFORE + 2 * _STRUCK + _AFTER),
    "audio out of order": harmless(
        speaking("reorder"), _BEFORE + _NEXT + _STRUCK + WHOLE[(STRUCK + 1) * PIECE :]
    ),
    **{
        f"{kind} {how}": harmless(at(kind, do), garbage=do == "malformed")
        for kind in (
            "response.created",
            "conversation.item.added",
            "conversation.item.done",
            "response.output_audio.done",
            "response.done",
        )
        for do, how in (("malformed", "garbled"), ("dup", "doubled"), ("reorder", "out of order"))
    },
    "session.updated doubled": harmless(at("session.updated", "dup")),
}
UNREACHABLE = {
    "drops": (at("connect", "drop"), "ServerDisconnectedError"),
    "has no room, for now": (at("connect", "http", status=429, retry_after=1), "answered 429"),
    "is down": (at("connect", "http", status=503), "answered 503"),
    "goes away": (at("connect", "close", code=1013), "closed with code 1013"),
    "fails": (at("connect", "error", code="server_error"), "with an error"),
    "babbles": (at("session.created", "malformed"), "is not JSON"),
    "says nothing": (at("connect", "stall"), f"no answer in {CONNECT_TIMEOUT_S:g} s"),
}
"""What a server does before there is a session, and what the log has to say of it."""
TRIED = {"drops": 2}
"""A handshake that is not answered at all is tried once more, at once."""
COMES_BACK = ("has no room, for now", "babbles")
"""What the server does, one after the other, before the session of this call is replaced."""
RETURNS = "comes back"
RETURNED = gone(1006)


@dataclass(frozen=True)
class Refused:
    """A caller who was not answered."""

    status: int
    reason: str
    """Why there was no session, as logged."""
    record: LogLine


class FaultyCalls:
    """All these calls. The gateway has the settings `SETTINGS`, the server is in test mode."""

    def __init__(self, backend: BackendProcess, gateway: GatewayProcess) -> None:
        self.calls: dict[str, FollowedCall] = {}
        self.records: dict[str, LogLine] = {}
        self.refused: dict[str, Refused] = {}
        """Callers whose call found no session."""
        self.backend = backend
        self._gateway = gateway

    def run(self) -> None:
        """Place them; returns when they are over."""
        self.backend.plan(*_plan())
        slow, *others = OUTCOMES
        with ExitStack() as stack:

            def place(name: str) -> FollowedCall:
                self.calls[name] = stack.enter_context(FollowedCall(self._gateway))
                return self.calls[name]

            place(slow).send("response.create")
            for what in UNREACHABLE:
                self.refused[what] = refused(self._gateway)
            for name in others:
                place(name)
            returns = place(RETURNS)
            returns.send("response.create")
            returns.until("session.updated")  # before others are connected anew
            for name in others:
                self.calls[name].send("response.create")
            for names in ((*others, RETURNS), (slow,)):
                for name in names:
                    self._press_a_key(name)
                for name in names:
                    self._wait_for(name, len(_outcome(name).frames), 5)
            for name, call in self.calls.items():
                self.records[name] = call.hang_up()

    def _press_a_key(self, name: str) -> None:
        """When all else is said; the tests see whether it was."""
        call, outcome = self.calls[name], _outcome(name)
        eventually(lambda: len(call.events("error")) == len(outcome.errors), 5, 0.01)
        self._wait_for(name, len(frames(outcome.heard)), 25)
        call.press("1#")

    def _wait_for(self, name: str, count: int, timeout_s: float) -> None:
        eventually(lambda: len(self.calls[name].voice()) >= count, timeout_s, 0.01)


def _outcome(name: str) -> Outcome:
    return OUTCOMES.get(name, RETURNED)


def _plan() -> list[Fault]:
    """The faults of all connections, in the order in which they are made."""
    slow, *others = OUTCOMES.values()
    order = [
        slow.faults,
        *((fault,) for what in UNREACHABLE for fault in _attempts(what)),
        *(outcome.faults for outcome in others),
        (speaking("drop"),),
        *((fault,) for what in COMES_BACK for fault in _attempts(what)),
    ]
    return [
        fault | {"n" if fault["at"] == "connect" else "connection": number}
        for number, faults in enumerate(order, 1)
        for fault in faults
    ]


def _attempts(what: str) -> list[Fault]:
    return [UNREACHABLE[what][0]] * TRIED.get(what, 1)


def refused(gateway: GatewayProcess) -> Refused:
    """Call and be turned away, because there is no session."""
    mark = gateway.mark()
    with Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        caller.invite(offer(16_000))
        final = caller.final()
        caller.ack(final)
    record = gateway.call_ended(mark)
    (failed,) = gateway.lines("session.failed", mark)
    return Refused(final.status, str(failed["reason"]), record)
