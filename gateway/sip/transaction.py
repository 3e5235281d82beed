"""The four transaction machines of RFC 3261 section 17, with the corrections of RFC 6026.

A transaction is one request and its answers. Over UDP either may be lost, so one side says it
again until the other has shown that it heard; and because anything may come twice, both sides
remember a finished exchange for as long as a copy of it may still be under way. That is all a
transaction does. It knows no calls: what it has to say goes to its *user*, the layer above.

Who repeats what differs, because an INVITE waits for a human being and all else is answered at
once. There are four machines, and each is a table below: (state, input) -> (next state, actions).

    client INVITE       the request is repeated until anything is heard (timer A), given up by B.
                        It ACKs a refusal itself. A 2xx leads to *Accepted*, where further 2xx (the
                        same again, or those of other forks) still reach the user, who ACKs them.
    client non-INVITE   the request is repeated until the final answer (E), given up by F.
    server INVITE       a refusal is repeated until its ACK (G), given up by H. A 2xx leads to
                        *Accepted*, where the INVITE said again is absorbed, so that it never makes
                        a second call; repeating the 2xx is the user's part.
    server non-INVITE   the last answer is repeated whenever the request is.

How to read the tables
 * A pair that is not listed is absorbed: nothing changes and nothing is done.
 * A timer belongs to the states it is listed under in `Machine.timers`. It starts on the way into
   one of them unless it runs already, and stops on the way to a state that does not list it.
 * PROVISIONAL, SUCCESS and FAILURE are 1xx, 2xx and 3xx-6xx: received by a client, sent through a
   server by its user.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

from gateway.sip.config import SipConfig
from gateway.sip.deadlines import Deadline, Deadlines
from gateway.sip.message import Address
from gateway.sip.outbox import Outbox


class State(Enum):
    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    TERMINATED = auto()


class Signal(Enum):
    """What can happen to a transaction, besides a timer."""

    REQUEST = auto()
    """A server hears its request again."""
    ACK = auto()
    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    TRANSPORT_ERROR = auto()


class Timer(Enum):
    """Named as in RFC 3261 table 4 and RFC 6026 section 8."""

    A = auto()
    B = auto()
    D = auto()
    E = auto()
    F = auto()
    G = auto()
    H = auto()
    I = auto()  # noqa: E741  # the RFC's name
    J = auto()
    K = auto()
    L = auto()
    M = auto()


class Action(Enum):
    SEND = auto()
    """Put the message at hand on the wire: the request, or the last response."""
    ACK = auto()
    """Put the ACK for a refusal on the wire."""
    DELIVER = auto()
    """Hand the message that came to the user."""
    TIMED_OUT = auto()
    """Tell the user that the other side was not heard in time."""
    UNREACHABLE = auto()
    """Tell the user that the transport could not deliver."""
    BACK_OFF = auto()
    """Start the timer that fired again, for twice as long as before."""
    SLOW_DOWN = auto()
    """Start the timer that fired again, for T2."""


class Reliably(Enum):
    """What becomes of a timer over a transport that loses nothing."""

    SAME = auto()
    OFF = auto()
    """It would repeat what cannot have been lost."""
    AT_ONCE = auto()
    """It would wait for copies that cannot come."""


class Duration(NamedTuple):
    """How long a timer runs when it starts: `times` T1, or `times` T4."""

    times: int
    of_t4: bool
    reliably: Reliably
    capped: bool = False
    """Backing off ends at T2."""


DURATIONS: Mapping[Timer, Duration] = {
    Timer.A: Duration(1, False, Reliably.OFF),
    Timer.B: Duration(64, False, Reliably.SAME),
    Timer.D: Duration(64, False, Reliably.AT_ONCE),
    Timer.E: Duration(1, False, Reliably.OFF, capped=True),
    Timer.F: Duration(64, False, Reliably.SAME),
    Timer.G: Duration(1, False, Reliably.OFF, capped=True),
    Timer.H: Duration(64, False, Reliably.SAME),
    Timer.I: Duration(1, True, Reliably.AT_ONCE),
    Timer.J: Duration(64, False, Reliably.AT_ONCE),
    Timer.K: Duration(1, True, Reliably.AT_ONCE),
    Timer.L: Duration(64, False, Reliably.SAME),
    Timer.M: Duration(64, False, Reliably.SAME),
}

Input = Signal | Timer
Row = tuple[State, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class Machine:
    start: State
    timers: Mapping[State, tuple[Timer, ...]]
    table: Mapping[tuple[State, Input], Row]


def _machine(
    start: State, timers: dict[State, tuple[Timer, ...]], rows: dict[State, dict[Input, Row]]
) -> Machine:
    table = {(state, given): row for state, inputs in rows.items() for given, row in inputs.items()}
    return Machine(start, timers, table)


CLIENT_INVITE = _machine(
    State.CALLING,
    {
        State.CALLING: (Timer.A, Timer.B),
        State.ACCEPTED: (Timer.M,),
        State.COMPLETED: (Timer.D,),
    },
    {
        State.CALLING: {
            Timer.A: (State.CALLING, (Action.SEND, Action.BACK_OFF)),
            Timer.B: (State.TERMINATED, (Action.TIMED_OUT,)),
            Signal.PROVISIONAL: (State.PROCEEDING, (Action.DELIVER,)),
            Signal.SUCCESS: (State.ACCEPTED, (Action.DELIVER,)),
            Signal.FAILURE: (State.COMPLETED, (Action.ACK, Action.DELIVER)),
            Signal.TRANSPORT_ERROR: (State.TERMINATED, (Action.UNREACHABLE,)),
        },
        State.PROCEEDING: {
            Signal.PROVISIONAL: (State.PROCEEDING, (Action.DELIVER,)),
            Signal.SUCCESS: (State.ACCEPTED, (Action.DELIVER,)),
            Signal.FAILURE: (State.COMPLETED, (Action.ACK, Action.DELIVER)),
            # Not in the RFC's figure: over a broken connection the answer that we wait for, with
            # no timer, may never come.
            Signal.TRANSPORT_ERROR: (State.TERMINATED, (Action.UNREACHABLE,)),
        },
        State.ACCEPTED: {
            Signal.SUCCESS: (State.ACCEPTED, (Action.DELIVER,)),
            Timer.M: (State.TERMINATED, ()),
        },
        State.COMPLETED: {
            Signal.FAILURE: (State.COMPLETED, (Action.ACK,)),
            Timer.D: (State.TERMINATED, ()),
            # The ACK was lost, but the user has the answer: there is nothing to tell.
            Signal.TRANSPORT_ERROR: (State.TERMINATED, ()),
        },
    },
)

CLIENT_NON_INVITE = _machine(
    State.TRYING,
    {
        State.TRYING: (Timer.E, Timer.F),
        State.PROCEEDING: (Timer.E, Timer.F),
        State.COMPLETED: (Timer.K,),
    },
    {
        State.TRYING: {
            Timer.E: (State.TRYING, (Action.SEND, Action.BACK_OFF)),
            Timer.F: (State.TERMINATED, (Action.TIMED_OUT,)),
            Signal.PROVISIONAL: (State.PROCEEDING, (Action.DELIVER,)),
            Signal.SUCCESS: (State.COMPLETED, (Action.DELIVER,)),
            Signal.FAILURE: (State.COMPLETED, (Action.DELIVER,)),
            Signal.TRANSPORT_ERROR: (State.TERMINATED, (Action.UNREACHABLE,)),
        },
        State.PROCEEDING: {
            Timer.E: (State.PROCEEDING, (Action.SEND, Action.SLOW_DOWN)),
            Timer.F: (State.TERMINATED, (Action.TIMED_OUT,)),
            Signal.PROVISIONAL: (State.PROCEEDING, (Action.DELIVER,)),
            Signal.SUCCESS: (State.COMPLETED, (Action.DELIVER,)),
            Signal.FAILURE: (State.COMPLETED, (Action.DELIVER,)),
            Signal.TRANSPORT_ERROR: (State.TERMINATED, (Action.UNREACHABLE,)),
        },
        State.COMPLETED: {
            Timer.K: (State.TERMINATED, ()),
        },
    },
)

SERVER_INVITE = _machine(
    State.PROCEEDING,
    {
        State.ACCEPTED: (Timer.L,),
        State.COMPLETED: (Timer.G, Timer.H),
        State.CONFIRMED: (Timer.I,),
    },
    {
        State.PROCEEDING: {
            Signal.REQUEST: (State.PROCEEDING, (Action.SEND,)),
            Signal.PROVISIONAL: (State.PROCEEDING, (Action.SEND,)),
            Signal.SUCCESS: (State.ACCEPTED, (Action.SEND,)),
            Signal.FAILURE: (State.COMPLETED, (Action.SEND,)),
            # RFC 6026 section 7.1: a server outlives a transport error, else the next copy of
            # the INVITE would be taken for a new one.
            Signal.TRANSPORT_ERROR: (State.PROCEEDING, (Action.UNREACHABLE,)),
        },
        State.ACCEPTED: {
            Signal.REQUEST: (State.ACCEPTED, ()),
            Signal.SUCCESS: (State.ACCEPTED, (Action.SEND,)),
            Signal.ACK: (State.ACCEPTED, (Action.DELIVER,)),
            Signal.TRANSPORT_ERROR: (State.ACCEPTED, (Action.UNREACHABLE,)),
            Timer.L: (State.TERMINATED, ()),
        },
        State.COMPLETED: {
            Signal.REQUEST: (State.COMPLETED, (Action.SEND,)),
            Signal.ACK: (State.CONFIRMED, ()),
            Signal.TRANSPORT_ERROR: (State.COMPLETED, (Action.UNREACHABLE,)),
            Timer.G: (State.COMPLETED, (Action.SEND, Action.BACK_OFF)),
            Timer.H: (State.TERMINATED, (Action.TIMED_OUT,)),
        },
        State.CONFIRMED: {
            Timer.I: (State.TERMINATED, ()),
        },
    },
)

SERVER_NON_INVITE = _machine(
    State.TRYING,
    {
        State.COMPLETED: (Timer.J,),
    },
    {
        State.TRYING: {
            Signal.PROVISIONAL: (State.PROCEEDING, (Action.SEND,)),
            Signal.SUCCESS: (State.COMPLETED, (Action.SEND,)),
            Signal.FAILURE: (State.COMPLETED, (Action.SEND,)),
        },
        State.PROCEEDING: {
            Signal.REQUEST: (State.PROCEEDING, (Action.SEND,)),
            Signal.PROVISIONAL: (State.PROCEEDING, (Action.SEND,)),
            Signal.SUCCESS: (State.COMPLETED, (Action.SEND,)),
            Signal.FAILURE: (State.COMPLETED, (Action.SEND,)),
            Signal.TRANSPORT_ERROR: (State.PROCEEDING, (Action.UNREACHABLE,)),
        },
        State.COMPLETED: {
            Signal.REQUEST: (State.COMPLETED, (Action.SEND,)),
            Signal.TRANSPORT_ERROR: (State.COMPLETED, (Action.UNREACHABLE,)),
            Timer.J: (State.TERMINATED, ()),
        },
    },
)


def signal_of(status: int) -> Signal:
    """How a response with that status is read in the tables."""
    if status < 200:
        return Signal.PROVISIONAL
    return Signal.SUCCESS if status < 300 else Signal.FAILURE


class Transaction:
    """One running machine: its state, its timers, and the message it may have to say again.

    A subclass says what DELIVER, ACK, TIMED_OUT and UNREACHABLE mean to its user. An action that
    tells the user comes last in its row, so the user may feed the machine again from there.
    """

    __slots__ = (
        "_config",
        "_deadlines",
        "_fresh",
        "_machine",
        "_message",
        "_outbox",
        "_pause_s",
        "_running",
        "state",
        "to",
    )

    def __init__(
        self, machine: Machine, to: Address, config: SipConfig, outbox: Outbox, deadlines: Deadlines
    ) -> None:
        self.state = machine.start
        self.to = to
        self._message = b""
        self._fresh = True
        self._machine = machine
        self._config = config
        self._outbox = outbox
        self._deadlines = deadlines
        self._running: dict[Timer, Deadline] = {}
        self._pause_s = config.t1  # what A, E or G runs for; there is never more than one

    def feed(self, given: Input, now: float) -> None:
        """One step of the machine."""
        row = self._machine.table.get((self.state, given))
        if row is None:
            return
        self.state, actions = row
        over_at_once = self._keep_timers(now)
        for action in actions:
            self._do(action, given, now)
        for timer in over_at_once:
            self.feed(timer, now)
        if row[0] is State.TERMINATED:
            self._over(now)

    def abandon(self, now: float) -> None:
        """Forget it, whatever it waits for."""
        if self.state is not State.TERMINATED:
            self.state = State.TERMINATED
            self._keep_timers(now)
            self._over(now)

    def _say(self, message: bytes) -> None:
        """Make `message` the one that SEND puts on the wire."""
        self._message = message
        self._fresh = True

    def _send(self) -> None:
        if self._fresh:
            self._outbox.send(self._message, self.to)
        else:
            self._outbox.send_again(self._message, self.to)
        self._fresh = False

    def _do(self, action: Action, given: Input, now: float) -> None:
        match action:
            case Action.SEND:
                self._send()
            case Action.BACK_OFF if isinstance(given, Timer):
                self._pause_s *= 2
                if DURATIONS[given].capped:
                    self._pause_s = min(self._pause_s, self._config.t2)
                self._start(given, self._pause_s, now)
            case Action.SLOW_DOWN if isinstance(given, Timer):
                self._start(given, self._config.t2, now)
            case _:
                self._tell(action, now)

    def _keep_timers(self, now: float) -> list[Timer]:
        """Stop and start timers for the state just entered; returns those that are over at once."""
        wanted = self._machine.timers.get(self.state, ())
        for timer in [timer for timer in self._running if timer not in wanted]:
            self._deadlines.cancel(self._running.pop(timer))
        over_at_once = []
        for timer in wanted:
            if timer in self._running:
                continue
            times, of_t4, reliably, _ = DURATIONS[timer]
            if reliably is Reliably.SAME or not self.to.is_reliable:
                unit = self._config.t4 if of_t4 else self._config.t1
                self._start(timer, times * unit, now)
            elif reliably is Reliably.AT_ONCE:
                over_at_once.append(timer)
        return over_at_once

    def _start(self, timer: Timer, seconds: float, now: float) -> None:
        self._running[timer] = self._deadlines.set(now + seconds, partial(self.feed, timer))

    def _tell(self, action: Action, now: float) -> None:
        """DELIVER, ACK, TIMED_OUT or UNREACHABLE: the subclass's part."""
        raise NotImplementedError

    def _over(self, now: float) -> None:
        """The last thing that happens to it."""
        raise NotImplementedError
