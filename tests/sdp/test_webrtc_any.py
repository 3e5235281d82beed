"""Whatever a peer sends is a plan that can be answered, or an `SdpError`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sdp.description import SdpError, parse
from gateway.sdp.webrtc import WebRtcPlan, answer, is_webrtc, read_offer
from tests.sdp.mutants import mutants
from tests.sdp.webrtc_offers import CODECS, NAMES, local, offer

pytestmark = pytest.mark.pure


def check(body: bytes | str) -> WebRtcPlan | None:
    """Read an offer, and answer it if it can be used."""
    try:
        description = parse(body)
    except SdpError as error:
        assert error.status == 400
        return None
    dtls = is_webrtc(description)
    try:
        plan = read_offer(description, CODECS)
    except SdpError as error:
        assert error.status == 488
        assert error.warning.isascii()
        assert error.warning.isprintable()
        return None
    assert dtls or any(line.protocol.startswith("RTP/AVP") for line in description.media)
    assert 0 <= plan.payload_type <= 127
    assert len({plan.payload_type, *plan.dtmf_payload_types}) == 1 + len(plan.dtmf_payload_types)
    assert len(plan.remote.candidates) <= 64
    made = answer(description, plan, local())
    wire = made.to_bytes()
    assert parse(wire) == made
    assert [line.kind for line in made.media] == [line.kind for line in description.media]
    assert sum(line.kind == "audio" and line.port != 0 for line in made.media) == 1
    # Nobody who splits lines in another way reads another answer.
    assert len(wire.decode().splitlines()) == wire.count(b"\r\n")
    return plan


def test_thousands_of_broken_offers() -> None:
    plans = [check(body) for body in mutants(4000, seed=5)]
    used = sum(plan is not None for plan in plans)
    assert len(plans) / 5 < used < len(plans) * 4 / 5  # of both kinds there are many


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_input(body: bytes | str) -> None:
    check(body)


NAMED = [line.partition(":")[0] for name in NAMES for line in offer(name).splitlines()]
VALUE = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["0", "0 1", "BUNDLE 0 1", "BUNDLE", "111 opus/48000/2", "1 1 udp 1 h 1 typ"]),
)
LINE = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(sorted(set(NAMED))), VALUE),
    st.sampled_from([line for name in NAMES for line in offer(name).splitlines()]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, max_size=25), st.sampled_from(["\n", "\r\n"]))
def test_any_lines(lines: list[str], ending: str) -> None:
    check("v=0" + ending + ending.join(lines))


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=6)),
        min_size=1,
        max_size=6,
    ),
)
def test_any_bytes_within_an_offer(name: str, cuts: list[tuple[float, int, bytes]]) -> None:
    body = offer(name).encode()
    for where, length, instead in cuts:
        at = int(where * len(body))
        body = body[:at] + instead + body[at + length :]
    check(body)


@pytest.mark.parametrize(
    "lines",
    [
        "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n" * 1200,
        "a=group:BUNDLE 1\r\n" * 3000,
        "a=group:BUNDLE " + "1 " * 30_000 + "\r\n",
        "a=ice-ufrag:" + "a" * 60_000 + "\r\n",
        "a=fingerprint:sha-256 " + "AB:" * 19_000 + "\r\n",
        "a=fmtp:111 " + "a=b;" * 15_000 + "\r\n",
        "a=fmtp:101 " + "0-16," * 12_000 + "\r\n",
    ],
)
def test_as_much_as_fits_into_an_offer(lines: str) -> None:
    check(offer("janus", ("a=mid:a\r\n", "a=mid:a\r\n" + lines)))
    check(offer("janus", ("t=0 0\r\n", "t=0 0\r\n" + lines)))
