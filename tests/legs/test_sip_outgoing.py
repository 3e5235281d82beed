"""Calls that we make, over loopback: to an endpoint of ours, and to a telephone of plain text."""

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import psutil
import pytest

from gateway.audio import g711
from gateway.audio.formats import PCMU
from gateway.audio.playout import ItemPart
from gateway.legs.leg import (
    LegAnswered,
    LegEnded,
    LegError,
    LegEvent,
    LegHeld,
    LegRinging,
    ReferAnswered,
    ReferProgress,
)
from gateway.legs.plain_media import PlainMedia
from gateway.legs.ports import NoPortError
from gateway.legs.sip_leg import SipLeg
from gateway.legs.sip_outgoing import DialPlan, SipOutgoingLeg
from gateway.sip.agent import SipAgent
from gateway.sip.auth import Credentials
from gateway.sip.events import Answered
from gateway.sip.message import Address
from tests.legs.office import HOST, Office, Phone, free_port, header
from tests.legs.test_rtp_port import Peer
from tests.legs.test_sip_leg import sdp

pytestmark = pytest.mark.loop

FRAME = bytes(random.Random(1).randbytes(160))
PART = ItemPart("resp_1", "item_1", 0)


@pytest.fixture
async def offices() -> AsyncIterator[tuple[Office, Office]]:
    """A caller and a callee; whatever a test did, nothing is left of it."""
    sockets = len(psutil.Process().net_connections())
    caller, callee = Office(), Office()
    async with AsyncExitStack() as stack:
        for office in (callee, caller):
            stack.push_async_callback(office.close)
            await office.open()
        yield caller, callee
    for _ in range(100):
        if len(psutil.Process().net_connections()) == sockets:
            break
        await asyncio.sleep(0.01)  # transports close when the loop comes round
    else:
        pytest.fail("a socket was left open")
    assert (caller.left(), callee.left()) == ({}, {})


@pytest.fixture
async def phone(offices: tuple[Office, Office]) -> AsyncIterator[Phone]:
    phone = await Phone.open()
    yield phone
    phone.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """Media of the telephone."""
    loop = asyncio.get_running_loop()
    transport, peer = await loop.create_datagram_endpoint(Peer, (HOST, 0))
    yield peer
    transport.close()


Offices = tuple[Office, Office]


async def answered(caller: Office, phone: Phone, body: bytes | None = None) -> tuple[Any, str]:
    """A call to the telephone that is up: our leg, and the INVITE."""
    leg = caller.leg(phone.uri)
    await leg.dial()
    invite = await phone.until("INVITE")
    phone.answer(invite, 200, body=sdp() if body is None else body)
    await caller.until(LegAnswered())
    await phone.until("ACK")
    return leg, invite


# How a call begins.


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_goes_through_and_both_hear_each_other(
    offices: Offices, transport: str
) -> None:
    caller, callee = offices
    leg = caller.leg(f"sip:agent@{HOST}:{callee.port};transport={transport}")
    assert (leg.direction, leg.headers, leg.format) == ("outbound", (), PCMU)
    near = await leg.dial()
    other = await callee.called()
    assert other.direction == "inbound"
    told = dict(other.headers)
    assert told["From"].startswith(f"<sip:office@{HOST}>;tag=")
    other.ring()
    await caller.until(LegRinging(180))
    far = await other.answer()
    await caller.until(LegAnswered())
    await callee.until(LegAnswered())
    assert caller.events == [LegRinging(180), LegAnswered()]
    assert (leg.codec, other.codec) == ("pcmu", "pcmu")
    for port, office in ((near, callee), (far, caller)):
        heard: list[bytes] = []
        (far if port is near else near).join(heard.append)
        port.playout.push(PART, FRAME * 5)
        async with asyncio.timeout(3):
            while FRAME not in heard:
                for ticked in (*caller.pacer.ports, *callee.pacer.ports):
                    ticked.tick()
                await asyncio.sleep(0.005)
        assert office.pacer.ports
    leg.hang_up()
    await callee.until(LegEnded("remote_bye"))
    assert caller.events[-1] == LegEnded("local_bye")


async def test_the_offer_has_all_that_we_can(offices: Offices, phone: Phone) -> None:
    caller, _ = offices
    await caller.leg(phone.uri).dial()
    invite = await phone.until("INVITE")
    assert "RTP/AVP 0 8 101\r\n" in invite
    assert "telephone-event/8000" in invite
    phone.answer(invite, 486)


async def test_an_invite_may_go_elsewhere_than_its_target_says(
    offices: Offices, phone: Phone
) -> None:
    caller, _ = offices
    leg = caller.leg("sip:bob@pbx.invalid:7", hop=Address("localhost", phone.port, "udp"))
    await leg.dial()
    invite = await phone.until("INVITE sip:bob@pbx.invalid:7 SIP/2.0\r\n")
    phone.answer(invite, 404)
    await caller.until(LegEnded("refused", 404))


async def test_a_callee_who_asks_who_we_are_is_told(offices: Offices, phone: Phone) -> None:
    caller, _ = offices
    leg = caller.leg(phone.uri, credentials=Credentials("office", "secret", "phone"))
    await leg.dial()
    challenge = 'WWW-Authenticate: Digest realm="phone", nonce="n", algorithm=MD5, qop="auth"'
    phone.answer(await phone.until("INVITE"), 401, challenge)
    again = await phone.until("INVITE", lambda text: "Authorization: " in text)
    assert 'username="office"' in header(again, "Authorization")
    assert "secret" not in again
    phone.answer(again, 200, body=sdp())
    await caller.until(LegAnswered())
    leg.hang_up()
    phone.answer(await phone.until("BYE"), 200)
    assert caller.events == [LegAnswered(), LegEnded("local_bye")]


async def test_early_media_is_told_and_not_listened_to(offices: Offices, phone: Phone) -> None:
    caller, _ = offices
    leg = caller.leg(phone.uri)
    await leg.dial()
    invite = await phone.until("INVITE")
    phone.answer(invite, 183, body=sdp())
    await caller.until(LegRinging(183))
    assert caller.pacer.ports == []
    phone.answer(invite, 200, body=sdp())
    await caller.until(LegAnswered())
    assert len(caller.pacer.ports) == 1
    leg.hang_up()
    phone.answer(await phone.until("BYE"), 200)


async def test_a_callee_of_the_other_law_is_translated(
    offices: Offices, phone: Phone, peer: Peer
) -> None:
    caller, _ = offices
    leg = caller.leg(phone.uri)
    port: Any = await leg.dial()
    heard: list[bytes] = []
    port.join(heard.append)
    phone.answer(await phone.until("INVITE"), 200, body=sdp(port=peer.address[1], codecs="8"))
    await caller.until(LegAnswered())
    assert (leg.codec, leg.format) == ("pcma", PCMU)
    assert isinstance(leg._media, PlainMedia)
    async with asyncio.timeout(3):
        while not (peer.packets and heard):
            port.tick()
            if peer.packets:
                peer.send(b"\xd5" * 160, (HOST, leg._media._local.port), 8)
            await asyncio.sleep(0.005)
    assert peer.packets[0][1] & 0x7F == 8
    assert peer.payloads()[0] == b"\xd5" * 160
    assert heard[0] == (b"\xd5" * 160).translate(g711.TRANSLATE["pcma"])
    leg.hang_up()
    phone.answer(await phone.until("BYE"), 200)


# How it does not.


async def test_a_callee_may_refuse(offices: Offices) -> None:
    caller, callee = offices
    leg = caller.leg(f"sip:agent@{HOST}:{callee.port}")
    await leg.dial()
    (await callee.called()).reject(486)
    await caller.until(LegEnded("refused", 486))
    leg.hang_up()
    assert caller.events == [LegEnded("refused", 486)]


@pytest.mark.parametrize("way", ["hang_up", "close"])
async def test_a_call_that_is_not_wanted_any_more_stops_ringing(offices: Offices, way: str) -> None:
    caller, callee = offices
    leg = caller.leg(f"sip:agent@{HOST}:{callee.port}")
    await leg.dial()
    (await callee.called()).ring()
    await caller.until(LegRinging(180))
    if way == "close":
        await leg.close()
    else:
        leg.hang_up()
        assert caller.events == [LegRinging(180), LegEnded("cancelled")]
    await callee.until(LegEnded("cancelled", 487))
    await asyncio.sleep(0.02)  # the 487 comes back
    assert caller.events.count(LegEnded("cancelled")) == (way == "hang_up")
    assert caller.events[-1] == (LegEnded("cancelled") if way == "hang_up" else LegRinging(180))


@pytest.mark.parametrize("body", [b"", b"garbage", sdp(codecs="18"), sdp(host="224.0.0.1")])
async def test_an_answer_of_no_use_ends_the_call(
    offices: Offices, phone: Phone, body: bytes
) -> None:
    caller, _ = offices
    await caller.leg(phone.uri).dial()
    invite = await phone.until("INVITE")
    phone.answer(invite, 200, body=body)
    await phone.until("ACK")
    phone.answer(await phone.until("BYE"), 200)
    await caller.until(LegEnded("bad_answer"))
    assert caller.events == [LegEnded("bad_answer")]


@pytest.mark.parametrize("tries", [1, 20])
async def test_nobody_there(offices: Offices, tries: int) -> None:
    caller, _ = offices
    port = free_port()
    for _ in range(tries):
        leg = caller.leg(f"sip:x@{HOST}:{port};transport=tcp")
        await leg.dial()
        await caller.until(LegEnded("transport"))
        await leg.close()
        caller.events.clear()


async def test_without_a_free_port_nobody_is_called(offices: Offices, phone: Phone) -> None:
    caller, _ = offices
    taken = [caller.ports.take() for _ in range(len(caller.ports))]
    await refused(caller, phone.uri, 503, "no_media_port")
    with pytest.raises(NoPortError):
        caller.ports.take()
    for port in taken:
        caller.ports.give_back(port)
    assert phone.heard == []


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("tel:+15551234567", 400, "bad_target"),
        ("sip:x@127.0.0.1:0", 400, "bad_target"),
        ("sip:x@127.0.0.1:99999", 400, "bad_target"),
        ("sip:x@127.0.0.1;transport=ws", 400, "bad_target"),
        ("sip:a b@127.0.0.1", 400, "bad_target"),
        ("sip:x@127.0.0.1\r\nX-Evil: 1", 400, "bad_target"),
        ("", 400, "bad_target"),
        ("sip:x@224.0.0.1", 403, "unusable_host"),
        ("sip:x@0.0.0.0", 403, "unusable_host"),
        ("sip:x@169.254.169.254", 403, "unusable_host"),
        ("sip:x@[::1]", 404, "unknown_host"),
    ],
)
async def test_a_target_that_cannot_be_called(
    offices: Offices, target: str, status: int, reason: str
) -> None:
    await refused(offices[0], target, status, reason)


@pytest.mark.parametrize(
    "plan",
    [
        {"from_uri": "sip:a@b\r\nX-Evil: 1"},
        {"hop": Address(HOST, -1, "udp")},
        {"hop": Address(HOST, 65_536, "udp")},
        {"hop": Address(HOST, 5060, "ws")},
    ],
)
async def test_a_plan_that_cannot_be_sent(
    offices: Offices, phone: Phone, plan: dict[str, Any]
) -> None:
    await refused(offices[0], phone.uri, 400, "bad_target", **plan)
    assert phone.heard == []


async def test_a_transport_that_is_off() -> None:
    office = Office()
    await office.open(tcp=False)
    await refused(office, f"sip:x@{HOST};transport=tcp", 502, "no_transport")
    await office.close()
    assert office.left() == {}


async def refused(office: Office, target: str, status: int, reason: str, **plan: Any) -> None:
    """Dial in vain: an error, no event, and nothing sent or held."""
    leg = office.leg(target, **plan)
    free = len(office.ports)
    with pytest.raises(LegError) as caught:
        await leg.dial()
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert (office.events, office.agent.dialogs, len(office.ports)) == ([], 0, free)


async def test_a_call_may_be_given_up_before_it_is_made(offices: Offices, phone: Phone) -> None:
    caller, _ = offices
    leg = caller.leg(phone.uri)
    dialling = asyncio.create_task(leg.dial())
    await asyncio.sleep(0)  # it waits for its port
    assert not dialling.done()
    leg.hang_up()
    with pytest.raises(LegError) as caught:
        await dialling
    assert (caught.value.status, caught.value.reason) == (487, "leg_ended")
    assert caller.events == [LegEnded("cancelled")]
    assert caller.left() == {}
    assert phone.heard == []


@pytest.mark.parametrize("steps", range(4))
async def test_dialling_may_be_cancelled_at_any_moment(
    offices: Offices, phone: Phone, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    caller, _ = offices
    for _ in range(10):
        dialling = asyncio.create_task(caller.leg(phone.uri).dial())
        for _ in range(steps):
            await asyncio.sleep(0)
        dialling.cancel()
        await asyncio.gather(dialling, return_exceptions=True)
        leg = caller.legs.pop()
        await leg.close()
    answer = threading.Event()

    def getaddrinfo(*_: Any) -> None:
        answer.wait()
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    waiting = asyncio.create_task(caller.leg("sip:x@pbx.example").dial())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    answer.set()
    assert caller.events == []


class Network:
    """Signalling that leads to one host, whoever is called."""

    def __init__(self, host: str) -> None:
        self._host = host

    async def locate(self, hop: Address) -> list[Address]:
        return [replace(hop, host=self._host)]

    def place(self, leg: SipLeg, invite: Any) -> None:
        leg.dialog_id = "d1"

    def act(self, action: Any) -> None:
        pass


@pytest.mark.parametrize(("called", "sends"), [("10.0.0.5", True), ("203.0.113.5", False)])
async def test_media_goes_to_a_private_address_only_if_that_was_called(
    called: str, sends: bool
) -> None:
    office = Office()
    media = replace(office.media, advertised_host="198.51.100.1")
    leg = SipOutgoingLeg(Network(called), DialPlan("sip:x@pbx.example", "sip:office@x"), media)
    port: Any = await leg.dial()
    sent: list[Any] = []
    port._rtp_socket.send = lambda data, to: sent.append(to)
    leg.dialog_event(Answered("d1", sdp(host="10.0.0.5")))
    port.tick()
    await leg.close()
    assert sent == ([("10.0.0.5", 40000)] if sends else [])
    assert office.left() == {}


# Once it is up.


def reoffer(office: Office, dialog_id: str, body: bytes) -> None:
    """Have the far end change the session."""

    def offer(agent: SipAgent, now: float) -> None:
        agent.reinvite(dialog_id, body, now)

    office.endpoint.act(offer)


async def test_the_callee_may_hold_the_call(offices: Offices) -> None:
    caller, callee = offices
    leg = caller.leg(f"sip:agent@{HOST}:{callee.port}")
    await leg.dial()
    other = await callee.called()
    await other.answer()
    await caller.until(LegAnswered())
    await callee.until(LegAnswered())
    reoffer(callee, other.dialog_id, sdp(direction="sendonly"))
    await caller.until(LegHeld(True))
    reoffer(callee, other.dialog_id, sdp())
    await caller.until(LegHeld(False))
    other.hang_up()
    await caller.until(LegEnded("remote_bye"))
    assert caller.events == [
        LegAnswered(),
        LegHeld(True),
        LegHeld(False),
        LegEnded("remote_bye"),
    ]


@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_the_other_side_is_asked_to_call_somebody_else(
    offices: Offices, phone: Phone, who: str
) -> None:
    office, _ = offices
    if who == "callee":
        leg, invite = await answered(office, phone)
    else:
        leg = await called_by(office, phone)
    before: list[LegEvent] = [LegAnswered()]
    assert office.events == before
    with pytest.raises(LegError) as caught:
        leg.refer("tel:+1555\r\nX-Evil: 1")
    assert (caught.value.status, caught.value.reason) == (400, "bad_target")
    leg.refer("tel:+15557654321")
    refer = await phone.until("REFER")
    assert header(refer, "Refer-To").strip("<>") == "tel:+15557654321"
    phone.answer(refer, 202)
    await office.until(ReferAnswered(202))
    for number, (state, told) in enumerate(
        [("active", "100 Trying"), ("terminated;reason=noresource", "486 Busy Here")], 10
    ):
        phone.request(
            "NOTIFY",
            refer,
            number,
            "Event: refer",
            f"Subscription-State: {state}",
            "Content-Type: message/sipfrag",
            body=f"SIP/2.0 {told}\r\n",
        )
    await office.until(ReferProgress(486, True))
    assert office.events == [
        *before,
        ReferAnswered(202),
        ReferProgress(100, False),
        ReferProgress(486, True),
    ]
    leg.hang_up()
    phone.answer(await phone.until("BYE"), 200)


async def called_by(office: Office, phone: Phone) -> Any:
    """A call of the telephone to us that is up."""
    phone.peer = (HOST, office.port)
    invite = (
        f"INVITE sip:agent@{HOST} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {HOST}:{phone.port};branch=z9hG4bKi;rport\r\nMax-Forwards: 70\r\n"
        f"From: <{phone.uri}>;tag=phone\r\nTo: <sip:agent@{HOST}>{{tag}}\r\nCall-ID: c\r\n"
        f"CSeq: 1 {{method}}\r\nContact: <{phone.uri}>\r\nContent-Type: application/sdp\r\n"
    )
    body = sdp().decode()
    text = invite.format(tag="", method="INVITE")
    phone.send(f"{text}Content-Length: {len(body)}\r\n\r\n{body}")
    leg = await office.called()
    await leg.answer()
    tag = header(await phone.until("SIP/2.0 200"), "To").partition(";")[2]
    ack = invite.replace("INVITE", "ACK", 1).format(tag=f";{tag}", method="ACK")
    phone.send(f"{ack.replace('z9hG4bKi', 'z9hG4bKa')}Content-Length: 0\r\n\r\n")
    await office.until(LegAnswered())
    return leg


async def test_a_peer_that_does_not_transfer_says_so(offices: Offices) -> None:
    caller, callee = offices
    leg = caller.leg(f"sip:agent@{HOST}:{callee.port}")
    await leg.dial()
    await (await callee.called()).answer()
    await caller.until(LegAnswered())
    await callee.until(LegAnswered())
    leg.refer("sip:desk@example.com")
    await caller.until(ReferAnswered(405))
    assert caller.events == [LegAnswered(), ReferAnswered(405)]
