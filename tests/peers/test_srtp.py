"""SRTP with keys in SDP, on real sockets: a softphone over UDP, a phone of our own with each suite,
and somebody who has no key."""

import base64
import random
import socket
import time
from pathlib import Path

import pytest
from pylibsrtp import Error, Policy, Session

from tests.ahead import early
from tests.peers.audio import RATE_HZ, likeness, silence, write_wav
from tests.peers.baresip import Baresip, need_baresip
from tests.peers.calls_api import CallsApi
from tests.peers.gateway import HOST, GatewayProcess, eventually
from tests.peers.line import Line
from tests.peers.media import FRAME_BYTES, Phone, frames
from tests.peers.test_baresip import greeting, prompt
from tests.peers.wire import Caller, Message, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": (30, Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
    "AES_CM_128_HMAC_SHA1_32": (30, Policy.SRTP_PROFILE_AES128_CM_SHA1_32),
    "AEAD_AES_128_GCM": (28, Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
    "AEAD_AES_256_GCM": (44, Policy.SRTP_PROFILE_AEAD_AES_256_GCM),
}


class SealedPhone(Phone):
    """A phone that seals what it sends, and opens what it receives, once it knows the keys."""

    def __init__(self, suite: str, host: str = HOST) -> None:
        super().__init__(host)
        self.suite = suite
        self.unreadable = 0
        self._size, self._profile = SUITES[suite]
        self._outgoing: Session | None = None
        self._incoming: Session | None = None

    def crypto(self, seed: int, tag: int = 3) -> str:
        """A line with a new key, by which it seals from now on."""
        key = random.Random(seed).randbytes(self._size)
        self._outgoing = Session(Policy(key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=self._profile))
        return f"a=crypto:{tag} {self.suite} inline:{base64.b64encode(key).decode()}"

    def take(self, answer: Message, tag: int = 3) -> None:
        """Open what comes by the key of an answer."""
        (line,) = answer.sdp("a=crypto:")
        number, suite, key = line.split()
        assert (number, suite) == (str(tag), self.suite)
        raw = base64.b64decode(key.removeprefix("inline:"))
        self._incoming = Session(Policy(raw, Policy.SSRC_ANY_INBOUND, srtp_profile=self._profile))

    def offer(self, *crypto: str, profile: str = "RTP/SAVP", **more: str | int) -> str:
        lines = ("a=rtpmap:101 telephone-event/8000", *crypto)
        return offer(self.port, lines=lines, **more).replace("RTP/AVP", profile)  # type: ignore[arg-type]

    def _sealed(self, packet: bytes) -> bytes:
        return packet if self._outgoing is None else self._outgoing.protect(packet)

    def _opened(self, data: bytes) -> bytes:
        if self._incoming is None:
            return b""
        try:
            rtcp = 192 <= data[1] <= 223
            return (self._incoming.unprotect_rtcp if rtcp else self._incoming.unprotect)(data)
        except Error:
            self.unreadable += 1
            return b""


def payloads(phone: Phone, since: int = 0) -> bytes:
    return b"".join(packet.payload for packet in phone.heard(since))


@pytest.mark.parametrize(
    ("suite", "profile"),
    [(suite, "RTP/SAVP") for suite in SUITES]
    + [("AEAD_AES_128_GCM", "RTP/SAVPF"), ("AES_CM_128_HMAC_SHA1_80", "RTP/AVP")],
)
def test_every_suite_both_ways_through_hold_new_keys_and_a_wrap(
    line: Line, suite: str, profile: str
) -> None:
    gateway = line.gateway
    mark = gateway.mark()
    sessions = len(line.realtime.server.connections)
    golden = random.Random(suite).randbytes(50 * FRAME_BYTES)
    with SealedPhone(suite) as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        first = phone.crypto(1)
        answer = caller.call(phone.offer(first, profile=profile))
        assert answer.sdp("m=audio ")[0].split()[1] == profile
        phone.take(answer)
        phone.talk_to(answer.media)
        session = line.realtime.connection(sessions)
        phone.say(frames(golden))  # its numbers wrap in the middle
        line.realtime.run(session.speak("item_1", "resp_1", golden))
        assert eventually(lambda: golden in payloads(phone), 5), (
            len(phone.packets),
            phone.unreadable,
        )
        assert eventually(lambda: golden in session.audio, 3)

        held = phone.offer(first, profile=profile, direction="sendonly", version=2)
        answer = caller.reinvite(held)
        assert answer.direction == "recvonly"
        assert answer.sdp("a=crypto:")  # the same: packet numbers go on
        time.sleep(0.2)
        count = len(phone.packets)
        time.sleep(0.3)
        assert len(phone.packets) == count
        resumed = caller.reinvite(phone.offer(first, profile=profile, version=3))
        assert resumed.sdp("a=crypto:") == answer.sdp("a=crypto:")
        assert eventually(lambda: len(phone.packets) > count + 10, 2)

        second = phone.crypto(2)
        answer = caller.reinvite(phone.offer(second, profile=profile, version=4))
        assert answer.sdp("a=crypto:") == resumed.sdp("a=crypto:")
        again = random.Random(2).randbytes(20 * FRAME_BYTES)
        phone.say(frames(again))
        assert eventually(lambda: again in session.audio, 3)
        caller.hang_up()
    record = gateway.call_ended(mark)
    assert gateway.lines("call.answered", mark)[-1]["media_security"] == "srtp"
    assert record["reason"] == "remote_bye"
    assert phone.unreadable == 0


def test_who_has_no_key_is_not_heard_and_hears_nothing(line: Line) -> None:
    """100,000 packets that look like the caller's, half of them from the caller's own address."""
    gateway = line.gateway
    mark = gateway.mark()
    sessions = len(line.realtime.server.connections)
    golden = random.Random(9).randbytes(150 * FRAME_BYTES)
    noise = random.Random(10)
    with (
        SealedPhone("AES_CM_128_HMAC_SHA1_80") as phone,
        Caller(UdpWire(gateway.sip), gateway.sip) as caller,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker,
    ):
        attacker.bind((HOST, 0))
        attacker.setblocking(False)
        answer = caller.call(phone.offer(phone.crypto(1)))
        for number in range(200):  # before the caller has said a word
            attacker.sendto(_looks_like_rtp(noise, number), answer.media)
        phone.take(answer)
        phone.talk_to(answer.media)
        session = line.realtime.connection(sessions)
        assert eventually(lambda: phone.sent > 5, 2)
        phone.say(frames(golden))
        for number in range(50_000):
            forged = _looks_like_rtp(noise, number)
            attacker.sendto(forged, answer.media)
            phone.socket.sendto(forged, answer.media)  # from the caller's very address
            if number % 40 == 0:  # more at once than a socket holds would cost the caller's own
                time.sleep(0.005)
        assert eventually(lambda: golden in session.audio, 5)
        with pytest.raises(BlockingIOError):
            attacker.recv(2048)
        caller.hang_up()
    record = gateway.call_ended(mark)
    assert record["reason"] == "remote_bye"
    assert record["rtp_lost"] <= 2
    metrics = gateway.metrics()
    forged_count = metrics['gateway_rtp_dropped_packets_total{why="forged"}']
    assert forged_count > 90_000, forged_count


def _looks_like_rtp(noise: random.Random, number: int) -> bytes:
    head = b"\x80\x00" + (number & 0xFFFF).to_bytes(2) + (number * 160).to_bytes(4)
    return head + 0x1234ABCD.to_bytes(4) + noise.randbytes(170)


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "224.0.0.1", "239.1.2.3", "255.255.255.255", "240.0.0.1"),
        *("0.1.2.3", "phone.example", "::1", "fe80::1", "2001:db8::1"),
    ],
)
def test_media_is_not_sent_wherever_a_caller_says(line: Line, host: str) -> None:
    sdp = offer(4000).replace(f"c=IN IP4 {HOST}", f"c=IN IP{6 if ':' in host else 4} {host}")
    with Caller(UdpWire(line.gateway.sip), line.gateway.sip) as caller:
        caller.invite(sdp)
        final = caller.final()
        assert final.status == 488, final.start
        assert final.header("warning").split()[1] == "gateway"
        caller.ack(final)


@early
def test_a_bystander_is_sent_no_more_than_a_trial(directory: Path) -> None:
    """An offer names somebody who does not answer: no media after 500 packets or ten seconds, and
    one more offer for the same one begins no other trial."""
    with (
        GatewayProcess() as gateway,
        Phone("127.0.0.67") as bystander,
        Caller(UdpWire(gateway.sip), gateway.sip) as caller,
    ):
        caller.call(offer(bystander.port, host="127.0.0.67"))
        time.sleep(11.0)
        count = len(bystander.packets)
        assert 0 < count <= 500
        caller.reinvite(offer(bystander.port, host="127.0.0.67", version=2))
        time.sleep(1.0)
        assert len(bystander.packets) == count
        caller.hang_up()


@early
def test_a_softphone_that_can_do_srtp_calls_over_udp(directory: Path) -> None:
    softphone_over_udp(directory, encryption="srtp", calls="phone")


@early
def test_a_softphone_that_insists_on_srtp_is_called_over_udp(directory: Path) -> None:
    softphone_over_udp(directory, encryption="srtp-mand", calls="gateway")


def softphone_over_udp(directory: Path, *, encryption: str, calls: str) -> None:
    """One call with hold, resume and keys on the way; `calls` says who calls whom."""
    need_baresip()
    microphone = directory / "silence.wav"
    write_wav(microphone, silence(60))
    words = prompt(greeting()[0])
    with GatewayProcess(env={"GATEWAY_SIP_SRTP": "require"}) as gateway:
        api = CallsApi(gateway)
        host, port = gateway.sip
        with Baresip(
            directory / "phone",
            transport="udp",
            codec="PCMA",
            microphone=microphone,
            encryption=encryption,
            dial=f"sip:agent@{host}:{port}" if calls == "phone" else "",
        ) as phone:
            if calls == "gateway":
                call_id = api.call(phone.uri)
            else:
                call_id = str(gateway.wait_for("call.answered", 10)["call_id"])
            with api.sideband(call_id) as sideband:
                sideband.until("session.created")
                assert api.until(call_id, "active")["media_security"] == "srtp"
                if calls == "gateway":
                    sideband.send({"type": "response.create"})
                begun_s = phone.heard_s
                assert eventually(lambda: phone.heard_s > begun_s + len(words) / RATE_HZ + 1, 20)
                phone.press("42#")
                for key in "42#":
                    event = sideband.until("input_audio_buffer.dtmf_event_received")
                    assert event["event"] == key
                phone.hold()
                gateway.wait_for("call.held", 10, call_id=call_id)
                time.sleep(0.5)
                phone.resume()
                gateway.wait_for("call.resumed", 10, call_id=call_id)
                assert api.hears_and_is_heard(call_id)
            recording = phone.stop()
        record = gateway.wait_for("call.ended", 10, call_id=call_id)
        metrics = gateway.metrics()
    assert likeness(words, recording.heard)[0] > 0.9
    assert record["reason"] == "remote_bye" and record["rtp_lost"] == 0
    # It sends a probe (APP) and its goodbye (BYE) unsealed.
    assert metrics['gateway_rtp_dropped_packets_total{why="forged"}'] <= 2
