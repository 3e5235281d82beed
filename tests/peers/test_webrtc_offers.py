"""Offers of WebRTC that cannot be used: a 400 that says why, and nothing is held for them."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.peers.calls_api import CALLS, CallsApi
from tests.peers.gateway import HOST, GatewayProcess
from tests.peers.line import Line

pytestmark = pytest.mark.peer

OFFER = """v=0
o=- 152063488778041452 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 111 0 110
c=IN IP4 0.0.0.0
a=ice-ufrag:BbSN
a=ice-pwd:2q9XSHzGgJU7Xx/uVTt1ZhQE
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtpmap:0 PCMU/8000
a=rtpmap:110 telephone-event/48000
""".format(fingerprint=":".join(["25"] * 32))


def without(prefix: str) -> str:
    return "".join(line for line in OFFER.splitlines(True) if not line.startswith(prefix))


BAD = {
    "": "is empty",
    "hello": "Line 1",
    "\x00\x01\x02": "Line 1",
    without("m=audio"): "no audio",
    OFFER.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"): "without DTLS",
    without("a=fingerprint").replace("UDP/TLS/", ""): "without DTLS",
    without("a=fingerprint"): "no certificate fingerprint",
    without("a=ice-"): "no ICE credentials",
    without("a=ice-pwd"): "no ICE credentials",
    OFFER.replace("25:25", "zz"): "sha-256",
    OFFER.replace("111 0 110", "110"): "None of the offered codecs",
    OFFER.replace("m=audio 9 ", "m=audio 0 "): "switches its audio off",
    OFFER + "a=x\n" * 20_000: "larger than",
}
"""Offers, and what is said of each."""


def post(gateway: GatewayProcess, sdp: str) -> tuple[int, Any]:
    """Status, and the error or where the call is."""
    request = urllib.request.Request(
        f"http://{HOST}:{gateway.http_port}{CALLS}",
        data=sdp.encode(),
        headers={"Content-Type": "application/sdp"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers["Location"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]


def test_a_bad_offer_is_told_why(stream_line: Line) -> None:
    gateway = stream_line.gateway
    before = gateway.footprint()
    for offer, reason in BAD.items():
        status, error = post(gateway, offer)
        assert (status, error["code"]) == (400, "invalid_sdp"), offer
        assert error["type"] == "invalid_request_error" and error["param"] == "sdp"
        assert reason in error["message"], error
    after = gateway.footprint()
    assert (after.calls, after.media_ports_free) == (before.calls, before.media_ports_free)

    # With nothing wrong with it, it is taken.
    status, place = post(gateway, OFFER)
    assert status == 201 and place.startswith(f"{CALLS}/rtc_")
    call_id = place.rpartition("/")[2]
    assert CallsApi(gateway).hang_up(call_id).status == 200
    gateway.wait_for("call.ended", call_id=call_id, reason="hangup")
