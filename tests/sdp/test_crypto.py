"""Keys of SRTP in SDP: what is read, what is offered, what is answered."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sdp.answer import answer, offer, plan_from_answer
from gateway.sdp.crypto import KEY_BYTES, SUITES, Crypto, SrtpKeys, Suite
from gateway.sdp.description import SdpError, parse, values
from gateway.sdp.plan import AudioPlan, LocalMedia

pytestmark = pytest.mark.pure

OURS: dict[Suite, bytes] = {suite: bytes([7]) * size for suite, size in KEY_BYTES.items()}
THEIRS: dict[Suite, bytes] = {suite: bytes([9]) * size for suite, size in KEY_BYTES.items()}
LOCAL = LocalMedia("192.0.2.10", 20_000, 77, keys=OURS)
STRICT = LocalMedia("192.0.2.10", 20_000, 77, keys=OURS, secure=True)
OFF = LocalMedia("192.0.2.10", 20_000, 77)


def text(suite: Suite, tag: int = 1) -> str:
    return Crypto(tag, suite, THEIRS[suite]).to_text()


def offered(*crypto: str, protocol: str = "RTP/SAVP") -> bytes:
    lines = "".join(f"a=crypto:{line}\r\n" for line in crypto)
    return (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        f"m=audio 4000 {protocol} 0 101\r\na=rtpmap:101 telephone-event/8000\r\n{lines}"
    ).encode()


def answered(body: bytes, local: LocalMedia) -> tuple[str, list[str], AudioPlan]:
    """Profile and crypto lines of the answer, and the plan."""
    description, plan = answer(parse(body), local)
    line = parse(description.to_bytes()).media[0]
    return line.protocol, values(line.attributes, "crypto"), plan


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("tag", [0, 3, 999_999_999])
def test_a_line_reads_as_it_was_written(suite: Suite, tag: int) -> None:
    assert Crypto.parse(text(suite, tag)) == Crypto(tag, suite, THEIRS[suite])


@pytest.mark.parametrize(
    "more", ["|2^20", "|1048576", " WSH=64", "|2^31 WSH=128"], ids=lambda value: value.strip()
)
def test_what_changes_nothing_is_passed_over(more: str) -> None:
    line = Crypto.parse(text("AES_CM_128_HMAC_SHA1_80") + more)
    assert line is not None and line.key == THEIRS["AES_CM_128_HMAC_SHA1_80"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        "1 AES_CM_128_HMAC_SHA1_80",
        "1 AES_CM_128_HMAC_SHA1_80 inline:",
        "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
        "01 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40,
        "1234567890 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40,
        "x AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40,
        "1 AES_256_CM_HMAC_SHA1_80 inline:" + "A" * 64,
        "1 F8_128_HMAC_SHA1_80 inline:" + "A" * 40,
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|1:4|2^20",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|1:0",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|1:129",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|256:1",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|1:",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|:1",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|-1:1",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|2^20|" + "9" * 310 + ":128",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|1:1;inline:" + "B" * 40 + "|2:1",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + ";inline:" + "B" * 40,
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + " UNENCRYPTED_SRTP",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + " KDR=3",
        "1 AES_CM_128_HMAC_SHA1_80 uri:" + "A" * 40,
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 39 + "=",
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 400,
    ],
)
def test_what_cannot_be_done_is_no_line(line: str) -> None:
    assert Crypto.parse(line) is None


@pytest.mark.parametrize(
    ("more", "mki"),
    [
        ("|2^31|1:1", b"\1"),
        ("|2^20|1:4 WSH=64", b"\0\0\0\1"),
        ("|1:4", b"\0\0\0\1"),
        ("|1048576|066051:003", b"\1\2\3"),
        ("|255:1", b"\xff"),
        (f"|{(1 << 1024) - 1}:128", b"\xff" * 128),
    ],
)
@pytest.mark.parametrize("suite", SUITES)
def test_a_key_with_a_number_is_taken_and_ours_has_none(
    suite: Suite, more: str, mki: bytes
) -> None:
    line = text(suite, 3) + more
    assert Crypto.parse(line) == Crypto(3, suite, THEIRS[suite], mki)
    _, (said,), plan = answered(offered(line), LOCAL)
    assert said == Crypto(3, suite, OURS[suite]).to_text()
    assert plan.srtp == SrtpKeys(suite, OURS[suite], THEIRS[suite], mki)
    number = SUITES.index(suite) + 1
    body = offered(text(suite, number) + more)
    assert plan_from_answer(parse(body), STRICT).srtp == plan.srtp


@given(st.text(max_size=200))
def test_any_text_is_a_line_or_none(line: str) -> None:
    found = Crypto.parse(line)
    assert found is None or len(found.key) == KEY_BYTES[found.suite]


def test_keys_are_not_shown() -> None:
    line = Crypto.parse(text("AEAD_AES_256_GCM"))
    assert base64.b64encode(THEIRS["AEAD_AES_256_GCM"]).decode() not in repr(line)
    assert str(THEIRS["AEAD_AES_256_GCM"]) not in repr(line)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("profile", ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP"])
@pytest.mark.parametrize("local", [LOCAL, STRICT], ids=["offer", "require"])
def test_keys_are_answered_with_a_key(suite: Suite, profile: str, local: LocalMedia) -> None:
    protocol, lines, plan = answered(offered(text(suite, 4), protocol=profile), local)
    assert protocol == profile
    assert [Crypto.parse(line) for line in lines] == [Crypto(4, suite, OURS[suite])]
    assert plan.srtp is not None and plan.srtp.suite == suite
    assert (plan.srtp.sends, plan.srtp.receives) == (OURS[suite], THEIRS[suite])


def test_the_first_line_that_can_be_done_is_taken() -> None:
    body = offered(
        "1 AES_256_CM_HMAC_SHA1_80 inline:" + "A" * 64,
        text("AES_CM_128_HMAC_SHA1_32", 2),
        text("AEAD_AES_256_GCM", 3),
    )
    _, (line,), _ = answered(body, LOCAL)
    assert line.startswith("2 AES_CM_128_HMAC_SHA1_32 ")


def test_plain_rtp_is_answered_plainly_unless_keys_are_required() -> None:
    assert answered(offered(protocol="RTP/AVP"), LOCAL)[:2] == ("RTP/AVP", [])
    with pytest.raises(SdpError) as caught:
        answered(offered(protocol="RTP/AVP"), STRICT)
    assert caught.value.status == 488


@pytest.mark.parametrize(
    ("body", "local"),
    [
        (offered(), LOCAL),
        (offered("1 AES_256_CM_HMAC_SHA1_80 inline:" + "A" * 64), LOCAL),
        (offered(text("AEAD_AES_128_GCM")), OFF),
    ],
    ids=["no key", "no key of ours", "off"],
)
def test_savp_that_cannot_be_served_is_refused(body: bytes, local: LocalMedia) -> None:
    with pytest.raises(SdpError) as caught:
        answered(body, local)
    assert caught.value.status == 488


def test_where_it_is_off_keys_beside_plain_rtp_are_left_aside() -> None:
    protocol, lines, plan = answered(offered(text("AEAD_AES_128_GCM"), protocol="RTP/AVP"), OFF)
    assert (protocol, lines, plan.srtp) == ("RTP/AVP", [], None)


def test_the_best_of_several_streams_is_the_first_that_can_be_had() -> None:
    both = offered(text("AEAD_AES_128_GCM")) + b"m=audio 4002 RTP/AVP 0\r\n"
    description, plan = answer(parse(both), LOCAL)
    assert [line.port for line in description.media] == [20_000, 0]
    assert plan.srtp is not None
    description, plan = answer(parse(both), OFF)
    assert [line.port for line in description.media] == [0, 20_000]
    assert plan.srtp is None


@pytest.mark.parametrize(
    ("local", "protocol", "lines"),
    [
        (OFF, "RTP/AVP", 0),
        (LOCAL, "RTP/AVP", 0),
        (LocalMedia("192.0.2.10", 1, 7, keys=OURS, offers_keys=True), "RTP/AVP", 4),
        (STRICT, "RTP/SAVP", 4),
    ],
    ids=["off", "offer in the clear", "offer in private", "require"],
)
def test_what_we_offer(local: LocalMedia, protocol: str, lines: int) -> None:
    line = parse(offer(local).to_bytes()).media[0]
    told = [Crypto.parse(value) for value in values(line.attributes, "crypto")]
    assert (line.protocol, len(told)) == (protocol, lines)
    assert [one and one.suite for one in told] == list(SUITES)[:lines]


@pytest.mark.parametrize("suite", SUITES)
def test_two_of_us_agree(suite: Suite) -> None:
    peer = LocalMedia("192.0.2.1", 4000, 5, keys={suite: THEIRS[suite]})
    _, theirs = (both := answer(parse(offer(STRICT).to_bytes()), peer))
    ours = plan_from_answer(parse(both[0].to_bytes()), STRICT)
    assert ours.srtp is not None and theirs.srtp is not None
    assert (ours.srtp.sends, ours.srtp.receives) == (theirs.srtp.receives, theirs.srtp.sends)


@pytest.mark.parametrize(
    "body",
    [
        offered(protocol="RTP/AVP"),
        offered(),
        offered(text("AEAD_AES_128_GCM", 1)),
        offered(text("AEAD_AES_128_GCM", 9)),
    ],
    ids=["plain", "no key", "another suite under that tag", "a tag that was not offered"],
)
def test_an_answer_without_the_key_that_was_asked_for_is_of_no_use(body: bytes) -> None:
    with pytest.raises(SdpError):
        plan_from_answer(parse(body), STRICT)


VIDEO = "m=video 5000 RTP/AVP 96\r\n"


@pytest.mark.parametrize("local", [LOCAL, STRICT], ids=["offer", "require"])
@pytest.mark.parametrize("suite", SUITES)
def test_an_answer_of_ours_that_is_said_again_is_an_offer(suite: Suite, local: LocalMedia) -> None:
    """So a session is refreshed (RFC 4028): tags and places are those of the peer's old offer."""
    body = offered(text(suite, 7)).replace(b"m=audio", VIDEO.encode() + b"m=audio")
    said, before = answer(parse(body), local)
    theirs = (
        f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        f"m=video 0 RTP/AVP 96\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:{text(suite, 7)}\r\n"
    )
    after = plan_from_answer(parse(theirs), local, said=parse(said.to_bytes()))
    assert after.srtp == before.srtp and after.direction == "sendrecv"


def test_what_is_said_again_on_hold_stays_a_hold() -> None:
    held = offered(protocol="RTP/AVP").replace(b"m=audio", b"a=sendonly\r\nm=audio")
    said, _ = answer(parse(held), LOCAL)
    plan = plan_from_answer(parse(offered(protocol="RTP/AVP")), LOCAL, said=said)
    assert plan.direction == "recvonly"


@pytest.mark.parametrize("profile", ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP"])
def test_an_offer_inside_a_call_keeps_streams_profile_and_protection(profile: str) -> None:
    """The offer of a re-INVITE without one, of a call that came with keys over UDP."""
    body = offered(text("AEAD_AES_128_GCM", 5), protocol=profile)
    said, _ = answer(parse(body.replace(b"m=audio", VIDEO.encode() + b"m=audio")), LOCAL)
    video, audio = parse(offer(LOCAL, before=said).to_bytes()).media
    assert (video.kind, video.port) == ("video", 0)
    told = [Crypto.parse(value) for value in values(audio.attributes, "crypto")]
    assert (audio.protocol, [one and one.suite for one in told]) == (profile, list(SUITES))
    plain, _ = answer(parse(offered(protocol="RTP/AVP")), LOCAL)
    assert b"crypto" not in offer(LOCAL, before=plain).to_bytes()


def test_who_does_not_know_srtp_may_answer_an_offer_that_permits_plain_rtp() -> None:
    local = LocalMedia("192.0.2.10", 1, 7, keys=OURS, offers_keys=True)
    assert plan_from_answer(parse(offered(protocol="RTP/AVP")), local).srtp is None
