"""The cases of RFC 5118 through a whole agent: IPv6 addresses where parsers go wrong.

The messages are our own, each built around what its section is about.
"""

from dataclasses import dataclass

import pytest

from gateway.sdp.answer import answer as described
from gateway.sdp.description import parse as sdp_parse
from gateway.sdp.plan import LocalMedia
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.events import IncomingCall
from gateway.sip.headers import name_addrs
from gateway.sip.message import Address, Request, Response
from gateway.sip.parse import parse
from gateway.sip.uri import SipUri
from tests.sip.network import tokens
from tests.sip.raw import read, vias

pytestmark = pytest.mark.pure

SOURCES = [Address("2001:db8::9", 6050, "udp"), Address("2001:db8::9", 40000, "tcp")]
CONTACT = "<sip:caller@[2001:db8::1]>"
VIA = "[2001:db8::9]:6050;branch=z9hG4bK-1"


def sdp(*media: str, origin: str = "IN IP6 2001:db8::20") -> str:
    return "\r\n".join(("v=0", f"o=a 1 1 {origin}", "s=-", *media, ""))


SIX = "c=IN IP6 2001:db8::20", "t=0 0", "m=audio 42000 RTP/AVP 0 8"
MIXED = (
    *("t=0 0", "m=audio 42000 RTP/AVP 0", "c=IN IP6 2001:db8::1"),
    *("m=audio 42002 RTP/AVP 0", "c=IN IP4 192.0.2.1"),
)
MAPPED = "c=IN IP6 ::ffff:192.0.2.10", "t=0 0", "m=audio 42000 RTP/AVP 0"


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and the final status that an agent owes that keeps no registrations."""

    section: str
    method: str
    answer: int
    uri: str = "sip:[2001:db8::10]"
    via: str = VIA
    contact: str = CONTACT
    to: str = "sip:agent@example.com"
    routes: tuple[str, ...] = ()
    body: str = ""

    @property
    def text(self) -> bytes:
        kind = ("Content-Type: application/sdp",) if self.body else ()
        lines = (
            f"{self.method} {self.uri} SIP/2.0",
            *(f"Via: SIP/2.0/UDP {via}" for via in self.via.split(" | ")),
            "Max-Forwards: 70",
            "From: <sip:caller@example.com>;tag=81x2",
            f"To: <{self.to}>",
            f"Call-ID: torture-{self.section}",
            f"CSeq: 98176 {self.method}",
            f"Contact: {self.contact}",
            *self.routes,
            *kind,
            f"Content-Length: {len(self.body)}",
        )
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()


CASES = {
    # A REGISTER that is understood is refused with 405, one that is not with 400.
    "an address in its brackets": Case("4.1", "REGISTER", 405),
    "an address without brackets": Case("4.2", "REGISTER", 400, uri="sip:2001:db8::10"),
    "a port inside the brackets is none": Case(
        "4.3", "REGISTER", 405, uri="sip:[2001:db8::10:5070]"
    ),
    "a port behind the brackets": Case("4.4", "REGISTER", 405, uri="sip:[2001:db8::10]:5070"),
    "received in brackets": Case("4.5", "OPTIONS", 200, via=f"{VIA};received=[2001:db8::9:255]"),
    "received without brackets": Case("4.5", "OPTIONS", 200, via=f"{VIA};received=2001:db8::9:255"),
    "an address in SDP has no brackets": Case("4.6", "INVITE", 200, body=sdp(*SIX)),
    "headers of both families": Case(
        "4.7",
        "INVITE",
        200,
        via=f"{VIA} | 192.0.2.1:5060;branch=z9hG4bK-2;received=192.0.2.200",
        contact="<sip:caller@192.0.2.1>",
        routes=("Record-Route: <sip:[2001:db8::30];lr>, <sip:192.0.2.30;lr>",),
        body=sdp(*SIX),
    ),
    "media of both families": Case("4.8", "INVITE", 200, body=sdp(*MIXED)),
    "addresses of IPv4 written as IPv6": Case(
        "4.9",
        "INVITE",
        200,
        via="[::ffff:192.0.2.10]:19823;branch=z9hG4bK-1",
        contact="<sip:caller@[::ffff:192.0.2.10]:19823>",
        body=sdp(*MAPPED, origin="IN IP6 ::ffff:192.0.2.2"),
    ),
    "an embedded IPv4 address": Case("4.10", "OPTIONS", 200, uri="sip:a@[2001:db8::192.0.2.1]"),
    # RFC 3261 has a fault in its grammar, by which some write three colons.
    "an embedded IPv4 address, three colons": Case(
        "4.10", "OPTIONS", 200, uri="sip:a@[2001:db8:::192.0.2.1]"
    ),
}


def answers(case: Case, source: Address) -> list[tuple[Response, Address]]:
    """What an agent says that takes every call."""
    agent = SipAgent(SipConfig("2001:db8::10"), token=tokens(5118))
    agent.receive(case.text, source, 100.0)
    for event in agent.events():
        assert isinstance(event, IncomingCall)
        agent.accept(event.dialog_id, b"v=0\r\n", 100.0)
    said = []
    for outgoing in agent.datagrams_to_send():
        message = read(outgoing.data)
        assert isinstance(message, Response)
        if message.status >= 200:
            said.append((message, outgoing.to))
    return said


@pytest.mark.parametrize("source", SOURCES, ids=["udp", "tcp"])
@pytest.mark.parametrize("name", CASES)
def test_the_answer_it_deserves(name: str, source: Address) -> None:
    """One, with that status, to whom it is for: where the request came from, and to the port that
    its Via names if the answer is a datagram (RFC 3261 section 18.2.2)."""
    case = CASES[name]
    [(answer, to)] = answers(case, source)
    assert answer.status == case.answer
    port = int(case.via.partition("]:")[2].partition(";")[0])
    assert to == (source if source.transport == "tcp" else Address(source.host, port, "udp"))
    top, *others = vias(answer.headers)
    assert f"[{top.host.strip('[]')}]:{top.port}" == case.via.partition(";")[0]
    assert (top.param("received") or source.host).strip("[]") == source.host
    assert [f"{via.host}:{via.port}" for via in others] == (
        ["192.0.2.1:5060"] if case.section == "4.7" else []
    )


def test_every_section_is_there() -> None:
    assert {case.section for case in CASES.values()} == {f"4.{number}" for number in range(1, 11)}


def test_where_an_address_ends_and_its_port_begins() -> None:
    places = {}
    for name in ("a port inside the brackets is none", "a port behind the brackets"):
        message = parse(CASES[name].text)
        assert isinstance(message, Request)
        uri = SipUri.parse(message.uri)
        places[name] = uri.host, uri.port
    assert list(places.values()) == [("2001:db8::10:5070", None), ("2001:db8::10", 5070)]
    three, two = (SipUri.parse(CASES[name].uri) for name in list(CASES)[:-3:-1])
    assert three.host == two.host
    contact = name_addrs(parse(CASES["headers of both families"].text).headers, "Contact")[0]
    assert contact.sip_uri().host == "192.0.2.1"


def test_the_media_that_it_is_about_are_agreed_on() -> None:
    """The first audio stream; another one, of the other family, is refused."""
    ours = LocalMedia(host="2001:db8::10", port=20_000, session_id=1)
    agreed = {}
    for name, case in CASES.items():
        if case.body:
            description, plan = described(sdp_parse(case.body.encode()), ours)
            ports = [medium.port for medium in description.media]
            agreed[name] = (plan.remote_host, plan.remote_port, ports)
    assert agreed == {
        "an address in SDP has no brackets": ("2001:db8::20", 42_000, [20_000]),
        "headers of both families": ("2001:db8::20", 42_000, [20_000]),
        "media of both families": ("2001:db8::1", 42_000, [20_000, 0]),
        "addresses of IPv4 written as IPv6": ("::ffff:192.0.2.10", 42_000, [20_000]),
    }
