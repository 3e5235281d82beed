import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sdp.description import (
    MAX_BYTES,
    Codec,
    Connection,
    Origin,
    SdpError,
    SessionDescription,
    parse,
)
from tests.sdp.samples import NAMES, sample

pytestmark = pytest.mark.pure

START = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_survives_writing_and_reading(name: str) -> None:
    description = parse(sample(name))
    assert parse(description.to_bytes()) == description


def test_an_offer_in_all_its_parts() -> None:
    description = parse(sample("linphone"))
    assert description.origin == Origin("anna", "3741", "1422", Connection("10.0.0.7"))
    assert description.name == "Talk"
    assert description.connection == Connection("10.0.0.7")
    assert ("record", "off") in description.attributes
    audio, video = description.media
    assert (audio.kind, audio.port, audio.protocol) == ("audio", 7078, "RTP/AVPF")
    assert audio.formats == ("96", "97", "98", "0", "8", "18", "101", "99", "100")
    assert audio.connection == Connection("203.0.113.40")
    assert audio.codecs() == [
        Codec(96, "opus", 48_000, 2),
        Codec(97, "speex", 16_000),
        Codec(98, "speex", 8000),
        Codec(0, "pcmu", 8000),
        Codec(8, "pcma", 8000),
        Codec(18, "g729", 8000),
        Codec(101, "telephone-event", 48_000),
        Codec(99, "telephone-event", 16_000),
        Codec(100, "telephone-event", 8000),
    ]
    assert audio.fmtp(18) == "annexb=yes"
    assert audio.fmtp(0) is None
    assert audio.attribute("rtcp") == "52931"
    assert audio.attribute("mid") == "as"
    assert not audio.has("rtcp-mux")
    assert audio.ptime_ms is None
    assert (video.kind, video.direction) == ("video", "sendrecv")


def test_what_is_written() -> None:
    text = (
        START + "a=tool:x\r\nm=audio 4000 RTP/AVP 0 8\r\na=rtcp-mux\r\na=ptime:20\r\na=sendonly\r\n"
    )
    assert parse(text).to_bytes() == text.encode()
    assert parse(text.encode()) == parse(text)


def test_a_section_inherits_direction_and_address_or_has_its_own() -> None:
    description = parse(
        START + "a=sendonly\r\nm=audio 1 RTP/AVP 0\r\n"
        "m=audio 2 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\na=inactive\r\na=sendrecv\r\n"
    )
    first, second = description.media
    assert (first.direction, first.connection) == ("sendonly", Connection("192.0.2.1"))
    assert (second.direction, second.connection) == ("inactive", Connection("2001:db8::1", "IP6"))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r\r\n", " \n", "\n\n", "\r\n\r\n"])
def test_line_endings(ending: str) -> None:
    text = START + "m=audio 1 RTP/AVP 0\r\na=ptime:30\r\n"
    assert parse(text.replace("\r\n", ending)) == parse(text)


@pytest.mark.parametrize("tail", ["\0", "\r\n\r\n", "\r\n   \r\n", "a=ptime:20"])
def test_sloppy_ends(tail: str) -> None:
    assert parse(START + "m=audio 1 RTP/AVP 0\r\n" + tail).media[0].port == 1


def test_what_we_do_not_know_is_passed_over() -> None:
    description = parse(
        START + "i=title\r\nu=http://x\r\nb=CT:64\r\nk=clear:x\r\nr=1\r\nz=2\r\nX=y\r\n"
        "m=audio 1/2 RTP/AVP 0 \r\ni=x\r\nb=TIAS:64000\r\na=x-flag\r\na=x:y:z\r\na=\r\na=:\r\n"
    )
    media = description.media[0]
    assert media.port == 1
    assert media.attributes == (("x-flag", None), ("x", "y:z"), ("", None), ("", ""))


def test_origin_with_spaces_in_the_name_and_no_origin_at_all() -> None:
    spaced = parse("v=0\r\no=My Phone 12 34 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n").origin
    assert (spaced.session_id, spaced.session_version) == ("12", "34")
    assert parse("v=0\r\n").origin.session_id == "0"


@pytest.mark.parametrize(
    ("attributes", "ptime_ms", "maxptime_ms"),
    [
        ("a=ptime:30\r\na=maxptime:60\r\n", 30, 60),
        ("a=ptime:20.0\r\n", 20, None),
        ("a=ptime: 40 \r\na=ptime:10\r\n", 40, None),
        ("a=ptime:x\r\na=maxptime:-5\r\n", None, None),
        ("a=ptime\r\n", None, None),
        ("a=ptime:999999\r\n", None, None),
    ],
)
def test_packet_times(attributes: str, ptime_ms: int | None, maxptime_ms: int | None) -> None:
    media = parse(START + "m=audio 1 RTP/AVP 0\r\n" + attributes).media[0]
    assert (media.ptime_ms, media.maxptime_ms) == (ptime_ms, maxptime_ms)


@pytest.mark.parametrize(
    ("attributes", "codecs"),
    [
        ("", [Codec(0, "pcmu", 8000), Codec(8, "pcma", 8000)]),
        (
            "a=rtpmap:96 PcMu/8000/1\r\na=rtpmap:97 G722/8000\r\n",
            [Codec(0, "pcmu", 8000), Codec(8, "pcma", 8000), Codec(96, "pcmu", 8000)],
        ),
        ("a=rtpmap:0 L16/44100/2\r\n", [Codec(0, "l16", 44_100, 2), Codec(8, "pcma", 8000)]),
        ("a=rtpmap:0\r\na=rtpmap:x y/1\r\na=rtpmap:8 PCMA\r\n", None),
        ("a=rtpmap\r\na=rtpmap:0 PCMU/8000 extra\r\n", None),
        ("a=rtpmap:200 PCMU/8000\r\n", None),
        (
            "a=rtpmap:127 PCMU/8000\r\n",
            [
                Codec(0, "pcmu", 8000),
                Codec(8, "pcma", 8000),
                Codec(127, "pcmu", 8000),
            ],
        ),
    ],
)
def test_codecs_of_formats(attributes: str, codecs: list[Codec] | None) -> None:
    media = parse(START + "m=audio 1 RTP/AVP 0 8 96 127 200 foo * 0x8\r\n" + attributes).media[0]
    expected = [Codec(0, "pcmu", 8000), Codec(8, "pcma", 8000)] if codecs is None else codecs
    assert media.codecs() == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "v=1\r\n",
        "o=- 1 1 IN IP4 192.0.2.1\r\n",
        "v=0\r\nv\r\n",
        "v=0\r\nattribute\r\n",
        "v=0\r\no=- 1 1 IN IP4\r\n",
        "v=0\r\nc=IN IP4\r\n",
        "v=0\r\nc=IN IP4 192.0.2.1 x\r\n",
        "v=0\r\nc=IN IP4 192.0.2.\u00e9\r\n",
        "v=0\r\nm=\r\n",
        "v=0\r\nm=audio 1 RTP/AVP\r\n",
        "v=0\r\nm=audio 0\r\n",
        "v=0\r\nm=audio RTP/AVP\r\n",
        "v=0\r\nm=audio 65536 RTP/AVP\r\n",
        "v=0\r\nm=audio x RTP/AVP 0\r\n",
        "v=0\r\nm=audio -1 RTP/AVP 0\r\n",
        "v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
        "v=0\r\nm=audio \u0661 RTP/AVP 0\r\n",
        "v=0\r\nm=audio 1 RTP/AVP \u00e9\r\n",
        "v=0\r\n" + "m=audio 1 RTP/AVP 0\r\n" * 65,
        "v=0\r\nm=audio 1 RTP/AVP" + " 0" * 129 + "\r\n",
        "v=0\r\n" + "a=x\r\n" * MAX_BYTES,
    ],
)
def test_what_is_not_a_description(text: str) -> None:
    with pytest.raises(SdpError) as caught:
        parse(text)
    assert caught.value.status == 400
    assert caught.value.warning.startswith('399 gateway "')


def test_a_stream_that_is_off_needs_no_formats() -> None:
    lines = "m=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP\r\n"
    description = parse(START + lines)
    assert [(line.port, line.formats) for line in description.media] == [(4000, ("0",)), (0, ())]
    assert description.media[1].codecs() == []
    assert b"m=video 0 RTP/AVP\r\n" in description.to_bytes()
    assert parse(description.to_bytes()) == description


def test_the_reason_names_the_line() -> None:
    with pytest.raises(SdpError, match="^Line 3 of the session description is malformed$"):
        parse("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nPEER TEXT\r\n")


@pytest.mark.parametrize(
    ("lines", "timing"),
    [
        ("", "0 0"),
        ("t=1 2\r\n", "1 2"),
        ("t=1 2\r\nt=3 4\r\n", "1 2"),
        ("t=x\r\nt=3 4\r\n", "3 4"),
        ("t=1 2 3\r\n", "0 0"),
        ("x=5 6\r\n", "0 0"),
    ],
)
def test_timing(lines: str, timing: str) -> None:
    assert parse("v=0\r\n" + lines).timing == timing


def test_the_largest_that_is_taken() -> None:
    media = "m=audio 1 RTP/AVP" + " 0" * 128 + "\r\n"
    assert len(parse(START + media * 64).media) == 64
    full = START + "a=" + "x" * (MAX_BYTES - len(START) - 4) + "\r\n"
    assert len(full) == MAX_BYTES
    parse(full)


def test_the_version_grows_only_with_a_change() -> None:
    first = parse(START + "m=audio 4000 RTP/AVP 0\r\n")
    again = parse(START.replace("o=- 1 1", "o=- 77 9") + "m=audio 4000 RTP/AVP 0\r\n")
    held = parse(START + "m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n")
    assert again.following(first) == first
    second = held.following(first)
    assert (second.origin.session_id, second.origin.session_version) == ("1", "2")
    third = first.following(second)
    assert third.origin.session_version == "3"
    assert third.media == first.media


def check(body: bytes | str) -> None:
    """Any input is a description or an `SdpError`; a description can be written and read."""
    try:
        description = parse(body)
    except SdpError as error:
        assert error.status == 400
        assert error.warning.isprintable()
        return
    assert isinstance(description, SessionDescription)
    assert parse(description.to_bytes()) == description
    for media in description.media:
        media.codecs()
        media.fmtp(101)
        assert media.ptime_ms is None or media.ptime_ms >= 0


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_input(body: bytes | str) -> None:
    check(body)


LINE = st.builds(
    lambda letter, value: f"{letter}={value}",
    st.sampled_from("vosctambi=x"),
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [
                "0",
                "audio 1 RTP/AVP 0",
                "video 0 x",
                "IN IP4 1.2.3.4",
                "rtpmap:0 x/1",
                "sendonly",
                "ptime:20",
            ]
        ),
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, max_size=15), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_lines(lines: list[str], ending: str) -> None:
    check("v=0\r\n" + ending.join(lines))


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=6)),
        min_size=1,
        max_size=6,
    ),
)
def test_mutated_samples(name: str, cuts: list[tuple[float, int, bytes]]) -> None:
    body = sample(name)
    for where, length, instead in cuts:
        at = int(where * len(body))
        body = body[:at] + instead + body[at + length :]
    check(body)
