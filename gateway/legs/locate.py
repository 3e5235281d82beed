"""From where a URI says that a request goes to the places that it is sent to (RFC 3263 section 4).

A port that is named, an address, and a name that only this machine knows mean one host. A domain
is asked for its services, and each server of those for its addresses. What DNS cannot tell about
services is taken as if there were none: the host of that name is asked for then.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from gateway.legs.dns import Dns
from gateway.legs.leg import LegError
from gateway.legs.resolve import Resolver, callable_from, family_of, is_address
from gateway.sip.message import Address
from gateway.sip.services import (
    DEFAULT_PORTS,
    Server,
    Service,
    preferred_services,
    ranked,
    usual_services,
)

MAX_PLACES = 8
_MAX_HOSTS = 8
"""Servers whose addresses are looked for."""
_MAX_SERVICES = 4
_TIMEOUT_S = 8.0


class Locator:
    """Finds places.

    Args:
        clock: tells seconds, on any scale that only goes on.
        dns: whom to ask for services; None: nobody, and a domain is the host of that name.
        fraction: draws from [0, 1), among servers that are equal.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        dns: Dns | None,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._names = Resolver(clock)
        self._dns = dns
        self._fraction = fraction

    async def locate(
        self, hop: Address, transports: Collection[str], bind_hosts: Sequence[str]
    ) -> list[Address]:
        """Where to send what is meant for `hop`, the best place first, at most `MAX_PLACES`.

        Args:
            hop: its host may be a name. Its port may be 0 and its transport "", if the URI names
                none.
            transports: those that we can send over.
            bind_hosts: our own addresses, whose families are those of the places: the first is
                preferred.

        Raises:
            LegError: 502 no_transport, we do not speak what is asked for; else as `callable_from`.
        """
        failure = LegError(502, "unresolved")
        places: list[Address] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT_S):
                for bind_host in bind_hosts:
                    try:
                        places += await self._locate(hop, transports, bind_host)
                    except LegError as error:
                        failure = error
        if not places:
            raise failure
        return places[:MAX_PLACES]

    async def close(self) -> None:
        """Wait for nothing any more: whoever still does is told that nobody could tell."""
        self._names.close()
        if self._dns is not None:
            await self._dns.close()

    async def _locate(
        self, hop: Address, transports: Collection[str], bind_host: str
    ) -> list[Address]:
        if hop.transport and hop.transport not in transports:
            raise LegError(502, "no_transport")
        hop = replace(hop, name=hop.name.lower())  # as connections are looked for
        dns = None if is_address(hop.host) else self._dns
        if dns is not None and not dns.is_domain(hop.host):
            dns = None
        if dns is not None and not hop.port:
            servers = await self._servers(dns, hop, transports)
            if servers is not None:
                return await self._places(dns, servers, bind_host)
        transport = hop.transport or "udp"
        if transport not in transports:
            raise LegError(502, "no_transport")
        port = hop.port or DEFAULT_PORTS.get(transport, 0)
        if dns is None or not dns.knows_hosts:
            hosts = await self._names.resolve(hop.host, bind_host)
        else:
            hosts = callable_from(bind_host, await dns.addresses(hop.host, family_of(bind_host)))
        return [replace(hop, host=host, port=port, transport=transport) for host in hosts]

    async def _servers(
        self, dns: Dns, hop: Address, transports: Collection[str]
    ) -> list[Address] | None:
        """Servers by name, in order; None if the domain has said nothing about its services."""
        wanted = [hop.transport] if hop.transport else list(transports)
        usual = usual_services(hop.host, wanted)
        # Most domains have no NAPTR: nobody waits for that before the usual names are asked for.
        pointers, found = await asyncio.gather(
            dns.pointers(hop.host),
            asyncio.gather(*(dns.servers(service.name) for service in usual)),
        )
        known = dict(zip(usual, found, strict=True))
        services = preferred_services(pointers, wanted)[:_MAX_SERVICES] or usual
        told = False
        servers: list[Address] = []
        for service in services:
            records = known.get(service)
            if records is None:
                records = await dns.servers(service.name)
            told = told or bool(records)
            servers += self._in_order(hop, service, records)
        return servers if told else None

    def _in_order(self, hop: Address, service: Service, records: Sequence[Server]) -> list[Address]:
        # Whatever host serves a domain has to prove that domain (RFC 5922 section 4).
        name = (hop.name or hop.host.lower()) if service.transport == "tls" else ""
        return [
            Address(server.host, server.port, service.transport, name)
            for server in ranked(records, self._fraction)
            if server.port
        ]

    async def _places(self, dns: Dns, servers: Sequence[Address], bind_host: str) -> list[Address]:
        """Their addresses. What is wrong with one is told if it is wrong with all."""
        failure = LegError(404, "unknown_host")
        places: list[Address] = []
        family = family_of(bind_host)
        wanted = servers[:_MAX_HOSTS]
        hosts = list(dict.fromkeys(server.host for server in wanted))
        told = await asyncio.gather(*(dns.addresses(host, family) for host in hosts))
        known = dict(zip(hosts, told, strict=True))
        for server in wanted:
            try:
                found = callable_from(bind_host, known[server.host])
            except LegError as error:
                failure = error
                continue
            places += [replace(server, host=host) for host in found]
        if not places:
            raise failure
        return list(dict.fromkeys(places))
