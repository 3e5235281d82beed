"""Whether trunks answer: each one that is to be asked gets an OPTIONS, again and again.

RFC 3261 section 11. It also keeps a NAT on the way open. Any final answer shows that the trunk is
there, a refusal and a challenge too (no password is told for this), except those by which a proxy
says that it does not reach it, and a server that it takes no calls. Another address of the trunk is
asked when one fails, and names are looked up anew when all have.

    seek ──► TrunkSought ──► found ──► OPTIONS ──► TrunkUp ──► (time) OPTIONS …
     ▲                                    │
     └──────────── pause ◄── TrunkDown ◄──┘

Nothing is decided by it: a call to a trunk that is down is tried all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.sip.asking import Asking, Requests
from gateway.sip.compose import ACCEPT, MAX_FORWARDS
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.message import Address, Request, Response
from gateway.sip.switchboard import Switchboard
from gateway.sip.trunk import Trunk
from gateway.sip.uri import NameAddr, format_host

_ABSENT = frozenset((408, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class TrunkSought:
    """The addresses of the trunk's `hop` are wanted: reply with `found`."""

    trunk: Trunk


@dataclass(frozen=True, slots=True)
class TrunkUp:
    """It answers, for the first time or again."""

    trunk: Trunk


@dataclass(frozen=True, slots=True)
class TrunkDown:
    """It does not, for the first time or any more."""

    trunk: Trunk
    cause: str
    """unavailable: it says so, with `status`. timeout: it said nothing. transport: it could not be
    reached. unresolved: its name has no address now."""
    status: int | None


ProbeEvent = TrunkSought | TrunkUp | TrunkDown


class Probe:
    """One trunk that is asked."""

    def __init__(
        self, board: Switchboard, trunk: Trunk, tell: Callable[[ProbeEvent], None]
    ) -> None:
        self._board = board
        self._trunk = trunk
        self._tell = tell
        self._is_up: bool | None = None
        self._identity = f"{board.token()}@{board.config.host}"
        self._tag = board.token()
        self._numbers = 0
        self._requests = Requests(board, lambda _: False, lambda _: None)
        self._asking: Asking | None = None
        self._left: list[Address] = []
        """Addresses that were not tried yet."""
        self._next: Deadline | None = None
        self._is_over = False

    def seek(self, now: float) -> None:
        """Begin, or begin again: ask for the trunk's addresses."""
        self._tell(TrunkSought(self._trunk))

    def found(self, addresses: Sequence[Address], now: float) -> None:
        """The addresses that `TrunkSought` asked for, the best first; none: not resolved."""
        if self._is_over:
            return
        self._left = list(addresses)
        if self._left:
            self._ask(self._left.pop(0), now)
        else:
            self._down("unresolved", None, now)

    def stop(self, now: float) -> None:
        """Ask no more."""
        self._is_over = True
        if self._next is not None:
            self._board.deadlines.cancel(self._next)
        if self._asking is not None:
            self._requests.withdraw(self._asking, now)

    def _ask(self, to: Address, now: float) -> None:
        self._numbers += 1
        ours = f"sip:{format_host(self._board.config.host_for(to.host))}"
        options = Request("OPTIONS", f"sip:{format_host(self._trunk.host)}")
        for name, value in (
            ("Max-Forwards", MAX_FORWARDS),
            ("From", str(NameAddr("", ours, (("tag", self._tag),)))),
            ("To", f"<{options.uri}>"),
            ("Call-ID", self._identity),
            ("CSeq", f"{self._numbers} OPTIONS"),
            ("Contact", self._board.config.contact(to.transport, peer=to.host)),
            ("Accept", ACCEPT),
        ):
            options.headers.add(name, value)
        self._asking = self._requests.send(
            options,
            Dialog.proposed(options, to),
            now,
            to=to,
            on_response=partial(self._heard, to),
            on_failure=self._failed,
        )

    def _heard(self, to: Address, response: Response, source: Address, now: float) -> None:
        if response.status < 200:
            return
        if response.status in _ABSENT:
            self._failed("unavailable", now, response.status)
            return
        self._asking = None
        if not self._is_up:
            self._is_up = True
            self._tell(TrunkUp(self._trunk))
        self._later(partial(self._ask, to), now)

    def _failed(self, cause: str, now: float, status: int | None = None) -> None:
        self._asking = None
        if self._left:
            self._ask(self._left.pop(0), now)
        else:
            self._down(cause, status, now)

    def _down(self, cause: str, status: int | None, now: float) -> None:
        if self._is_up is not False:
            self._is_up = False
            self._tell(TrunkDown(self._trunk, cause, status))
        self._later(self.seek, now)

    def _later(self, action: Callable[[float], None], now: float) -> None:
        # Not all in one moment: several trunks may be one server.
        pause_s = self._trunk.ping_s * (0.9 + 0.1 * self._board.fraction())
        self._next = self._board.deadlines.set(now + pause_s, action)


class Probes:
    """Those of one agent. After every call drain `events`, and the agent."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._all: dict[Trunk, Probe] = {}
        self._events: list[ProbeEvent] = []

    def keep(self, trunk: Trunk, now: float) -> None:
        """Ask this one, until `stop`."""
        probe = self._all[trunk] = Probe(self._board, trunk, self._events.append)
        probe.seek(now)

    def found(self, trunk: Trunk, addresses: Sequence[Address], now: float) -> None:
        """The answer to `TrunkSought`: addresses, the best first; none if there are none."""
        self._all[trunk].found(addresses, now)

    def stop(self, now: float) -> None:
        """Ask none any more."""
        for probe in self._all.values():
            probe.stop(now)

    def events(self) -> list[ProbeEvent]:
        events = self._events[:]
        self._events.clear()
        return events
