"""Where we say that we are, to peers of either IP family; and in dialogs that are private."""

import pytest

from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.message import Address, Request, Response
from gateway.sip.parse import parse
from tests.sip.network import tokens
from tests.sip.raw import SDP, request

pytestmark = pytest.mark.pure

BOTH = SipConfig("192.0.2.1", tls_port=5061, other_host="2001:db8::1")


@pytest.mark.parametrize(
    ("peer", "host"),
    [("192.0.2.9", "192.0.2.1"), ("2001:db8::9", "[2001:db8::1]")],
)
def test_each_is_told_the_address_that_it_can_reach(peer: str, host: str) -> None:
    agent = SipAgent(BOTH, token=tokens(1))
    to = Address(peer, 5060, "udp")
    agent.invite("sip:bob@pbx.example", SDP, 0.0, to=to, from_uri="sip:me@pbx.example")
    [invite] = [parse(out.data) for out in agent.datagrams_to_send()]
    assert isinstance(invite, Request)
    assert invite.headers.get("Contact") == f"<sip:{host}:5060>"
    assert (invite.headers.get("Via") or "").startswith(f"SIP/2.0/UDP {host}:5060;")
    agent.receive(request("INVITE", body=SDP), Address(peer, 5062, "tls"), 0.0)
    [called] = [event.dialog_id for event in agent.events()]
    agent.accept(called, SDP, 0.0)
    answer = parse(agent.datagrams_to_send()[-1].data)
    assert isinstance(answer, Response)
    assert answer.headers.get("Contact") == f"<sip:{host}:5061;transport=tls>"


@pytest.mark.parametrize(
    ("via", "status"),
    [("TLS", 200), ("WSS", 200), ("UDP", 416), ("TCP", 416), ("WS", 416)],
)
def test_sips_is_served_where_it_came_in_private(via: str, status: int) -> None:
    agent = SipAgent(BOTH, token=tokens(1))
    asked = request(
        "OPTIONS",
        uri="sips:agent@192.0.2.1",
        via=f"SIP/2.0/{via} 192.0.2.9:5062;branch=z9hG4bK1",
    )
    agent.receive(asked, Address("192.0.2.9", 40000, via.lower()), 0.0)
    [answer] = [parse(out.data) for out in agent.datagrams_to_send()]
    assert isinstance(answer, Response)
    assert answer.status == status


def test_connections_that_we_open_are_offered_for_the_way_back() -> None:
    """RFC 5923: only over TLS, and only where somebody could connect to us as well."""
    for config, transport, offered in (
        (BOTH, "tls", True),
        (BOTH, "tcp", False),
        (SipConfig("192.0.2.1"), "tls", False),
    ):
        agent = SipAgent(config, token=tokens(1))
        to = Address("192.0.2.9", 5061, transport)
        agent.invite("sip:bob@pbx.example", SDP, 0.0, to=to, from_uri="sip:me@pbx.example")
        [invite] = [parse(out.data) for out in agent.datagrams_to_send()]
        assert (";alias" in (invite.headers.get("Via") or "")) == offered
