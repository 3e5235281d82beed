"""Candidates as text (RFC 8839 section 5.1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sdp.description import SdpError
from gateway.sdp.transport import Candidate

pytestmark = pytest.mark.pure

HOST = "3229573512 1 udp 2122194687 192.0.2.2 60659 typ host"


@pytest.mark.parametrize(
    ("text", "candidate"),
    [
        (
            f"{HOST} generation 0 network-id 1",  # Chrome
            Candidate("3229573512", 1, "udp", 2_122_194_687, "192.0.2.2", 60_659, "host"),
        ),
        (
            "2 1 UDP 1685986815 203.0.113.5 49715 typ srflx raddr 0.0.0.0 rport 0",  # Firefox
            Candidate("2", 1, "udp", 1_685_986_815, "203.0.113.5", 49_715, "srflx", "0.0.0.0", 0),
        ),
        (
            "d0bcf3d9c29a2bc887618212a1623bfa 1 udp 2130706431 fd00::2 52654 typ host",  # aiortc
            Candidate(
                "d0bcf3d9c29a2bc887618212a1623bfa",
                1,
                "udp",
                2_130_706_431,
                "fd00::2",
                52_654,
                "host",
            ),
        ),
        (
            "6 1 TCP 2105458943 6e5376c2-8b34-4e8b.local 9 typ host tcptype active",
            Candidate(
                "6",
                1,
                "tcp",
                2_105_458_943,
                "6e5376c2-8b34-4e8b.local",
                9,
                "host",
                tcp_type="active",
            ),
        ),
        (
            "0 256 udp 0 1.2.3.4 0 typ relay rport 7 odd",
            Candidate("0", 256, "udp", 0, "1.2.3.4", 0, "relay", None, 7),
        ),
    ],
)
def test_reading(text: str, candidate: Candidate) -> None:
    assert Candidate.parse(text) == candidate
    assert Candidate.parse(candidate.to_text()) == candidate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:" + HOST,
        HOST.removesuffix(" host"),
        HOST.replace("typ", "type"),
        HOST.replace("host", "guess"),
        HOST.replace(" 1 ", " 257 "),
        HOST.replace(" 1 ", " -1 "),
        HOST.replace(" 1 ", " x "),
        HOST.replace("2122194687", "4294967296"),
        HOST.replace("2122194687", "1e9"),
        HOST.replace("2122194687", "\u0661"),
        HOST.replace("60659", "65536"),
        HOST.replace("60659", ""),
        HOST.replace("192.0.2.2", "\u00e9"),
        HOST.replace("192.0.2.2", "h" * 256),
        HOST.replace("3229573512", "3" * 33),
        HOST.replace("3229573512", "a:b"),
        HOST + " raddr 1.2.3.4 rport 65536",
        HOST + " raddr 1.2.3.4 rport x",
        HOST + " x \x00",
    ],
)
def test_what_is_no_candidate(text: str) -> None:
    with pytest.raises(SdpError, match="^Malformed candidate$"):
        Candidate.parse(text)


PIECES = st.sampled_from([*HOST.split(), "raddr", "rport", "tcptype", "0", "\x00", "\u2028", "-1"])


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=14).map(" ".join)))
def test_any_text(text: str) -> None:
    try:
        candidate = Candidate.parse(text)
    except SdpError as error:
        assert error.status == 400
        return
    assert Candidate.parse(candidate.to_text()) == candidate
