"""A plain phone behind rtpengine, which speaks ICE and DTLS-SRTP for it: a call from a carrier, as
the gateway sees it where a proxy or B2BUA stands in front.

The test is that B2BUA: the phone's SIP is left out, and its SDP is passed on through rtpengine.
"""

import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gateway.audio import g711
from tests.peers.audio import Signal, mulaw
from tests.peers.gateway import GatewayProcess, eventually
from tests.peers.line import RealtimeThread
from tests.peers.media import Phone, frames, rtp
from tests.peers.rtpengine import Rtpengine, need_rtpengine
from tests.peers.speech import found, prompt
from tests.peers.wire import Caller, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

KEYS = "159#"
_ALL_KEYS = "0123456789*#ABCD"
_TELEPHONE_EVENT = 101


@dataclass
class Carrier:
    """A gateway, the model behind it, and the proxy in front."""

    gateway: GatewayProcess
    realtime: RealtimeThread
    proxy: Rtpengine


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrier]:
    need_rtpengine()
    folder: Path = tmp_path_factory.mktemp("rtpengine")
    with (
        Rtpengine(folder) as proxy,
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url) as gateway,
    ):
        yield Carrier(gateway, realtime, proxy)


def test_audio_both_ways_and_digits(carrier: Carrier) -> None:
    gateway, proxy = carrier.gateway, carrier.proxy
    with Phone() as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        answer = caller.call(proxy.offer(caller.call_id, offer(phone.port, "0 101")))
        phone.talk_to(place(proxy.answer(caller.call_id, answer.body)))
        answered = gateway.wait_for("call.answered")
        call_id = answered["call_id"]
        assert (answered["codec"], answered["media_security"]) == ("pcmu", "srtp")
        session = carrier.realtime.connection(0)
        # There is a way for media once the model hears the phone's silence.
        assert eventually(lambda: len(session.audio) > 800, 10), proxy.log[-3000:]

        said, told = prompt("say-something-now"), prompt("i-can-see")
        phone.say(frames(mulaw(said)) * 5)
        carrier.realtime.run(session.speak("item_1", "resp_1", mulaw(told) * 5))

        def understood() -> bool:
            return found(said, linear(bytes(session.audio))) > 0.9

        def heard() -> bool:
            payloads = [one.payload for one in phone.packets if one.payload_type == 0]
            return found(told, linear(b"".join(payloads))) > 0.9

        assert eventually(understood, 15, 0.5)
        assert eventually(heard, 15, 0.5)

        for key in KEYS:
            press(phone, key)
        reported = gateway.wait_for_lines("dtmf.received", len(KEYS), call_id=call_id)
        assert [line["digit"] for line in reported] == list(KEYS)

        caller.hang_up()
        proxy.delete(caller.call_id)
        ended = gateway.wait_for("call.ended", call_id=call_id)
        assert (ended["reason"], ended["dtmf_count"]) == ("remote_bye", len(KEYS))


def place(sdp: str) -> tuple[str, int]:
    """Where a plain SDP wants audio."""
    address, port = re.search(r"c=IN IP4 (\S+)", sdp), re.search(r"m=audio (\d+) RTP/AVP ", sdp)
    assert address is not None and port is not None, sdp
    return address[1], int(port[1])


def linear(audio: bytes) -> Signal:
    return g711.decode(audio, "pcmu").astype(np.float64) / 32768


def press(phone: Phone, key: str) -> None:
    """100 ms of a key and 60 ms of a pause (RFC 4733)."""
    timestamp = time.monotonic_ns() // 125_000
    assert phone._remote is not None
    for number in range(8):
        ended = number >= 5  # the end is sent three times
        duration = 160 * min(number + 1, 5)
        event = struct.pack("!BBH", _ALL_KEYS.index(key), 0x80 * ended | 10, duration)
        sequence, phone._sequence = phone._sequence, phone._sequence + 1
        packet = rtp(event, sequence, timestamp, phone._ssrc, _TELEPHONE_EVENT, number == 0)
        phone.socket.sendto(packet, phone._remote)
        time.sleep(0.02)
