"""Registrations on the network: finds registrars, and tells operators how each one stands."""

from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from gateway.legs.sip_office import LookUps, Office, Standing
from gateway.sip.account import Account
from gateway.sip.registration import (
    Registered,
    RegistrarSought,
    RegistrationEvent,
    Unregistered,
)


class SipRegistrations:
    """All that are kept."""

    def __init__(self, office: Office, log: FilteringBoundLogger) -> None:
        self._office = office
        self._log = log
        self._count: Callable[[str], None]
        self._standings: dict[Account, Standing] = {}
        self._look_ups: LookUps[Account] = LookUps(
            office,
            lambda agent, account, addresses, now: agent.registrations.found(
                account, addresses, now
            ),
        )

    def keep(self, accounts: Iterable[Account], count: Callable[[str], None]) -> None:
        """Register; `count` is given the result of each attempt."""
        self._count = count
        for account in accounts:
            others = sum(one.host.lower() == account.host.lower() for one in self._standings)
            label = account.host.lower() + (f"/{others + 1}" if others else "")
            self._standings[account] = Standing("registrar", label, "registering")
        for account in self._standings:
            self._keep(account)

    @property
    def standings(self) -> list[Standing]:
        """In the order in which they were given."""
        return list(self._standings.values())

    def leave(self) -> None:
        """Tell all registrars that nobody is to call here any more."""
        if self._standings:
            self._office.act(lambda agent, now: agent.registrations.leave(now))

    def told(self, event: RegistrationEvent) -> None:
        """Take what the agent tells."""
        if isinstance(event, RegistrarSought):
            self._look_ups.seek(event.account, event.account.hop)
        elif isinstance(event, Registered):
            self._is_up(event)
        else:
            self._is_down(event)

    async def close(self) -> None:
        """Look nothing up any more."""
        await self._look_ups.close()

    def _keep(self, account: Account) -> None:
        self._office.act(lambda agent, now: agent.registrations.keep(account, now))

    def _is_up(self, event: Registered) -> None:
        self._count("ok")
        standing = self._standings[event.account]
        if not standing.is_up:
            self._log.info(
                "registration.up",
                registrar=standing.name,
                expires_s=event.expires_s,
                **({"seen_as": event.seen_as} if event.seen_as else {}),
            )
        standing.state, standing.reason = "up", ""

    def _is_down(self, event: Unregistered) -> None:
        self._count(event.cause)
        standing = self._standings[event.account]
        self._log.warning(
            "registration.down" if standing.is_up else "registration.failed",
            registrar=standing.name,
            reason=event.cause,
            retry_s=round(event.retry_s, 1),
            **({} if event.status is None else {"sip_status": event.status}),
            **({"realm_asked": event.realm_asked} if event.realm_asked else {}),
        )
        standing.state = "down"
        standing.reason = event.cause + ("" if event.status is None else f" {event.status}")
