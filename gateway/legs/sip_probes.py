"""Probes on the network: finds trunks, and tells operators which of them answer."""

from collections.abc import Iterable

from structlog.typing import FilteringBoundLogger

from gateway.legs.sip_office import LookUps, Office, Standing
from gateway.sip.probes import ProbeEvent, TrunkSought, TrunkUp
from gateway.sip.trunk import Trunk


class SipProbes:
    """All that are asked."""

    def __init__(self, office: Office, log: FilteringBoundLogger) -> None:
        self._office = office
        self._log = log
        self._standings: dict[Trunk, Standing] = {}
        self._look_ups: LookUps[Trunk] = LookUps(
            office,
            lambda agent, trunk, addresses, now: agent.probes.found(trunk, addresses, now),
        )

    def keep(self, trunks: Iterable[Trunk]) -> None:
        """Ask those of them that are to be asked."""
        self._standings = {
            trunk: Standing("trunk", trunk.host, "asking") for trunk in trunks if trunk.ping_s
        }
        for trunk in self._standings:
            self._keep(trunk)

    @property
    def standings(self) -> list[Standing]:
        """In the order in which they were given."""
        return list(self._standings.values())

    def told(self, event: ProbeEvent) -> None:
        """Take what the agent tells."""
        standing = self._standings[event.trunk]
        if isinstance(event, TrunkSought):
            self._look_ups.seek(event.trunk, event.trunk.hop)
        elif isinstance(event, TrunkUp):
            standing.state, standing.reason = "up", ""
            self._log.info("trunk.up", trunk=standing.name)
        else:
            status = {} if event.status is None else {"sip_status": event.status}
            standing.state = "down"
            standing.reason = " ".join([event.cause, *map(str, status.values())])
            self._log.warning("trunk.down", trunk=standing.name, reason=event.cause, **status)

    async def close(self) -> None:
        """Ask none any more."""
        if self._standings:
            self._office.act(lambda agent, now: agent.probes.stop(now))
        await self._look_ups.close()

    def _keep(self, trunk: Trunk) -> None:
        self._office.act(lambda agent, now: agent.probes.keep(trunk, now))
