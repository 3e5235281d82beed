"""Answers to offers of WebRTC peers, line by line and on the wire."""

from dataclasses import replace

import pytest

from gateway.sdp.description import SessionDescription, parse
from gateway.sdp.webrtc import AudioCodecName, LocalTransport, WebRtcPlan, answer, read_offer
from tests.sdp.webrtc_offers import CODECS, NAMES, local, offer

pytestmark = pytest.mark.pure


def answered(
    text: str, ours: LocalTransport | None = None, codecs: tuple[AudioCodecName, ...] = CODECS
) -> tuple[SessionDescription, WebRtcPlan]:
    description = parse(text)
    plan = read_offer(description, codecs)
    return answer(description, plan, ours or local()), plan


def test_the_whole_answer_to_a_browser() -> None:
    description, _ = answered(offer("chrome"))
    digest = ":".join(["A7"] * 32)
    assert description.to_bytes().decode().splitlines() == [
        "v=0",
        "o=- 77 1 IN IP4 192.0.2.10",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=msid-semantic:WMS *",
        "m=audio 20000 UDP/TLS/RTP/SAVPF 111 110 126",
        "c=IN IP4 192.0.2.10",
        "a=candidate:1 1 udp 2130706431 192.0.2.10 20000 typ host",
        "a=candidate:2 1 udp 1694498815 198.51.100.4 20001 typ srflx raddr 192.0.2.10 rport 20000",
        "a=end-of-candidates",
        "a=ice-ufrag:K7hb2QdF",
        "a=ice-pwd:u2XbT0zLq8RvYw5Nc1GkPd",
        f"a=fingerprint:sha-256 {digest}",
        "a=setup:active",
        "a=mid:0",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:110 telephone-event/48000",
        "a=rtpmap:126 telephone-event/8000",
        "a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=24000;sprop-maxcapturerate=24000",
        "a=fmtp:110 0-15",
        "a=fmtp:126 0-15",
        "a=ptime:20",
        "a=msid:gateway audio",
        "a=ssrc:3735928559 cname:k2vZq0",
        "a=ssrc:3735928559 msid:gateway audio",
        "a=sendrecv",
        "m=application 20000 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 192.0.2.10",
        "a=ice-ufrag:K7hb2QdF",
        "a=ice-pwd:u2XbT0zLq8RvYw5Nc1GkPd",
        f"a=fingerprint:sha-256 {digest}",
        "a=setup:active",
        "a=mid:1",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "a=sendrecv",
    ]


def test_the_whole_answer_to_a_media_server() -> None:
    ours = local("passive", host="2001:db8::1")
    description, plan = answered(offer("rtpengine_without_mid"), ours, ("pcmu", "pcma"))
    assert plan.codec == "pcma"
    lines = description.to_bytes().decode().splitlines()
    assert lines[:5] == [
        "v=0",
        "o=- 77 1 IN IP6 2001:db8::1",
        "s=-",
        "t=0 0",
        "a=msid-semantic:WMS *",
    ]
    assert lines[5:7] == ["m=audio 20000 UDP/TLS/RTP/SAVPF 8 101", "c=IN IP6 2001:db8::1"]
    assert lines[12:] == [
        "a=fingerprint:sha-256 " + ":".join(["A7"] * 32),
        "a=setup:passive",
        "a=rtcp-mux",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=msid:gateway audio",
        "a=ssrc:3735928559 cname:k2vZq0",
        "a=ssrc:3735928559 msid:gateway audio",
        "a=sendrecv",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_has_the_lines_of_its_offer(name: str) -> None:
    offered = parse(offer(name))
    description, plan = answered(offer(name))
    assert parse(description.to_bytes()) == description
    assert len(description.media) == len(offered.media)
    group = description.attributes[0][1] if description.attributes[0][0] == "group" else ""
    bundled = (group or "").split()[1:]
    for theirs, ours in zip(offered.media, description.media, strict=True):
        assert (ours.kind, ours.protocol) == (theirs.kind, theirs.protocol)
        assert ours.attribute("mid") == theirs.attribute("mid")
        assert (ours.attribute("mid") in bundled) == bool(ours.port and group)
        assert set(ours.formats) <= set(theirs.formats)
    audio = next(line for line in description.media if line.kind == "audio")
    assert audio.direction == plan.direction
    assert audio.codecs()[0].name == plan.codec
    taken = [line for line in description.media if line.port]
    assert [line.has("candidate") for line in taken] == [True] + [False] * (len(taken) - 1)


@pytest.mark.parametrize("name", NAMES)
def test_our_answer_reads_as_a_plan_that_mirrors_the_peers(name: str) -> None:
    """Also what happens when a peer answers an offer of ours."""
    ours = local()
    description, plan = answered(offer(name), ours)
    mirrored = read_offer(description, CODECS)
    assert mirrored.remote == ours.transport
    assert (mirrored.codec, mirrored.payload_type) == (plan.codec, plan.payload_type)
    assert mirrored.dtmf_payload_types == plan.dtmf_payload_types
    assert (mirrored.can_send, mirrored.can_receive) == (plan.can_receive, plan.can_send)
    assert (mirrored.data is None) == (plan.data is None)


def test_other_lines_are_refused() -> None:
    video = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n"
    more = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:3\r\nm=text 9 RTP/AVP 98\r\n"
    text = offer("safari", ("BUNDLE 0 1", "BUNDLE 0 1 2 3")) + video + more
    description, _ = answered(text)
    assert ("group", "BUNDLE 0 1") in description.attributes
    lines = description.to_bytes().decode().splitlines()
    assert lines[lines.index("m=video 0 UDP/TLS/RTP/SAVPF 96") :] == [
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:2",
        "a=inactive",
        "m=audio 0 UDP/TLS/RTP/SAVPF 0",
        "c=IN IP4 0.0.0.0",
        "a=mid:3",
        "a=inactive",
        "m=text 0 RTP/AVP 98",
        "c=IN IP4 0.0.0.0",
        "a=inactive",
    ]


def test_video_that_leads_the_bundle_stays_without_media() -> None:
    """With bundlePolicy max-bundle Chrome has no transport but that of the first line."""
    description, _ = answered(offer("chrome_max_bundle"))
    assert ("group", "BUNDLE 0 1 2") in description.attributes
    video, audio, data = description.media
    assert (video.port, video.direction, video.formats) == (20_000, "inactive", ("96",))
    assert video.codecs()[0].name == "vp8"
    assert (audio.direction, data.direction) == ("sendrecv", "sendrecv")
    assert [line.has("candidate") for line in description.media] == [True, False, False]


def test_video_that_the_peer_took_away_leads_nothing() -> None:
    description, plan = answered(offer("wrtc_video", ("m=video 9", "m=video 0")))
    assert ("group", "BUNDLE 1 2") in description.attributes
    assert [line.port for line in description.media] == [0, 20_000, 20_000]
    assert [line.has("candidate") for line in description.media] == [False, True, False]
    assert plan == answered(offer("wrtc_video"))[1]


def test_lines_that_are_off_and_have_no_formats_are_refused_with_one() -> None:
    description, _ = answered(offer("safari") + "m=video 0 UDP/TLS/RTP/SAVPF\r\n")
    assert (description.media[-1].port, description.media[-1].formats) == (0, ("0",))
    bare = ("m=application 9 DTLS/SCTP 5000", "m=application 0 DTLS/SCTP\r\na=bundle-only")
    for said in ("sctpmap:5000 webrtc-datachannel", "sctpmap:webrtc-datachannel"):
        change = ("sctpmap:5000 webrtc-datachannel", said)
        description, plan = answered(offer("old_sctp", bare, change))
        assert plan.data is None
        assert (description.media[1].port, description.media[1].formats) == (0, ("0",))


def test_the_format_of_a_line_without_media_is_the_peers() -> None:
    change = ("a=rtpmap:96 VP8/90000", "a=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e0")
    description, _ = answered(offer("wrtc_video", change))
    assert description.media[0].fmtp(96) == "profile-level-id=42e0"
    assert ("rtpmap", "96 h264/90000") in description.media[0].attributes
    # What would end the line for some readers is not said again.
    description, _ = answered(offer("wrtc_video", (change[0], change[1] + "\ra=x")))
    assert description.media[0].fmtp(96) is None


def test_what_a_peer_calls_a_line_is_said_again_only_if_it_is_a_name() -> None:
    description, _ = answered(offer("rtpengine", ("a=mid:1", "a=mid:1\ra=setup:passive")))
    assert not description.media[0].has("mid")


def test_a_data_channel_can_be_left_out() -> None:
    description = parse(offer("wrtc"))
    plan = replace(read_offer(description, CODECS), data=None)
    made = answer(description, plan, local())
    assert ("group", "BUNDLE 0") in made.attributes
    assert [line.port for line in made.media] == [20_000, 0]


def test_a_data_channel_that_no_message_of_use_fits_is_refused() -> None:
    description, plan = answered(
        offer("wrtc", ("max-message-size:262144", "max-message-size:1199"))
    )
    assert plan.data is None
    assert ("group", "BUNDLE 0") in description.attributes
    lines = description.to_bytes().decode().splitlines()
    assert lines[lines.index("m=application 0 UDP/DTLS/SCTP webrtc-datachannel") :] == [
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:K7hb2QdF",
        "a=ice-pwd:u2XbT0zLq8RvYw5Nc1GkPd",
        "a=fingerprint:sha-256 " + ":".join(["A7"] * 32),
        "a=setup:active",
        "a=mid:1",
        "a=inactive",
    ]


def test_a_data_channel_that_leads_the_bundle_tells_the_candidates() -> None:
    description, _ = answered(offer("wrtc", ("BUNDLE 0 1", "BUNDLE 1 0")))
    assert ("group", "BUNDLE 1 0") in description.attributes
    assert [line.has("candidate") for line in description.media] == [False, True]


def test_a_data_channel_in_the_older_syntax() -> None:
    description, _ = answered(offer("old_sctp"))
    data = description.media[1]
    assert (data.protocol, data.formats) == ("DTLS/SCTP", ("5000",))
    assert ("sctpmap", "5000 webrtc-datachannel 1024") in data.attributes
    assert not data.has("sctp-port")


@pytest.mark.parametrize(
    ("offered", "ours"),
    [("0-15", "0-15"), ("0-16", "0-16"), ("0-11,66,70", "0-11"), ("66", "0-15"), ("x", "0-15")],
)
def test_events_that_both_have(offered: str, ours: str) -> None:
    description, _ = answered(offer("rtpengine", ("fmtp:101 0-16", f"fmtp:101 {offered}")))
    assert description.media[0].fmtp(101) == ours


@pytest.mark.parametrize(
    ("theirs", "sends"),
    [("sendrecv", True), ("recvonly", True), ("sendonly", False), ("inactive", False)],
)
def test_our_stream_is_named_when_there_is_one(theirs: str, sends: bool) -> None:
    description, plan = answered(offer("jssip", ("a=sendrecv", f"a={theirs}")))
    line = description.media[0]
    assert line.direction == plan.direction
    assert (line.attribute("msid") == "gateway audio") is sends
    assert line.has("ssrc") is sends


def test_the_rate_of_opus_is_what_we_use() -> None:
    description, _ = answered(offer("janus"), replace(local(), opus_rate_hz=16_000))
    fmtp = description.media[0].fmtp(111) or ""
    assert fmtp.endswith("maxplaybackrate=16000;sprop-maxcapturerate=16000")


def test_hold_and_resume_in_one_session() -> None:
    first, plan = answered(offer("jssip"))
    held, held_plan = answered(offer("jssip", ("a=sendrecv", "a=sendonly")))
    assert not held_plan.remote.restarts(plan.remote)
    second = held.following(first)
    assert (second.origin.session_version, second.media[0].direction) == ("2", "recvonly")
    resumed, _ = answered(offer("jssip"))
    third = resumed.following(second)
    assert (third.origin.session_version, third.media[0].direction) == ("3", "sendrecv")
    assert third.media == first.media
