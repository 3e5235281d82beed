"""A name server of the tests' own, on loopback."""

import asyncio
from typing import Any, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

HOST = "127.0.0.1"


class NameServer(asyncio.DatagramProtocol):
    """Answers from `zone`: ("pbx.example", "A") -> texts of records.

    A name of which it knows nothing does not exist. `silent` questions get no answer, `broken` ones
    are answered SERVFAIL.
    """

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.ttl = 60
        self.silent: set[tuple[str, str]] = set()
        self.broken: set[tuple[str, str]] = set()
        self.garbage: bytes | None = None
        self.asked: list[tuple[str, str]] = []

    @classmethod
    async def open(cls) -> Self:
        loop = asyncio.get_running_loop()
        _, server = await loop.create_datagram_endpoint(cls, (HOST, 0))
        return server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address: tuple[str, int] = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        [question] = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        asked = (name, question.rdtype.name)
        self.asked.append(asked)
        if asked in self.silent:
            return
        if self.garbage is not None:
            self.transport.sendto(data[:2] + self.garbage, addr)
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        records = self.zone.get(asked)
        if asked in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records is not None:
            rrset = dns.rrset.from_text_list(
                question.name, self.ttl, question.rdclass, question.rdtype, records
            )
            answer.answer.append(rrset)
        elif not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(want_shuffle=False), addr)

    def close(self) -> None:
        self.transport.close()
