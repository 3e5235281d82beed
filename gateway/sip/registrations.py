"""All registrations of one agent."""

from collections.abc import Sequence

from gateway.sip.account import Account
from gateway.sip.auth import Credentials
from gateway.sip.message import Address
from gateway.sip.registration import Registration, RegistrationEvent
from gateway.sip.switchboard import Switchboard


class Registrations:
    """Those of one agent. After every call drain `events`, and the agent."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._all: dict[Account, Registration] = {}
        self._events: list[RegistrationEvent] = []

    def keep(self, account: Account, now: float) -> None:
        """Register, and stay so until `leave`."""
        registration = Registration(self._board, account, self._events.append)
        self._all[account] = registration
        registration.seek(now)

    def found(self, account: Account, addresses: Sequence[Address], now: float) -> None:
        """The answer to `RegistrarSought`: addresses, the best first; none if there are none."""
        self._all[account].found(addresses, now)

    def leave(self, now: float) -> None:
        """Take all back. Calls that go on are not concerned, and NATs are kept open for them."""
        for registration in self._all.values():
            registration.leave(now)

    def connection_lost(self, address: Address, now: float) -> None:
        for registration in self._all.values():
            registration.connection_lost(address, now)

    def events(self) -> list[RegistrationEvent]:
        events = self._events[:]
        self._events.clear()
        return events

    def trusts(self, source: Address) -> bool:
        """Whether requests from there come from a registrar that knows us."""
        return any(one.trusts(source) for one in self._all.values())

    def routes(self, to: Address, credentials: Credentials | None) -> tuple[str, ...]:
        """The Service-Route that a call to `to` has to take, as whom the credentials prove."""
        for one in self._all.values():
            if one.is_up and one.to == to and one.account.credentials == credentials:
                return one.routes
        return ()

    def address_of(self, hop: Address) -> Address | None:
        """Where the registration at `hop` was agreed to: calls through it go the same way."""
        ups = (one for one in self._all.values() if one.is_up and one.account.hop == hop)
        return next((one.to for one in ups), None)
