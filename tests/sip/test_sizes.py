"""Messages and bodies of great size: refused by name, and with work that grows no faster than they
do (reliability 2.1)."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from gateway.sdp.answer import answer
from gateway.sdp.description import SdpError
from gateway.sdp.description import parse as parse_sdp
from gateway.sdp.plan import LocalMedia
from gateway.sip.message import MAX_MESSAGE_BYTES, Response
from tests.sip.raw import SDP, Desk, request

pytestmark = pytest.mark.pure

LOCAL = LocalMedia(host="192.0.2.10", port=20_000, session_id=77)
OFFER = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0\r\n"
)


def filled(count: int, line: str, **more: Any) -> bytes:
    """A request with so many lines more; every %d in one is its number."""
    name, _, value = line.partition(": ")
    numbers = range(count)
    headers = tuple((name, value.replace("%d", str(number))) for number in numbers)
    return request("INVITE", body=SDP, headers=headers, **more)


def work(job: Callable[[], object]) -> int:
    """How many calls of Python functions it takes."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        job()
    finally:
        sys.setprofile(None)
    return calls


TOO_LARGE = [
    ("a body of 64 kB", request("INVITE", body=b"v=0\r\n" * 13_200), 513),
    ("a line of 9 kB", filled(1, f"Subject: {'x' * 9000}"), 513),
    ("a Request-URI of 9 kB", request("INVITE", uri=f"sip:{'x' * 9000}@h", body=SDP), 414),
    ("10,000 headers", filled(10_000, "X-A: %d"), 513),
    ("10,000 short headers", filled(10_000, "a:"), 513),
    ("1,000 Via lines", filled(1000, "Via: SIP/2.0/UDP h%d;branch=z9hG4bK%d"), 513),
    ("255 Via lines", filled(246, "Via: SIP/2.0/UDP h%d;branch=z9hG4bK%d"), 100),
    (
        "a fold of 60,000 bytes",
        filled(1, f"X-A: {'a' + chr(13) + chr(10) + ' '}" + " " * 60_000),
        100,
    ),
    ("quotes that never end", filled(200, 'Contact: "' + '\\"' * 100), 400),
    ("open brackets", filled(1, "Route: " + "<" * 8000), 400),
    ("commas", filled(1, "Route: " + "," * 8000), 400),
    ("parameters", request("INVITE", body=SDP, caller="<sip:b@h>;tag=b" + ";a" * 4000), 513),
]


@pytest.mark.parametrize(
    ("data", "status"), [row[1:] for row in TOO_LARGE], ids=[row[0] for row in TOO_LARGE]
)
def test_what_is_too_large(data: bytes, status: int) -> None:
    desk = Desk()
    answers: list[Response] = []

    def receive() -> None:
        answers.extend(one for one in desk.send(data) if isinstance(one, Response))

    calls = work(receive)
    assert [one.status for one in answers] == [status]
    # A request of a dozen headers takes about 300; one that fills a datagram, some thousands.
    assert calls < 20_000


def test_work_grows_with_the_number_of_headers() -> None:
    few = filled(60, "Route: <sip:few%d;lr>")
    many = filled(240, "Route: <sip:many%d;lr>")  # other names: what was read once is remembered
    assert work(lambda: Desk().send(many)) < 5 * work(lambda: Desk().send(few))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (OFFER + "m=video 9 RTP/AVP 31\r\n" * 1000, None),
        ("v=0\r\n" + "m=audio 4000 RTP/AVP 0\r\n" * 1000, 400),
        (OFFER + "a=rtpmap:0 PCMU/8000\r\n" * 1000, None),
        (OFFER + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n" * 1000, None),
        (OFFER + "a=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n" * 400, None),
        (OFFER.replace("AVP 0", "AVP" + " 0" * 1000), None),
        (OFFER + "a=x:" + "y" * 60_000 + "\r\n", None),
        ("v=0\r\n" * 13_000, 400),
    ],
    ids=["1000 m", "m alone", "rtpmap", "crypto", "candidates", "formats", "64 kB", "v"],
)
def test_session_descriptions(body: str, status: int | None) -> None:
    """Read or refused with 400 or 488, and never at length."""
    assert len(body) <= MAX_MESSAGE_BYTES
    said: list[int | None] = []

    def read() -> None:
        try:
            answer(parse_sdp(body.encode()), LOCAL)[0].to_bytes()
        except SdpError as error:
            said.append(error.status)
        else:
            said.append(None)

    calls = work(read)
    assert calls < 100_000
    assert status in said or said[0] in (400, 488)
