"""A SIP leg without a network: what it asks of the agent, what it makes of the dialog's events."""

import asyncio
import ipaddress
import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from gateway.audio.formats import PCMU
from gateway.legs.leg import LegAnswered, LegEnded, LegError, LegEvent, LegHeld
from gateway.legs.leg_media import MediaConfig
from gateway.legs.ports import PortPool
from gateway.legs.sip_incoming import SipIncomingLeg
from gateway.reach import Network
from gateway.sdp.description import parse
from gateway.sip.events import Answered, CallEnded, IncomingCall, Reanswered, Reoffer
from gateway.sip.message import Address
from tests.legs.test_rtp_port import HandPacer

pytestmark = pytest.mark.loop


def sdp(
    *, port: int = 40000, direction: str = "sendrecv", codecs: str = "0 8 101", **more: str
) -> bytes:
    host = more.get("host", "127.0.0.1")
    return (
        f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {codecs}\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    ).encode()


class Line:
    """The signalling side: records what was asked of the agent."""

    def __init__(
        self,
        offer: bytes | None,
        ports: PortPool,
        *,
        advertised: str = "127.0.0.1",
        came_from: str = "127.0.0.1",
        allow: tuple[Network, ...] | None = None,
        **media_settings: Any,
    ) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.events: list[LegEvent] = []
        self.pacer = HandPacer()
        pacer: Any = self.pacer
        incoming = IncomingCall(
            "d1", "c1", "sip:a@x", "sip:b@y", "sip:b@y", (), offer, Address(came_from, 1, "udp")
        )
        media = MediaConfig("127.0.0.1", advertised, ports, pacer, 30.0, allow, **media_settings)
        signalling: Any = self
        self.leg = SipIncomingLeg(signalling, incoming, media)

    def act(self, action: Callable[[Any, float], None]) -> None:
        action(self, 0.0)

    def __getattr__(self, name: str) -> Callable[..., None]:
        def asked(_: str, *args: Any, headers: Any = (), **__: Any) -> None:
            self.asked.append((name, (*args[:-1], *headers)))

        return asked

    def remote_target(self, dialog_id: str) -> str:
        return f"sip:a@phone;dialog={dialog_id}"

    def last_description(self) -> Any:
        return parse(self.asked[-1][1][0])


def free_pairs() -> PortPool:
    first = random.randrange(32_000, 60_000, 2)
    return PortPool(first, first + 21)


@pytest.fixture
def ports() -> PortPool:
    return free_pairs()


@pytest.fixture
async def lines(ports: PortPool) -> AsyncIterator[Callable[[bytes | None], Line]]:
    opened: list[Line] = []
    free = len(ports)

    def line(offer: bytes | None) -> Line:
        opened.append(Line(offer, ports))
        opened[-1].leg.listen(opened[-1].events.append)
        return opened[-1]

    yield line
    for one in opened:
        await one.leg.close()
        await one.leg.close()
        assert one.pacer.ports == []
    assert len(ports) == free


Lines = Callable[[bytes | None], Line]


async def test_an_offer_is_answered_with_a_port_of_ours(lines: Lines) -> None:
    line = lines(sdp())
    line.leg.ring()
    port = await line.leg.answer()
    assert [name for name, _ in line.asked] == ["ring", "accept"]
    (audio,) = line.last_description().media
    assert audio.formats == ("0", "101")
    assert audio.port % 2 == 0
    assert port.format == line.leg.format
    line.leg.dialog_event(Answered("d1", None))
    assert line.events == [LegAnswered()]


async def test_a_late_offer_is_ours_and_the_ack_answers_it(lines: Lines) -> None:
    line = lines(None)
    await line.leg.answer()
    (audio,) = line.last_description().media
    assert audio.formats == ("0", "8", "101")
    assert line.pacer.ports == []
    line.leg.dialog_event(Answered("d1", sdp(codecs="8 101")))
    assert line.events == [LegAnswered()]
    assert len(line.pacer.ports) == 1
    assert (line.leg.codec, line.leg.format) == ("pcma", PCMU)


@pytest.mark.parametrize("answer", [None, b"garbage", sdp(codecs="18"), sdp(host="224.0.0.1")])
async def test_an_answer_to_a_late_offer_that_is_of_no_use_ends_the_call(
    lines: Lines, answer: bytes | None
) -> None:
    line = lines(None)
    await line.leg.answer()
    line.leg.dialog_event(Answered("d1", answer))
    assert line.events == [LegEnded("bad_answer")]
    assert line.asked[-1][0] == "hang_up"
    line.leg.dialog_event(CallEnded("d1", "local_bye", None))
    line.leg.dialog_event(Reanswered("d1", 200, sdp(direction="inactive")))
    assert line.events == [LegEnded("bad_answer")]


@pytest.mark.parametrize(
    ("offer", "status"),
    [
        (sdp(codecs="18 96"), 488),
        (sdp(port=0), 488),
        (sdp(host="224.0.0.1"), 488),
        (sdp(host="255.255.255.255"), 488),
        (sdp(host="169.254.169.254"), 488),
        (sdp(host="169.254.169.254", direction="sendonly"), 488),
        (sdp(host="169.254.169.254", direction="inactive"), 488),
        (sdp(host="0.0.0.1"), 488),
        (sdp(host="0.0.0.1", direction="sendonly"), 488),
        (b"not a description", 400),
    ],
)
async def test_an_offer_that_cannot_be_served_is_known_at_once(
    lines: Lines, offer: bytes, status: int
) -> None:
    line = lines(offer)
    assert line.leg.fault is not None and line.leg.fault.status == status
    line.leg.reject(status)
    name, (told, (header, text)) = line.asked[-1]
    assert (name, told, header) == ("reject", status, "Warning")
    assert text


async def test_an_overloaded_refusal_says_when_to_come_again(lines: Lines) -> None:
    line = lines(sdp())
    line.leg.reject(503, 10)
    assert line.asked == [("reject", (503, ("Retry-After", "10")))]


async def test_hold_and_resume(lines: Lines) -> None:
    line = lines(sdp())
    await line.leg.answer()
    line.leg.dialog_event(Answered("d1", None))
    versions = [line.last_description().origin.session_version]
    for offered, ours in [
        ("sendonly", "recvonly"),
        ("inactive", "inactive"),
        ("recvonly", "sendonly"),
        ("sendrecv", "sendrecv"),
    ]:
        line.leg.dialog_event(Reoffer("d1", sdp(direction=offered)))
        assert line.asked[-1][0] == "answer_offer"
        assert line.last_description().media[0].direction == ours
        versions.append(line.last_description().origin.session_version)
    assert versions == sorted(set(versions))
    line.leg.dialog_event(Reoffer("d1", sdp(direction="sendrecv")))
    assert line.last_description().origin.session_version == versions[-1]  # nothing new
    assert line.events == [LegAnswered(), LegHeld(True), LegHeld(False)]


async def test_the_codec_in_use_stays_if_it_may(lines: Lines) -> None:
    line = lines(sdp(codecs="0 101"))
    await line.leg.answer()
    line.leg.dialog_event(Reoffer("d1", sdp(codecs="8 0 101")))
    assert line.last_description().media[0].formats[0] == "0"
    line.leg.dialog_event(Reoffer("d1", sdp(codecs="8 101")))
    assert line.last_description().media[0].formats[0] == "8"
    assert line.leg.codec == "pcmu"  # of the call, which goes on in its own law


async def test_a_call_may_begin_on_hold_without_an_address(lines: Lines) -> None:
    line = lines(sdp(host="0.0.0.0"))
    assert line.leg.fault is None
    await line.leg.answer()
    assert line.last_description().media[0].direction == "recvonly"


@pytest.mark.parametrize(
    ("offer", "status"),
    [
        (sdp(codecs="18"), 488),
        (sdp(host="169.254.169.254", direction="sendonly"), 488),
        (sdp(host="169.254.169.254", port=0), 488),
        (sdp(port=0) + b"m=image 5000 udptl t38\r\n", 488),
        (b"?", 400),
    ],
)
async def test_a_new_offer_of_no_use_changes_nothing(
    lines: Lines, offer: bytes, status: int
) -> None:
    line = lines(sdp())
    await line.leg.answer()
    line.leg.dialog_event(Reoffer("d1", offer))
    name, args = line.asked[-1]
    assert (name, args[0]) == ("refuse_offer", status)
    assert line.events == []


async def test_a_re_invite_without_an_offer_gets_ours(lines: Lines) -> None:
    line = lines(sdp())
    await line.leg.answer()
    line.leg.dialog_event(Reoffer("d1", None))
    assert line.asked[-1][0] == "answer_offer"
    line.leg.dialog_event(Reanswered("d1", 200, sdp(direction="inactive")))
    assert line.events == [LegHeld(True)]


async def test_nobody_is_left_on_a_line_that_leads_nowhere(lines: Lines) -> None:
    line, ended = lines(sdp()), lines(sdp())
    await line.leg.answer()
    ended.leg.dialog_event(CallEnded("d1", "remote_bye", None))
    for leg in (line.leg, ended.leg):
        await leg.close()
    assert [name for name, _ in line.asked] == ["accept", "hang_up"]
    assert ended.asked == []


async def test_a_caller_who_is_gone_is_not_answered(lines: Lines) -> None:
    line = lines(sdp())
    line.leg.dialog_event(CallEnded("d1", "cancelled", 487))
    assert line.events == [LegEnded("cancelled", 487)]
    with pytest.raises(LegError):
        await line.leg.answer()


async def test_where_the_caller_is_reached_the_dialog_knows(lines: Lines) -> None:
    assert lines(sdp()).leg.contact == "sip:a@phone;dialog=d1"


async def test_a_caller_may_give_up_before_anybody_listens(ports: PortPool) -> None:
    line = Line(sdp(), ports)
    line.leg.dialog_event(CallEnded("d1", "cancelled", 487))
    line.leg.listen(line.events.append)
    assert line.events == [LegEnded("cancelled", 487)]


async def test_a_taken_port_is_passed_over(ports: PortPool) -> None:
    taken = ports.take()
    ports.give_back(taken)
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", taken + 1))
        line = Line(sdp(), PortPool(taken, taken + 3))
        await line.leg.answer()
        assert line.last_description().media[0].port == taken + 2
        await line.leg.close()


async def test_a_call_that_ends_while_its_port_is_opened_leaves_no_socket(ports: PortPool) -> None:
    before = psutil.Process().num_fds()
    for _ in range(20):
        line = Line(sdp(), ports)
        answering = asyncio.create_task(line.leg.answer())
        await asyncio.sleep(0)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        await line.leg.close()
    await asyncio.sleep(0.05)
    assert psutil.Process().num_fds() == before
    assert len(ports) == 11


async def test_without_a_free_port_the_call_cannot_be_answered() -> None:
    line = Line(sdp(), PortPool(40000, 40000))
    with pytest.raises(LegError) as caught:
        await line.leg.answer()
    assert (caught.value.status, caught.value.reason) == (503, "no_media_port")


@pytest.mark.parametrize(
    ("came_from", "allow", "sends"),
    [
        ("203.0.113.5", None, False),
        ("203.0.113.5", (ipaddress.ip_network("10.0.0.0/8"),), True),
        ("10.0.0.5", None, True),
    ],
)
async def test_a_caller_behind_a_nat_is_answered_and_sent_nothing_before_being_heard(
    ports: PortPool, came_from: str, allow: tuple[Network, ...] | None, sends: bool
) -> None:
    offer = sdp(host="10.0.0.5")
    line = Line(offer, ports, advertised="198.51.100.1", came_from=came_from, allow=allow)
    assert line.leg.fault is None
    port: Any = await line.leg.answer()
    assert line.asked[-1][0] == "accept"
    sent: list[Any] = []
    port._rtp_socket.send = lambda data, to: sent.append(to)
    line.leg.dialog_event(Reoffer("d1", sdp(host="0.0.0.0")))
    line.leg.dialog_event(Reoffer("d1", offer))
    port.tick()
    assert sent == ([("10.0.0.5", 40000)] if sends else [])
    await line.leg.close()
