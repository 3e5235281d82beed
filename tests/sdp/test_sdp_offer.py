"""Our offers, and the plans that follow from the answers to them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sdp.answer import answer, offer, plan_from_answer
from gateway.sdp.description import Direction, SdpError, parse
from gateway.sdp.plan import LocalMedia
from tests.sdp.test_sdp_answer import DIRECTIONS, LOCAL, LOCAL_6, MEDIA, audio

pytestmark = pytest.mark.pure

EVENTS = "a=rtpmap:{0} telephone-event/8000\r\n"


@pytest.mark.parametrize("local", [LOCAL, LOCAL_6])
@pytest.mark.parametrize(("ours", "theirs"), DIRECTIONS)
def test_a_late_offer_between_two_of_us(
    local: LocalMedia, ours: Direction, theirs: Direction
) -> None:
    """Both ways: what we offer can be answered by us, and both plans agree."""
    host = "192.0.2.99" if local is LOCAL else "2001:db8::99"
    peer = LocalMedia(host=host, port=30_000, session_id=5, codecs=("pcma", "pcmu"))
    offered = parse(offer(local, ours).to_bytes())
    given_back, their_plan = answer(offered, peer)
    our_plan = plan_from_answer(parse(given_back.to_bytes()), local, ours)
    assert (our_plan.direction, their_plan.direction) == (ours, theirs)
    assert our_plan.codec == their_plan.codec == "pcmu"
    assert our_plan.payload_type == their_plan.payload_type == 0
    assert our_plan.dtmf_payload_type == their_plan.dtmf_payload_type == 101
    assert (our_plan.remote_host, our_plan.remote_port) == (host, 30_000)
    assert (their_plan.remote_host, their_plan.remote_port) == (local.host, 20_000)
    assert our_plan.rtcp_mux and their_plan.rtcp_mux


def test_what_an_offer_says() -> None:
    assert offer(LOCAL).to_bytes().decode().splitlines() == [
        "v=0",
        "o=- 77 1 IN IP4 192.0.2.10",
        "s=-",
        "c=IN IP4 192.0.2.10",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=rtcp-mux",
        "a=sendrecv",
    ]


def test_an_offer_in_our_order_of_preference_and_without_mux() -> None:
    local = LocalMedia("192.0.2.10", 20_000, 77, codecs=("pcma",), rtcp_mux=False)
    lines = offer(local, "sendonly").to_bytes().decode().splitlines()
    assert "m=audio 20000 RTP/AVP 8 101" in lines
    assert "a=rtcp-mux" not in lines
    assert "a=sendonly" in lines


def test_an_answer_with_several_codecs_takes_its_first() -> None:
    plan = plan_from_answer(parse(audio("m=audio 4000 RTP/AVP 8 0\r\na=ptime:40\r\n")), LOCAL)
    assert (plan.codec, plan.ptime_ms, plan.dtmf_payload_type) == ("pcma", 40, None)


def test_an_answer_that_promises_more_than_was_offered() -> None:
    body = audio("m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n")
    assert plan_from_answer(parse(body), LOCAL, "sendonly").direction == "sendonly"
    assert plan_from_answer(parse(body), LOCAL, "inactive").direction == "inactive"


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        (audio("m=audio 0 RTP/AVP 0\r\n"), '304 gateway "Media type not available"'),
        (audio("m=video 4000 RTP/AVP 0\r\n"), '304 gateway "Media type not available"'),
        (audio(""), '304 gateway "Media type not available"'),
        (audio("m=audio 4000 RTP/AVP 9\r\n"), '305 gateway "Incompatible media format"'),
    ],
)
def test_an_answer_that_cannot_be_used(body: bytes, warning: str) -> None:
    with pytest.raises(SdpError) as caught:
        plan_from_answer(parse(body), LOCAL)
    assert caught.value.warning == warning


@pytest.mark.parametrize(
    ("formats", "sent", "all_heard"),
    [
        ("0 101", 101, (101,)),
        ("0 96", 96, (96, 101)),
        ("0 8 96", 96, (96, 101)),
        ("0", None, ()),
    ],
)
def test_keys_come_under_our_number_too(
    formats: str, sent: int | None, all_heard: tuple[int, ...]
) -> None:
    """The same number as in the offer is only recommended (RFC 3264 section 6.1), and whoever
    sends takes the number that the receiver said."""
    body = audio(
        f"m=audio 4000 RTP/AVP {formats}\r\n" + EVENTS.format(formats.split()[-1]) * bool(sent)
    )
    plan = plan_from_answer(parse(body), LOCAL)
    assert (plan.dtmf_payload_type, plan.dtmf_payload_types) == (sent, all_heard)


def test_our_number_for_keys_is_not_heard_where_the_answer_has_it_for_audio() -> None:
    lines = "m=audio 4000 RTP/AVP 101 96\r\na=rtpmap:101 PCMU/8000\r\n" + EVENTS.format(96)
    plan = plan_from_answer(parse(audio(lines)), LOCAL)
    assert (plan.payload_type, plan.dtmf_payload_types) == (101, (96,))


def test_our_number_for_keys_is_what_we_said_last() -> None:
    """A session is refreshed by saying again what we answered to an offer (RFC 4028)."""
    offered = audio("m=audio 4000 RTP/AVP 0 110\r\n" + EVENTS.format(110))
    said, before = answer(parse(offered), LOCAL)
    assert before.dtmf_payload_types == (110,)
    other = audio("m=audio 4000 RTP/AVP 0 97\r\n" + EVENTS.format(97))
    assert plan_from_answer(parse(other), LOCAL, said=said).dtmf_payload_types == (97, 110)
    keyless, _ = answer(parse(audio("m=audio 4000 RTP/AVP 0\r\n")), LOCAL)
    assert plan_from_answer(parse(other), LOCAL, said=keyless).dtmf_payload_types == (97,)


@pytest.mark.parametrize(
    ("lines", "codec", "payload_type", "heard"),
    [
        ("0 8 101", "pcmu", 0, {8: "pcma"}),
        ("8 0", "pcma", 8, {0: "pcmu"}),
        ("8 101", "pcma", 8, {}),
        ("0 18 9", "pcmu", 0, {}),
        (
            "96 97\r\na=rtpmap:96 PCMA/8000\r\na=rtpmap:97 PCMU/8000",
            "pcma",
            96,
            {0: "pcmu", 8: "pcma"},
        ),
        ("96\r\na=rtpmap:96 PCMA/8000", "pcma", 96, {8: "pcma"}),
        ("0 97\r\na=rtpmap:97 PCMA/8000/2", "pcmu", 0, {}),
        ("8 0\r\na=rtpmap:8 PCMU/8000\r\na=rtpmap:0 PCMA/8000", "pcmu", 8, {0: "pcmu"}),
    ],
)
def test_all_that_was_agreed_on_is_heard(
    lines: str, codec: str, payload_type: int, heard: dict[int, str]
) -> None:
    """Each law that both have (RFC 3264 sections 5.1 and 7), under the number that we gave it."""
    plan = plan_from_answer(parse(audio(f"m=audio 4000 RTP/AVP {lines}\r\n")), LOCAL)
    assert (plan.codec, plan.payload_type, dict(plan.heard)) == (codec, payload_type, heard)


def test_what_was_not_offered_is_not_heard() -> None:
    local = LocalMedia("192.0.2.10", 20_000, 77, codecs=("pcma",))
    both = audio("m=audio 4000 RTP/AVP 0 8\r\n")
    assert plan_from_answer(parse(both), local).heard == ()
    said, plan = answer(parse(both), LOCAL)  # an answer of ours says one law
    assert plan.heard == ()
    assert plan_from_answer(parse(both), LOCAL, said=said).heard == ()
    assert plan_from_answer(parse(both), LOCAL, said=offer(LOCAL)).heard == ((8, "pcma"),)


def test_audio_under_the_number_that_the_answer_has_for_keys() -> None:
    lines = "m=audio 4000 RTP/AVP 0 97 8\r\na=rtpmap:97 PCMA/8000\r\n" + EVENTS.format(8)
    plan = plan_from_answer(parse(audio(lines)), LOCAL)
    assert plan.heard == ((8, "pcma"),)  # since that is what we said of it
    assert plan.dtmf_payload_types == (8, 101)


@settings(max_examples=200, deadline=None)
@given(st.lists(MEDIA, min_size=1, max_size=2))
def test_any_answer_is_a_plan_or_of_no_use(media: list[str]) -> None:
    try:
        plan = plan_from_answer(parse(audio("".join(media))), LOCAL)
    except SdpError as error:
        assert error.status == 488
        return
    for others in (plan.dtmf_payload_types, [number for number, _ in plan.heard]):
        types = (plan.payload_type, *others)
        assert len(set(types)) == len(types)
    assert plan.heard_dtmf_payload_type not in dict(plan.heard)
