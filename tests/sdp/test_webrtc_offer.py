"""What is read from offers of WebRTC peers, and why some cannot be used."""

from collections.abc import Sequence

import pytest

from gateway.sdp.data_channel import UNLIMITED_MESSAGE_BYTES
from gateway.sdp.description import SdpError, parse
from gateway.sdp.transport import Candidate, Fingerprint, Setup, Transport
from gateway.sdp.webrtc import AudioCodecName, DataPlan, WebRtcPlan, is_webrtc, read_offer
from tests.sdp import samples
from tests.sdp.webrtc_offers import CODECS, NAMES, offer

pytestmark = pytest.mark.pure


def read(text: str, codecs: Sequence[AudioCodecName] = CODECS) -> WebRtcPlan:
    return read_offer(parse(text), codecs)


def refusal(text: str, codecs: Sequence[AudioCodecName] = CODECS) -> str:
    with pytest.raises(SdpError) as caught:
        read(text, codecs)
    assert caught.value.status == 488
    assert caught.value.warning.isprintable()
    return str(caught.value)


# What is agreed on with whom: codec, payload type, events, FEC, data channel.
AGREED: dict[str, tuple[AudioCodecName, int, tuple[int, ...], bool, DataPlan | None]] = {
    "aiortc": ("opus", 96, (), False, DataPlan("1", 5000, 262_144)),
    "chrome": ("opus", 111, (110, 126), True, DataPlan("1", 5000, 262_144)),
    "chrome_gathered": ("opus", 111, (110, 126), True, DataPlan("1", 5000, 262_144)),
    "chrome_max_bundle": ("opus", 111, (110, 126), True, DataPlan("2", 5000, 262_144)),
    "firefox": ("opus", 109, (101,), True, DataPlan("1", 5000, 1_073_741_823)),
    "firefox_gathered": ("opus", 109, (101,), True, DataPlan("1", 5000, 1_073_741_823)),
    "firefox_max_bundle": ("opus", 109, (101,), True, DataPlan("2", 5000, 1_073_741_823)),
    "freeswitch": ("opus", 102, (103, 101), True, None),
    "ice_lite": ("pcma", 8, (), False, None),
    "janus": ("opus", 111, (101,), True, None),
    "jssip": ("opus", 111, (110, 126), True, None),
    "old_sctp": ("opus", 111, (110, 126), True, DataPlan("data", 5000, 65_536)),
    "rtpengine": ("pcma", 8, (101,), False, None),
    "rtpengine_without_mid": ("pcma", 8, (101,), False, None),
    "safari": ("opus", 111, (110, 126), True, DataPlan("1", 5000, 65_536)),
    "wrtc": ("opus", 111, (110, 126), True, DataPlan("1", 5000, 262_144)),
    "wrtc_video": ("opus", 111, (110, 126), True, DataPlan("2", 5000, 262_144)),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_agreed_on_with_every_peer(name: str) -> None:
    plan = read(offer(name))
    agreed = (plan.codec, plan.payload_type, plan.dtmf_payload_types, plan.fec, plan.data)
    assert agreed == AGREED[name]
    assert is_webrtc(parse(offer(name)))


def test_a_transport_in_all_its_parts() -> None:
    assert read(offer("rtpengine")).remote == Transport(
        ufrag="nGv4lO2l",
        pwd="HO6WvZaHP81akTUpXI4VcgbmnL",
        fingerprints=(
            Fingerprint(
                "sha-256",
                "4F:9F:53:1B:F6:FE:CF:F4:77:5A:23:11:84:91:E7:10:"
                "F2:C7:03:3D:37:AB:95:65:4D:CE:70:E6:9D:DF:D0:DB",
            ),
        ),
        setup="actpass",
        candidates=(
            Candidate("xbE4RCVsF4pO9YLV", 1, "udp", 2_130_706_431, "127.0.0.1", 31_000, "host"),
        ),
    )
    fingerprints = read(offer("aiortc")).remote.fingerprints
    assert [item.algorithm for item in fingerprints] == ["sha-256", "sha-384", "sha-512"]


def test_what_is_said_for_the_session_holds_for_its_lines() -> None:
    plan = read(offer("ice_lite"))
    assert plan.remote.ice_lite
    assert (plan.remote.ufrag, plan.remote.setup, plan.active) == ("srv0", "active", False)
    # sha-1 is not good enough any more; writing is free of case.
    assert [(item.algorithm, item.value[:5]) for item in plan.remote.fingerprints] == [
        ("sha-384", "08:AE")
    ]
    assert plan.direction == "recvonly"
    assert (plan.can_send, plan.can_receive) == (False, True)


def test_what_a_line_says_counts_before_what_the_session_says() -> None:
    text = offer(
        "ice_lite",
        ("a=rtcp-mux", "a=rtcp-mux\r\na=ice-ufrag:mine\r\na=setup:actpass"),
    )
    assert (read(text).remote.ufrag, read(text).remote.setup) == ("mine", "actpass")


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("chrome", []),
        ("janus", ["203.0.113.7", "198.51.100.77"]),
        # Each line has candidates of its own: those of the line that leads the answer.
        ("chrome_gathered", ["192.0.2.2", "fd00::2"] * 2),
        # Only the first line has any, whether the others have port 9 or port 0.
        ("chrome_max_bundle", ["192.0.2.2", "fd00::2"] * 2),
        ("firefox_max_bundle", None),
    ],
)
def test_whose_candidates(name: str, hosts: list[str] | None) -> None:
    text = offer(name)
    sections = [
        [line for line in section.splitlines() if line.startswith("a=candidate:")]
        for section in text.split("m=")
    ]
    first = next((lines for lines in sections if lines), [])
    found = read(text).remote.candidates
    assert hosts is None or [item.host for item in found] == hosts
    assert [str(item.port) for item in found] == [line.split()[5] for line in first]


def test_a_transport_told_by_the_first_line_of_the_bundle_alone() -> None:
    """RFC 9143 section 7.2.2: what is there only as part of a bundle need not tell it."""
    head, video, audio, data = offer("firefox_max_bundle").split("m=")
    names = ("ice-ufrag", "ice-pwd", "setup", "fingerprint", "rtcp-mux")
    audio = "".join(
        f"{line}\r\n" for line in audio.splitlines() if line[2:].split(":")[0] not in names
    )
    plan = read("m=".join((head, video, audio, data)))
    assert plan == read(offer("firefox_max_bundle"))


def test_no_more_than_64_candidates() -> None:
    lines = "".join(
        f"a=candidate:{n} 1 udp 1 203.0.{n // 250}.{n % 250} {5000 + n} typ host\r\n"
        for n in range(400)
    )
    text = offer("rtpengine").replace("a=sendrecv\r\n", f"a=sendrecv\r\n{lines}")
    assert len(text) < 65_536
    candidates = read(text).remote.candidates
    assert [item.foundation for item in candidates] == [str(n) for n in range(64)]


def test_a_candidate_that_cannot_be_read_does_not_matter() -> None:
    bad = "a=candidate:1 1 udp 99999999999 1.2.3.4 5 typ host\r\na=candidate\r\na=candidate:x\r\n"
    text = offer("rtpengine", ("a=sendrecv\r\n", f"a=sendrecv\r\n{bad}"))
    assert read(text) == read(offer("rtpengine"))


@pytest.mark.parametrize(
    ("codecs", "chosen"),
    [
        (("opus", "pcmu", "pcma"), ("opus", 111)),
        (("pcma", "pcmu", "opus"), ("opus", 111)),  # the offer decides
        (("pcma", "pcmu"), ("pcmu", 0)),
        (("pcma",), ("pcma", 8)),
    ],
)
def test_the_first_codec_of_the_offer_that_we_may_use(
    codecs: Sequence[AudioCodecName], chosen: tuple[AudioCodecName, int]
) -> None:
    plan = read(offer("chrome"), codecs)
    assert (plan.codec, plan.payload_type) == chosen
    assert plan.fec is (plan.codec == "opus")


def test_static_payload_types_need_no_rtpmap() -> None:
    text = offer("rtpengine", ("a=rtpmap:8 PCMA/8000\r\n", ""), ("a=rtpmap:0 PCMU/8000\r\n", ""))
    assert read(text) == read(offer("rtpengine"))


@pytest.mark.parametrize(
    ("codec", "types"),
    [("opus", (110, 126)), ("pcmu", (126, 110))],
)
def test_events_with_the_clock_of_the_codec_come_first(
    codec: AudioCodecName, types: tuple[int, ...]
) -> None:
    assert read(offer("chrome"), (codec,)).dtmf_payload_types == types


def test_payload_types_that_look_like_rtcp_are_passed_over() -> None:
    """RFC 5761 section 4: with a marker bit, 64 to 95 are what RTCP has in its place."""
    rtpengine = offer("rtpengine", ("SAVPF 8 0 101", "SAVPF 72 0 95"), (":101 ", ":95 "))
    plan = read(rtpengine.replace("rtpmap:8 ", "rtpmap:72 "))
    assert (plan.codec, plan.payload_type, plan.dtmf_payload_types) == ("pcmu", 0, ())


@pytest.mark.parametrize(
    ("fmtp", "fec"),
    [
        ("minptime=10;useinbandfec=1", True),
        ("usedtx=1; UseInbandFEC = 1 ;;x", True),
        ("useinbandfec=0", False),
        ("useinbandfec", False),
        ("stereo=1", False),
        (";=;", False),
    ],
)
def test_whether_fec_is_wanted(fmtp: str, fec: bool) -> None:
    assert read(offer("safari", ("minptime=10;useinbandfec=1", fmtp))).fec is fec


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ],
)
def test_the_direction_is_mirrored(theirs: str, ours: str) -> None:
    plan = read(offer("jssip", ("a=sendrecv", f"a={theirs}")))
    assert plan.direction == ours
    assert plan.can_send == (ours in ("sendrecv", "sendonly"))
    assert plan.can_receive == (ours in ("sendrecv", "recvonly"))


@pytest.mark.parametrize(
    ("line", "setup", "active"),
    [
        ("a=setup:actpass\r\n", "actpass", True),
        ("a=setup:passive\r\n", "passive", True),
        ("a=setup:active\r\n", "active", False),
        ("", "active", False),  # RFC 4145 section 4
    ],
)
def test_who_opens_dtls(line: str, setup: Setup, active: bool) -> None:
    plan = read(offer("rtpengine", ("a=setup:actpass\r\n", line)))
    assert (plan.remote.setup, plan.active) == (setup, active)


@pytest.mark.parametrize(
    ("old", "new", "data"),
    [
        ("a=sctp-port:5000\r\n", "", DataPlan("1", 5000, 65_536)),
        ("a=sctp-port:5000", "a=sctp-port:6000", DataPlan("1", 6000, 65_536)),
        ("a=sctp-port:5000", "a=sctp-port:0", None),  # closed (RFC 8841 section 5.1)
        ("a=sctp-port:5000", "a=sctp-port:65536", None),
        ("a=sctp-port:5000", "a=sctp-port:x", None),
        ("webrtc-datachannel", "other", None),
        ("m=application 9", "m=application 0", None),
        ("m=application 9 UDP", "m=application 9 TCP", DataPlan("1", 5000, 65_536)),
        ("a=mid:1\r\n", "", None),
        ("BUNDLE 0 1", "BUNDLE 0", None),
        ("a=group:BUNDLE 0 1\r\n", "", None),
        ("a=max-message-size:65536\r\n", "", DataPlan("1", 5000, 65_536)),
        ("size:65536", "size:0", DataPlan("1", 5000, UNLIMITED_MESSAGE_BYTES)),
        ("size:65536", "size:4294967296", DataPlan("1", 5000, UNLIMITED_MESSAGE_BYTES)),
        ("size:65536", "size:-1", DataPlan("1", 5000, 65_536)),
        ("size:65536", "size:1200", DataPlan("1", 5000, 1200)),
        ("size:65536", "size:1199", None),  # no event of use fits
    ],
)
def test_data_channels(old: str, new: str, data: DataPlan | None) -> None:
    assert read(offer("safari", (old, new))).data == data


@pytest.mark.parametrize(
    ("old", "new", "port"),
    [
        ("a=sctpmap:5000", "a=sctpmap:5001", None),
        ("a=sctpmap:5000 webrtc-datachannel", "a=sctpmap:5000 other", None),
        ("5000", "6000", 6000),
        ("5000", "70000", None),
    ],
)
def test_data_channels_in_the_older_syntax(old: str, new: str, port: int | None) -> None:
    data = read(offer("old_sctp", (old, new))).data
    assert (data and data.sctp_port) == port


AUDIO = "m=audio 31000 UDP/TLS/RTP/SAVPF 8 0 101"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (AUDIO, "m=video 9 UDP/TLS/RTP/SAVPF 8", "no audio (no m=audio line)"),
        (AUDIO, AUDIO.replace("31000", "0"), "switches its audio off (its port is 0)"),
        (
            AUDIO,
            AUDIO.replace("31000", "0") + "\r\na=bundle-only",
            "switches its audio off (its port is 0)",
        ),
        (AUDIO, AUDIO.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "UDP/TLS/RTP/SAVPF is needed"),
        (AUDIO, AUDIO.replace("UDP/TLS/RTP/SAVPF", "DTLS/SCTP"), "UDP/TLS/RTP/SAVPF is needed"),
        ("t=0 0", "t=0 0\r\na=group:BUNDLE 9", "audio line is not in the BUNDLE group"),
        ("a=rtcp-mux\r\n", "", "without a=rtcp-mux"),
        ("a=ice-ufrag:nGv4lO2l\r\n", "", "no ICE credentials (a=ice-ufrag and a=ice-pwd)"),
        ("a=ice-pwd", "a=ice-pw", "no ICE credentials (a=ice-ufrag and a=ice-pwd)"),
        ("nGv4lO2l", "abc", "a=ice-ufrag is not 4 to 256"),
        ("nGv4lO2l", "a" * 257, "a=ice-ufrag is not 4 to 256"),
        ("nGv4lO2l", "a:b:c", "a=ice-ufrag is not 4 to 256"),
        ("HO6WvZaHP81akTUpXI4VcgbmnL", "a" * 21, "a=ice-pwd is not 22 to 256"),
        ("HO6WvZaHP81akTUpXI4VcgbmnL", "a" * 257, "a=ice-pwd is not 22 to 256"),
        ("HO6WvZaHP81akTUpXI4VcgbmnL", "é" * 22, "a=ice-pwd is not 22 to 256"),
        ("a=fingerprint:sha-256", "a=x:", "no certificate fingerprint (a=fingerprint)"),
        ("sha-256", "sha-1", "whole sha-256, sha-384 or sha-512"),
        ("sha-256", "sha-384", "whole sha-256, sha-384 or sha-512"),
        ("sha-256", "sha-256 00:", "whole sha-256, sha-384 or sha-512"),
        ("4F:9F:53", "4F:9G:53", "whole sha-256, sha-384 or sha-512"),
        ("4F:9F:53", "4F-9F:53", "whole sha-256, sha-384 or sha-512"),
        ("setup:actpass", "setup:holdconn", "a=setup is neither actpass nor active nor passive"),
        (
            "SAVPF 8 0 101",
            "SAVPF 9 101",
            "None of the offered codecs can be used; one of these can: opus, PCMU, PCMA",
        ),
        ("8 0 101", "* x 300", "None of the offered codecs can be used"),
    ],
)
def test_why_an_offer_cannot_be_used(old: str, new: str, reason: str) -> None:
    assert reason in refusal(offer("rtpengine", (old, new)))


def test_a_refusal_names_the_codecs_in_use_here() -> None:
    assert refusal(offer("rtpengine"), ("opus",)).endswith("one of these can: opus")
    # The same names with other clocks or channels are other codecs.
    other = offer("chrome", ("opus/48000/2", "opus/16000/2"), ("PCMU/8000", "PCMU/8000/2"))
    assert "None of the offered codecs" in refusal(other, ("opus", "pcmu"))


def test_limits_of_credentials() -> None:
    text = offer("rtpengine", ("nGv4lO2l", "a" * 256), ("HO6WvZaHP81akTUpXI4VcgbmnL", "a" * 22))
    assert len(read(text).remote.ufrag) == 256
    # Characters that RFC 8839 has not, of peers that use them all the same.
    assert read(offer("rtpengine", ("nGv4lO2l", "a-b_=#"))).remote.ufrag == "a-b_=#"


@pytest.mark.parametrize("name", [name for name in samples.NAMES if name != "browser"])
def test_plain_audio_is_no_webrtc(name: str) -> None:
    description = parse(samples.sample(name))
    assert not is_webrtc(description)
    with pytest.raises(SdpError, match="UDP/TLS/RTP/SAVPF is needed"):
        read_offer(description, CODECS)


@pytest.mark.parametrize(
    ("protocol", "webrtc"),
    [
        ("UDP/TLS/RTP/SAVPF", True),
        ("UDP/TLS/RTP/SAVP", True),
        ("udp/tls/rtp/savpf", True),
        ("TCP/DTLS/RTP/SAVPF", True),
        ("TCP/TLS/RTP/SAVPF", True),
        ("RTP/SAVPF", True),  # with a fingerprint, as here
        ("RTP/SAVP", True),
        ("RTP/AVPF", False),
        ("RTP/AVP", False),
        ("UDP/TLS/RTP/SAVPFX", False),
    ],
)
def test_protocols(protocol: str, webrtc: bool) -> None:
    text = offer("jssip", ("UDP/TLS/RTP/SAVPF", protocol))
    assert is_webrtc(parse(text)) is webrtc
    if webrtc:
        assert read(text) == read(offer("jssip"))


def test_srtp_without_a_fingerprint_is_keyed_otherwise() -> None:
    text = offer("jssip", ("UDP/TLS/RTP/SAVPF", "RTP/SAVP"), ("a=fingerprint:", "a=crypto:"))
    assert not is_webrtc(parse(text))
    assert "without DTLS" in refusal(text)


def test_the_first_audio_that_can_be_served_decides() -> None:
    plain = "m=audio 4000 RTP/AVP 0\r\n"
    sdes = "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 x inline:y\r\n"
    off = "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n"
    head, _, dtls = offer("rtpengine").partition("m=")
    dtls = f"m={dtls}"
    assert is_webrtc(parse(head + dtls + plain))
    assert not is_webrtc(parse(head + plain + dtls))
    assert is_webrtc(parse(head + off + sdes + dtls + plain))
    assert not is_webrtc(parse(head + off))
    assert not is_webrtc(parse(head))
    assert read(head + off + plain + dtls) == read(head + dtls)


def test_whether_a_further_offer_wants_another_connection() -> None:
    first = read(offer("janus")).remote

    def after(*changes: tuple[str, str]) -> bool:
        return read(offer("janus", *changes)).remote.restarts(first)

    assert not after()
    assert not after(("a=sendrecv", "a=inactive"), ("a=setup:actpass", "a=setup:active"))
    assert not after(("203.0.113.7 40010 typ host", "203.0.113.9 40010 typ host"))
    assert after(("a=ice-ufrag:Zk4p", "a=ice-ufrag:Zk4q"))
    assert after(("a=ice-pwd:Tf0", "a=ice-pwd:Tf1"))
    assert after(("8C:2D:71", "8C:2D:72"))
