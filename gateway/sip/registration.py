"""Registrations of ours: where we can be reached is told to a registrar, again and again.

RFC 3261 section 10.2. Each registration has one Call-ID and one row of numbers. It is refreshed
well before it runs out, and at once when the connection that it was made on is gone, since calls
come in on that (RFC 5626 section 4.4). What fails is tried at every address of the registrar, then
again after a pause that grows (section 4.5), with names looked up anew; a registrar that refuses us
is left alone for longer, because whoever asks again and again with a wrong password is shut out.

    seek ──► RegistrarSought ──► found ──► REGISTER ──► Registered ──► (time) REGISTER …
     ▲                                        │
     └───────────── pause ◄── Unregistered ◄──┘

A redirection (3xx) is not followed: nobody but the registrar named is told our password.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.sip.account import MAX_EXPIRES_S, MIN_EXPIRES_S, Account
from gateway.sip.asking import Asking, Requests
from gateway.sip.auth import Login, realm_asked
from gateway.sip.compose import MAX_FORWARDS
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.headers import name_addrs, top_via
from gateway.sip.message import Address, Request, Response
from gateway.sip.switchboard import Switchboard
from gateway.sip.uri import NameAddr, SipUri

BASE_S, MAX_S = 30.0, 1800.0
"""The first pause after a failure, and the longest (RFC 5626 section 4.5)."""
REFUSED_S = 300.0
"""The first pause after a refusal."""
MAX_RETRY_AFTER_S = 3600
MAX_ADDRESSES = 8
MAX_ROUTES = 8
_LOST_S = 2.0
"""Within this a lost connection is made again: all its users lost it in the same moment."""
_LEAST_S = 5.0
"""Between two REGISTERs, whatever the registrar grants."""
_MAX_TOO_BRIEF = 2
_PASSING = frozenset((408, 480, 486, 491))
"""Refusals that say nothing about us."""
_SECONDS = re.compile(r' *+(?:([0-9]{1,10})|"([0-9]{1,10})") *+')
PING = b"\r\n\r\n"
"""RFC 5626 sections 3.5.1 and 4.4.1; over UDP it does as well: what matters is that it passes."""


@dataclass(frozen=True, slots=True)
class RegistrarSought:
    """The addresses of the account's `hop` are wanted: reply with `found`."""

    account: Account


@dataclass(frozen=True, slots=True)
class Registered:
    """The registrar has agreed, for the first time or again."""

    account: Account
    expires_s: int
    seen_as: str
    """Host and port where the registrar sees us, if that is not what we call ourselves."""


@dataclass(frozen=True, slots=True)
class Unregistered:
    """An attempt has failed, or what was agreed holds no longer."""

    account: Account
    cause: str
    """refused: by the registrar, with `status`. unavailable: it cannot now, with `status`.
    timeout: it said nothing. transport: it could not be reached. unresolved: its name has no
    address now. bad_answer: it agreed to something else. lost: the connection is gone."""
    status: int | None
    retry_s: float
    """After this it is tried again."""
    realm_asked: str = ""
    """What a password was asked for, if it was; printable and short."""


RegistrationEvent = RegistrarSought | Registered | Unregistered


class Registration:
    """One of them."""

    def __init__(
        self, board: Switchboard, account: Account, tell: Callable[[RegistrationEvent], None]
    ) -> None:
        self.account = account
        self.is_up = False
        """Whether the registrar's last word was yes."""
        self.to: Address | None = None
        """Where it was given."""
        self.routes: tuple[str, ...] = ()
        """Service-Route (RFC 3608): the way of our calls to others."""
        self._hosts: frozenset[str] = frozenset()
        self._board = board
        self._tell = tell
        self._identity = f"{board.token()}@{board.config.host}"
        self._local = str(NameAddr("", account.address_of_record, (("tag", board.token()),)))
        self._numbers = 0
        self._requests = Requests(board, lambda _: True, lambda _: None)
        self._asking: Asking | None = None
        self._left: list[Address] = []
        """Addresses that were not tried yet."""
        self._failed_at: Address | None = None
        self._expires_s = account.expires_s
        self._too_brief = 0
        self._failures = 0
        self._is_leaving = False
        self._next: Deadline | None = None
        self._next_ping: Deadline | None = None

    # What it is told.

    def seek(self, now: float) -> None:
        """Begin, or begin again: ask for the registrar's addresses."""
        self._next = None
        self._tell(RegistrarSought(self.account))

    def found(self, addresses: Sequence[Address], now: float) -> None:
        """The addresses that `RegistrarSought` asked for, the best first; none: not resolved."""
        if self._is_leaving:
            return
        found = list(addresses[:MAX_ADDRESSES])
        if not found:
            self._give_up("unresolved", None, 0, now)
            return
        # The one that has just failed comes last.
        self._left = sorted(found, key=lambda one: one == self._failed_at)
        self._hosts = frozenset(one.host for one in found)
        self._try_next(now)

    def connection_lost(self, address: Address, now: float) -> None:
        """A connection is gone, which may be the one that we were registered on."""
        if address != self.to or not self.is_up or self._is_leaving:
            return  # what was under way there fails by itself
        self._withdraw(now)
        self._down()
        pause_s = _LOST_S * self._board.fraction()
        self._tell(Unregistered(self.account, "lost", None, pause_s))
        self._later(pause_s, self.seek, now)

    def leave(self, now: float) -> None:
        """Take it back: nobody is to call here any more."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self._cancel_timer()
        to = self.to if self._asking is None else self._asking.to
        if to is not None and (self.is_up or self._asking is not None):
            self._ask(to, 0, now)
        self.is_up = False

    def trusts(self, source: Address) -> bool:
        """Whether requests from there come from the registrar that knows us."""
        return self.to is not None and source.host in self._hosts

    # One attempt.

    def _try_next(self, now: float) -> None:
        self._ask(self._left.pop(0), self._expires_s, now)

    def _refresh(self, now: float) -> None:
        self._next = None
        if self.to is not None:
            self._ask(self.to, self._expires_s, now)

    def _ask(self, to: Address, expires_s: int, now: float) -> None:
        self._withdraw(now)
        self._numbers += 1
        register = Request("REGISTER", self.account.registrar)
        for name, value in (
            ("Max-Forwards", MAX_FORWARDS),
            ("From", self._local),
            ("To", f"<{self.account.address_of_record}>"),
            ("Call-ID", self._identity),
            ("CSeq", f"{self._numbers} REGISTER"),
            ("Contact", f"<{self._contact(to)}>"),
            ("Expires", str(expires_s)),
            ("Supported", "path"),
        ):
            register.headers.add(name, value)
        if self.account.credentials is not None:
            self._requests.login = Login(self.account.credentials, to.host, self._board.token)
        dialog = Dialog.proposed(register, to)
        self._asking = self._requests.send(
            register,
            dialog,
            now,
            to=to,
            on_response=partial(self._heard, dialog, to),
            on_failure=partial(self._failed, dialog, to),
        )

    def _contact(self, to: Address) -> SipUri:
        plain = NameAddr.parse(self._board.config.contact(to.transport, peer=to.host)).sip_uri()
        user = self.account.contact or self.account.user
        return SipUri(plain.scheme, user, None, plain.host, plain.port, plain.params)

    def _heard(
        self, dialog: Dialog, to: Address, response: Response, source: Address, now: float
    ) -> None:
        if response.status < 200:
            return
        self._concluded(dialog)
        if self._is_leaving:
            return
        if response.status < 300:
            self._agreed(to, response, now)
        elif response.status == 423 and self._asked_too_briefly(response):
            self._ask(to, self._expires_s, now)
        elif response.status >= 500 and response.status < 600:
            self._failed_there(to, "unavailable", response.status, _retry_after(response), now)
        else:
            asked = realm_asked(response)
            self._give_up("refused", response.status, _retry_after(response), now, asked)

    def _failed(self, dialog: Dialog, to: Address, cause: str, now: float) -> None:
        self._concluded(dialog)
        if not self._is_leaving:
            self._failed_there(to, cause, None, 0, now)

    def _withdraw(self, now: float) -> None:
        """Hear no more of what was asked last."""
        if self._asking is not None:
            self._requests.withdraw(self._asking, now)
            self._concluded(self._asking.dialog)

    def _concluded(self, dialog: Dialog) -> None:
        self._asking = None
        self._numbers = dialog.local_cseq  # it was asked again when it was challenged

    def _asked_too_briefly(self, response: Response) -> bool:
        """Whether the registrar says how long is long enough (section 10.2.8)."""
        least = _seconds(response.headers.get("Min-Expires")) or 0
        self._too_brief += 1
        if self._too_brief > _MAX_TOO_BRIEF or not self._expires_s < least <= MAX_EXPIRES_S:
            return False
        self._expires_s = least
        return True

    # What comes of it.

    def _agreed(self, to: Address, response: Response, now: float) -> None:
        try:
            expires_s = self._granted(to, response)
            routes = tuple(str(route) for route in name_addrs(response.headers, "Service-Route"))
        except ValueError:
            expires_s, routes = 0, ()
        if expires_s <= 0:
            self._give_up("bad_answer", response.status, 0, now)
            return
        if not self.is_up or self.to != to:
            self._ping_later(to, now)
        self.is_up = True
        self.to = to
        self.routes = routes[:MAX_ROUTES]
        self._failures = self._too_brief = 0
        self._failed_at = None
        self._left = []
        self._tell(Registered(self.account, expires_s, self._seen_as(to, response)))
        self._later(self._pause_before_refresh(expires_s), self._refresh, now)

    def _granted(self, to: Address, response: Response) -> int:
        """Seconds (section 10.2.4): of our own Contact, else of the answer, else the fewest of any
        Contact. What cannot be read is as if it were not said. Raises ValueError."""
        ours = self._contact(to)
        contacts = name_addrs(response.headers, "Contact")
        for contact in contacts:
            uri = contact.sip_uri() if contact.uri.lower().startswith("sip") else None
            if uri is not None and (uri.user, uri.host.lower(), uri.port or 5060) == (
                ours.user,
                ours.host.lower(),
                ours.port or 5060,
            ):
                if (granted_s := _seconds(contact.param("expires"))) is not None:
                    return min(granted_s, MAX_EXPIRES_S)
        if (granted_s := _seconds(response.headers.get("Expires"))) is not None:
            return min(granted_s, MAX_EXPIRES_S)
        # Who stands between may have written another address into ours; so may one of these be it.
        others = [_seconds(contact.param("expires")) for contact in contacts]
        said_s = [one for one in others if one is not None]
        return max(min([*said_s, self._expires_s]), MIN_EXPIRES_S)

    def _pause_before_refresh(self, expires_s: int) -> float:
        """At 80 to 90 % of the time, but with enough of it left to be heard after a time-out."""
        pause_s = expires_s * (0.8 + 0.1 * self._board.fraction())
        enough_s = max(expires_s - 64 * self._board.config.t1, expires_s / 2)
        return max(min(pause_s, enough_s), _LEAST_S)

    def _seen_as(self, to: Address, response: Response) -> str:
        via = top_via(response.headers)
        own_host, own_port = self._board.config.sent_by(to.transport, to.host)
        host = via.param("received") or own_host
        port = via.param("rport") or str(own_port)
        if host == own_host and (to.is_reliable or port == str(own_port)):
            return ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _failed_there(
        self, to: Address, cause: str, status: int | None, retry_after_s: int, now: float
    ) -> None:
        """Go on to the next address; look for others if it was the one that we were known at."""
        if self._left:
            self._try_next(now)
        elif self.is_up and self._failed_at is None:
            self._failed_at = to
            self.seek(now)
        else:
            self._give_up(cause, status, retry_after_s, now)

    def _give_up(
        self, cause: str, status: int | None, retry_after_s: int, now: float, asked: str = ""
    ) -> None:
        self._down()
        base_s = BASE_S
        if cause in ("refused", "bad_answer") and status not in _PASSING:
            base_s = REFUSED_S
            self.to = None  # nor do calls come from who does not know us
        longest_s = min(MAX_S, base_s * 2 ** min(self._failures, 16))
        pause_s = max(longest_s * (0.5 + 0.5 * self._board.fraction()), float(retry_after_s))
        self._failures += 1
        self._tell(Unregistered(self.account, cause, status, pause_s, asked))
        self._later(pause_s, self.seek, now)

    def _down(self) -> None:
        self.is_up = False
        self.routes = ()
        self._left = []
        self._failed_at = None
        self._cancel_timer()
        self._stop_pings()

    # Time.

    def _later(self, pause_s: float, action: Callable[[float], None], now: float) -> None:
        self._cancel_timer()
        self._next = self._board.deadlines.set(now + pause_s, action)

    def _cancel_timer(self) -> None:
        if self._next is not None:
            self._board.deadlines.cancel(self._next)
            self._next = None

    def _ping_later(self, to: Address, now: float) -> None:
        self._stop_pings()
        if not self.account.keepalive_s:
            return
        pause_s = self.account.keepalive_s * (0.8 + 0.2 * self._board.fraction())

        def ping(now: float) -> None:
            self._board.outbox.send(PING, to)
            self._ping_later(to, now)

        self._next_ping = self._board.deadlines.set(now + pause_s, ping)

    def _stop_pings(self) -> None:
        if self._next_ping is not None:
            self._board.deadlines.cancel(self._next_ping)
            self._next_ping = None


def _seconds(text: str | None) -> int | None:
    """A number of seconds, which some registrars put in quotes; None if there is none, as in the
    date that RFC 2543 allowed."""
    match = _SECONDS.fullmatch(text or "")
    return None if match is None else int(match[1] or match[2])


def _retry_after(response: Response) -> int:
    """Seconds; a comment and parameters may follow (RFC 3261 section 20.33)."""
    value = (response.headers.get("Retry-After") or "").partition(";")[0].partition("(")[0]
    return min(_seconds(value) or 0, MAX_RETRY_AFTER_S)
