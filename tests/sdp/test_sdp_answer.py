"""Answers to real-world offers, hold and resume, refusals."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sdp.answer import answer
from gateway.sdp.description import (
    Connection,
    Direction,
    SdpError,
    SessionDescription,
    parse,
)
from gateway.sdp.plan import AudioPlan, LocalMedia
from tests.circles import circles
from tests.sdp.samples import NAMES, sample, with_line

pytestmark = pytest.mark.pure

LOCAL = LocalMedia(host="192.0.2.10", port=20_000, session_id=77)
LOCAL_6 = LocalMedia(host="2001:db8::1", port=20_000, session_id=77)


def answered(body: bytes, local: LocalMedia = LOCAL) -> tuple[list[str], AudioPlan]:
    """The lines of the answer to an offer, and the plan."""
    description, plan = answer(parse(body), local)
    wire = description.to_bytes()
    assert parse(wire) == description
    return wire.decode().splitlines(), plan


def audio(lines: str, session: str = "") -> bytes:
    """An offer of one audio stream."""
    return (
        f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{session}{lines}"
    ).encode()


PLANS = {
    "asterisk": AudioPlan(
        codec="pcma",
        payload_type=8,
        dtmf_payload_type=101,
        ptime_ms=20,
        remote_host="198.51.100.5",
        remote_port=14_662,
        rtcp_mux=False,
        remote_rtcp_port=14_663,
        direction="sendrecv",
    ),
    "baresip": AudioPlan(
        codec="pcmu",
        payload_type=0,
        dtmf_payload_type=101,
        ptime_ms=20,
        remote_host="192.168.1.23",
        remote_port=29_838,
        rtcp_mux=False,
        remote_rtcp_port=29_839,
        direction="sendrecv",
    ),
    "carrier": AudioPlan(
        codec="pcmu",
        payload_type=0,
        dtmf_payload_type=101,
        ptime_ms=20,
        remote_host="203.0.113.177",
        remote_port=17_326,
        rtcp_mux=False,
        remote_rtcp_port=17_327,
        direction="sendrecv",
    ),
    "freeswitch": AudioPlan(
        codec="pcmu",
        payload_type=0,
        dtmf_payload_type=101,
        ptime_ms=20,
        remote_host="198.51.100.9",
        remote_port=23_444,
        rtcp_mux=True,
        remote_rtcp_port=23_444,
        direction="sendrecv",
    ),
    "ipv6": AudioPlan(
        codec="pcma",
        payload_type=8,
        dtmf_payload_type=None,
        ptime_ms=30,
        remote_host="2001:db8::10",
        remote_port=5004,
        rtcp_mux=False,
        remote_rtcp_port=5005,
        direction="sendonly",
    ),
    "linphone": AudioPlan(
        codec="pcmu",
        payload_type=0,
        dtmf_payload_type=100,
        ptime_ms=20,
        remote_host="203.0.113.40",
        remote_port=7078,
        rtcp_mux=False,
        remote_rtcp_port=52_931,
        direction="sendrecv",
    ),
    "secure_and_plain": AudioPlan(
        codec="pcma",
        payload_type=8,
        dtmf_payload_type=101,
        ptime_ms=20,
        remote_host="192.0.2.40",
        remote_port=30_002,
        rtcp_mux=False,
        remote_rtcp_port=30_003,
        direction="sendrecv",
    ),
    "sipp": AudioPlan(
        codec="pcmu",
        payload_type=0,
        dtmf_payload_type=None,
        ptime_ms=20,
        remote_host="127.0.0.1",
        remote_port=6000,
        rtcp_mux=False,
        remote_rtcp_port=6001,
        direction="sendrecv",
    ),
    "terse": AudioPlan(
        codec="pcma",
        payload_type=8,
        dtmf_payload_type=126,
        ptime_ms=20,
        remote_host="192.0.2.30",
        remote_port=40_000,
        rtcp_mux=False,
        remote_rtcp_port=40_001,
        direction="sendrecv",
    ),
}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "browser"])
def test_the_plan_for_every_sample(name: str) -> None:
    _, plan = answered(sample(name), LOCAL_6 if name == "ipv6" else LOCAL)
    assert plan == PLANS[name]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "browser"])
def test_an_answer_has_the_streams_of_the_offer(name: str) -> None:
    """RFC 3264 section 6: as many, in the same order, of the same kind and transport."""
    offered = parse(sample(name))
    given_back, _ = answer(offered, LOCAL_6 if name == "ipv6" else LOCAL)
    assert [(m.kind, m.protocol) for m in given_back.media] == [
        (m.kind, m.protocol) for m in offered.media
    ]
    assert given_back.timing == offered.timing
    taken = [media for media in given_back.media if media.port]
    assert len(taken) == 1
    for ours, theirs in zip(given_back.media, offered.media, strict=True):
        assert ours.formats and set(ours.formats) <= set(theirs.formats)


def test_what_an_answer_says() -> None:
    lines, _ = answered(sample("asterisk"))
    assert lines == [
        "v=0",
        "o=- 77 1 IN IP4 192.0.2.10",
        "s=-",
        "c=IN IP4 192.0.2.10",
        "t=0 0",
        "m=audio 20000 RTP/AVP 8 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
    ]


def test_video_is_refused_with_port_0() -> None:
    lines, _ = answered(sample("linphone"))
    assert lines[5:] == [
        "m=audio 20000 RTP/AVPF 0 100",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:100 telephone-event/8000",
        "a=fmtp:100 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "m=video 0 RTP/AVPF 96",
        "a=inactive",
    ]


def test_a_stream_that_is_off_is_refused_with_a_format_even_if_it_has_none() -> None:
    """A format has to be named (RFC 8866 section 9), whatever the peer leaves out."""
    lines, plan = answered(audio("m=video 0 RTP/AVP\r\nm=audio 4000 RTP/AVP 8\r\n"))
    assert [line for line in lines if line[0] == "m"] == [
        "m=video 0 RTP/AVP 0",
        "m=audio 20000 RTP/AVP 8",
    ]
    assert plan.can_send
    with pytest.raises(SdpError, match="Incompatible media format"):
        answered(audio("m=audio 0 RTP/AVP\r\n"))


def test_the_first_usable_audio_is_taken_and_all_else_refused() -> None:
    lines, _ = answered(sample("secure_and_plain"))
    assert [line for line in lines if line[0] == "m"] == [
        "m=audio 0 RTP/SAVP 8",
        "m=audio 20000 RTP/AVP 8 101",
        "m=image 0 udptl t38",
        "m=application 0 TCP/BFCP *",
    ]
    assert "a=fmtp:101 0-11,16" in lines


def test_two_equal_audio_streams_are_not_both_taken() -> None:
    line = "m=audio 4000 RTP/AVP 0\r\n"
    lines, _ = answered(audio(line + line))
    assert [line for line in lines if line[0] == "m"] == [
        "m=audio 20000 RTP/AVP 0",
        "m=audio 0 RTP/AVP 0",
    ]


def test_ipv6() -> None:
    lines, plan = answered(sample("ipv6"), LOCAL_6)
    assert "o=- 77 1 IN IP6 2001:db8::1" in lines
    assert "c=IN IP6 2001:db8::1" in lines
    assert plan.can_send and not plan.can_receive


@pytest.mark.parametrize(
    ("lines", "codec", "payload_type"),
    [
        ("m=audio 4000 RTP/AVP 8 0\r\n", "pcma", 8),
        ("m=audio 4000 RTP/AVP 0 8\r\n", "pcmu", 0),
        ("m=audio 4000 RTP/AVP 9 18 3 8\r\n", "pcma", 8),
        ("m=audio 4000 rtp/avp 96\r\na=rtpmap:96 PCMU/8000\r\n", "pcmu", 96),
        ("m=audio 4000 RTP/AVP 97 0\r\na=rtpmap:97 PCMA/8000/1\r\n", "pcma", 97),
        ("m=audio 4000 RTP/AVP 97 0\r\na=rtpmap:97 PCMA/8000/2\r\n", "pcmu", 0),
        ("m=audio 4000 RTP/AVP 97 0\r\na=rtpmap:97 PCMA/16000\r\n", "pcmu", 0),
        ("m=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 G729/8000\r\n", "pcma", 8),
    ],
)
def test_the_first_common_codec_of_the_offer(lines: str, codec: str, payload_type: int) -> None:
    _, plan = answered(audio(lines))
    assert (plan.codec, plan.payload_type) == (codec, payload_type)


def test_one_of_fifty_codecs() -> None:
    types = [number for number in range(35, 85) if number not in (72, 73, 74, 75, 76)]
    maps = "".join(f"a=rtpmap:{number} opus/48000/2\r\n" for number in types)
    offered = " ".join(map(str, (*types, 3, 4, 9, 18, 8)))
    lines, plan = answered(audio(f"m=audio 4000 RTP/AVP {offered}\r\n{maps}"))
    assert (plan.codec, plan.payload_type) == ("pcma", 8)
    assert "m=audio 20000 RTP/AVP 8" in lines


def test_only_codecs_that_we_have() -> None:
    only_pcma = LocalMedia("192.0.2.10", 20_000, 77, codecs=("pcma",))
    assert answered(sample("carrier"), only_pcma)[1].codec == "pcma"


@pytest.mark.parametrize(
    ("attributes", "ptime_ms"),
    [
        ("", 20),
        ("a=ptime:20\r\n", 20),
        ("a=ptime:10\r\n", 10),
        ("a=ptime:30\r\n", 30),
        ("a=ptime:60\r\n", 60),
        ("a=ptime:0\r\n", 20),
        ("a=ptime:5\r\n", 20),
        ("a=ptime:25\r\n", 20),
        ("a=ptime:80\r\n", 20),
        ("a=ptime:x\r\n", 20),
        ("a=maxptime:150\r\n", 20),
        ("a=maxptime:10\r\n", 10),
        ("a=maxptime:15\r\n", 10),
        ("a=maxptime:5\r\n", 10),
        ("a=maxptime:0\r\n", 10),
        ("a=ptime:60\r\na=maxptime:45\r\n", 40),
    ],
)
def test_packet_time(attributes: str, ptime_ms: int) -> None:
    lines, plan = answered(audio("m=audio 4000 RTP/AVP 0\r\n" + attributes))
    assert plan.ptime_ms == ptime_ms
    assert f"a=ptime:{ptime_ms}" in lines


@pytest.mark.parametrize(
    ("parameters", "ours"),
    [
        ("0-15", "0-15"),
        ("0-16", "0-16"),
        ("0-11,16", "0-11,16"),
        ("0-9, 11 ,10,66,70-80", "0-11"),
        ("0-36", "0-16"),
        ("3", "3"),
        ("66,70", "0-15"),
        ("9-3", "0-15"),
        ("", "0-15"),
        ("x", "0-15"),
    ],
)
def test_events_are_a_subset_of_the_offered(parameters: str, ours: str) -> None:
    lines = "m=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
    if parameters:
        lines += f"a=fmtp:96 {parameters}\r\n"
    said, plan = answered(audio(lines))
    assert f"a=fmtp:96 {ours}" in said
    assert plan.dtmf_payload_type == 96


@pytest.mark.parametrize(
    ("attributes", "mux", "rtcp_port"),
    [
        ("", False, 4001),
        ("a=rtcp:4567\r\n", False, 4567),
        ("a=rtcp:4567 IN IP4 203.0.113.1\r\n", False, 4567),
        ("a=rtcp:65535\r\n", False, 65_535),
        ("a=rtcp:99999\r\n", False, 0),
        ("a=rtcp:x\r\n", False, 4001),
        ("a=rtcp-mux\r\na=rtcp:4567\r\n", True, 4000),
    ],
)
def test_where_rtcp_goes(attributes: str, mux: bool, rtcp_port: int) -> None:
    lines, plan = answered(audio("m=audio 4000 RTP/AVP 0\r\n" + attributes))
    assert (plan.rtcp_mux, plan.remote_rtcp_port) == (mux, rtcp_port)
    assert ("a=rtcp-mux" in lines) is mux


def test_rtcp_of_the_last_port_and_without_mux_on_our_side() -> None:
    assert answered(audio("m=audio 65535 RTP/AVP 0\r\n"))[1].remote_rtcp_port == 0
    no_mux = LocalMedia("192.0.2.10", 20_000, 77, rtcp_mux=False)
    lines, plan = answered(sample("freeswitch"), no_mux)
    assert not plan.rtcp_mux
    assert "a=rtcp-mux" not in lines


DIRECTIONS: list[tuple[Direction, Direction]] = [
    ("sendrecv", "sendrecv"),
    ("sendonly", "recvonly"),
    ("recvonly", "sendonly"),
    ("inactive", "inactive"),
]


@pytest.mark.parametrize(("theirs", "ours"), DIRECTIONS)
@pytest.mark.parametrize("level", ["session", "media"])
def test_the_direction_is_mirrored(theirs: Direction, ours: Direction, level: str) -> None:
    line = f"a={theirs}\r\n"
    media = "m=audio 4000 RTP/AVP 0\r\n"
    body = audio(media, line) if level == "session" else audio(media + line)
    lines, plan = answered(body)
    assert plan.direction == ours
    assert f"a={ours}" in lines
    assert plan.can_send == (ours in ("sendrecv", "sendonly"))
    assert plan.can_receive == (ours in ("sendrecv", "recvonly"))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("sendrecv", "recvonly"),
        ("sendonly", "recvonly"),
        ("recvonly", "inactive"),
        ("inactive", "inactive"),
    ],
)
@pytest.mark.parametrize("address", ["IN IP4 0.0.0.0", "IN IP6 ::"])
def test_the_old_way_to_hold(theirs: str, ours: str, address: str) -> None:
    body = audio(f"m=audio 4000 RTP/AVP 0\r\nc={address}\r\na={theirs}\r\n")
    lines, plan = answered(body)
    assert plan.direction == ours
    assert not plan.can_send
    assert f"a={ours}" in lines


def test_where_the_peer_is() -> None:
    _, plan = answered(audio("m=audio 4000 RTP/AVP 0\r\na=rtcp:4711\r\na=inactive\r\n"))
    assert plan.has_address
    assert plan.target(None) == (("192.0.2.1", 4000), 4711)
    assert plan.target(("192.0.2.9", 5000)) == (("192.0.2.1", 4000), 4711)
    _, plan = answered(audio("m=audio 65535 RTP/AVP 0\r\n"))
    assert plan.target(None) == (("192.0.2.1", 65535), None)


@pytest.mark.parametrize(
    "lines",
    [
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::\r\n",
        "m=audio 0 RTP/AVP 0\r\n",
    ],
)
def test_a_peer_without_an_address_stays_where_it_was(lines: str) -> None:
    _, plan = answered(audio(lines))
    assert not plan.has_address
    assert plan.target(("192.0.2.9", 5000)) == (("192.0.2.9", 5000), None)
    assert plan.target(None) == (None, None)


def test_hold_and_resume_and_the_versions() -> None:
    first, talking = answer(parse(sample("carrier")), LOCAL)
    held, holding = answer(parse(with_line("carrier", "a=sendrecv", "a=sendonly")), LOCAL)
    held = held.following(first)
    same = answer(parse(with_line("carrier", "a=sendrecv", "a=sendonly")), LOCAL)[0].following(held)
    moved_body = with_line("carrier", "17326", "17400")
    resumed, again = answer(parse(moved_body), LOCAL)
    resumed = resumed.following(same)
    versions = [d.origin.session_version for d in (first, held, same, resumed)]
    assert versions == ["1", "2", "2", "3"]
    assert {d.origin.session_id for d in (first, held, same, resumed)} == {"77"}
    assert (talking.can_send, holding.can_send, again.can_send) == (True, False, True)
    assert holding.can_receive
    assert again.remote_port == 17_400


def test_a_stream_taken_away_in_a_call() -> None:
    lines, plan = answered(with_line("carrier", "m=audio 17326", "m=audio 0"))
    assert "m=audio 0 RTP/AVP 0" in lines
    assert (plan.remote_port, plan.remote_rtcp_port, plan.direction) == (0, 0, "inactive")
    assert not plan.can_send and not plan.can_receive


@pytest.mark.parametrize(
    "other",
    ["m=image 5000 udptl t38\r\n", "m=video 5000 RTP/AVP 96\r\n", "m=text 9 RTP/AVP 98\r\n"],
)
@pytest.mark.parametrize("first", [True, False])
def test_audio_given_up_for_what_we_have_not_is_refused(other: str, first: bool) -> None:
    """Otherwise the call would go on without any media, such as one that is to become a fax."""
    off = "m=audio 0 RTP/AVP 0\r\n"
    with pytest.raises(SdpError) as caught:
        answered(audio(other + off if first else off + other))
    assert caught.value.status == 488
    assert caught.value.warning == '304 gateway "Media type not available"'


def test_audio_taken_away_beside_what_was_off_before() -> None:
    lines, plan = answered(audio("m=audio 0 RTP/AVP 0\r\nm=image 0 udptl t38\r\n"))
    assert [line for line in lines if line[0] == "m"] == [
        "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38",
    ]
    assert plan.direction == "inactive"


def test_a_live_stream_counts_before_one_taken_away() -> None:
    lines, plan = answered(audio("m=audio 0 RTP/AVP 0\r\nm=audio 4000 RTP/AVP 8\r\n"))
    assert plan.codec == "pcma"
    assert "m=audio 0 RTP/AVP 0" in lines


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        (sample("browser"), '302 gateway "Incompatible transport protocol"'),
        (audio("m=audio 4000 RTP/SAVP 0\r\n"), '302 gateway "Incompatible transport protocol"'),
        (audio("m=audio 4000 RTP/AVP 9 18\r\n"), '305 gateway "Incompatible media format"'),
        (
            audio("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n"),
            '305 gateway "Incompatible media format"',
        ),
        (audio("m=video 4000 RTP/AVP 0\r\n"), '304 gateway "Media type not available"'),
        (audio(""), '304 gateway "Media type not available"'),
        (
            audio("m=audio 4000 RTP/AVP 9\r\nm=audio 4002 RTP/SAVP 0\r\n"),
            '305 gateway "Incompatible media format"',
        ),
        (
            audio("m=audio 4000 RTP/AVP 0\r\nc=ATM NSAP 47.0091\r\n"),
            '300 gateway "Incompatible network protocol"',
        ),
        (
            audio("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 phone.example.com\r\n"),
            '301 gateway "Incompatible network address formats"',
        ),
        (
            audio("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n"),
            '301 gateway "Incompatible network address formats"',
        ),
        (
            b"v=0\r\ns=-\r\nm=audio 4000 RTP/AVP 0\r\n",
            '301 gateway "Incompatible network address formats"',
        ),
        (
            audio("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n"),
            '330 gateway "Multicast not available"',
        ),
    ],
)
def test_what_cannot_be_served(body: bytes, warning: str) -> None:
    with pytest.raises(SdpError) as caught:
        answer(parse(body), LOCAL)
    assert caught.value.status == 488
    assert caught.value.warning == warning


def check(offered: SessionDescription) -> None:
    """Any description is answered by the rules or refused with a status and a reason."""
    try:
        given_back, plan = answer(offered, LOCAL)
    except SdpError as error:
        assert error.status == 488
        assert error.warning.isascii()
        return
    assert parse(given_back.to_bytes()) == given_back
    assert len(given_back.media) == len(offered.media)
    assert sum(media.port != 0 for media in given_back.media) == (1 if plan.remote_port else 0)
    assert given_back.connection == Connection("192.0.2.10")
    assert 0 <= plan.payload_type <= 127
    assert plan.payload_type not in plan.dtmf_payload_types
    assert plan.ptime_ms in range(10, 61, 10)
    assert 0 <= plan.remote_rtcp_port <= 65_535
    assert not (plan.can_send and plan.remote_port == 0)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=4)), max_size=5),
)
def test_mutated_samples(name: str, cuts: list[tuple[float, int, bytes]]) -> None:
    body = sample(name)
    for where, length, instead in cuts:
        at = int(where * len(body))
        body = body[:at] + instead + body[at + length :]
    try:
        offered = parse(body)
    except SdpError:
        return
    check(offered)


MEDIA = st.builds(
    lambda kind, port, protocol, formats, attributes: (
        f"m={kind} {port} {protocol} {' '.join(formats or ['0'] * bool(port))}\r\n"
        + "".join(attributes)
    ),
    st.sampled_from(["audio", "audio", "video", "image"]),
    st.sampled_from([0, 9, 4000, 65_535]),
    st.sampled_from(["RTP/AVP", "RTP/AVP", "RTP/SAVP", "RTP/AVPF", "udptl"]),
    st.lists(st.sampled_from(["0", "8", "9", "96", "101", "t38", "*"]), max_size=6),
    st.lists(
        st.sampled_from(
            [
                "a=rtpmap:96 PCMA/8000\r\n",
                "a=rtpmap:101 telephone-event/8000\r\n",
                "a=rtpmap:0 telephone-event/8000\r\n",
                "a=fmtp:101 0-99999\r\n",
                "a=ptime:50\r\n",
                "a=maxptime:7\r\n",
                "a=rtcp:1\r\n",
                "a=rtcp-mux\r\n",
                "a=inactive\r\n",
                "a=sendonly\r\n",
                "c=IN IP4 0.0.0.0\r\n",
                "c=IN IP4 203.0.113.5\r\n",
                "c=IN IP6 ::1%eth0\r\n",
                "c=IN IP4 localhost\r\n",
            ]
        ),
        max_size=6,
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(MEDIA, max_size=5))
def test_any_streams(media: list[str]) -> None:
    check(parse(audio("".join(media))))


def test_a_refusal_leaves_nothing_to_the_collector() -> None:
    with circles() as left:
        for body in (audio("m=audio 9 RTP/AVP 18\r\n"), audio("m=video 9 RTP/AVP 31\r\n")):
            with pytest.raises(SdpError):
                answered(body)
    assert not left
