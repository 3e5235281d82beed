"""Calls placed by hand over UDP and TCP, each with one thing in it that real callers do."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.audio import mulaw, spoken
from tests.peers.fake_realtime import FakeConnection
from tests.peers.gateway import LogLine, eventually
from tests.peers.line import Line
from tests.peers.media import FRAME_BYTES, Packet, Phone, frames
from tests.peers.sipp import Sipp, need_sipp
from tests.peers.wire import Caller, Message, connect, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

RECORD_FIELDS = {
    *("direction", "leg", "reason", "sip_status", "duration_s", "setup_ms", "codec"),
    *("rtp_received", "rtp_sent", "rtp_lost", "jitter_ms", "mos"),
    *("turns", "bargeins", "dtmf_count", "response_ms_p50"),
}


@dataclass
class Talk:
    """An answered call: its caller, its media and the model's side of it."""

    line: Line
    caller: Caller
    phone: Phone
    answer: Message
    session: FakeConnection
    mark: int

    def speak(self, audio: bytes, name: str = "1", finish: bool = True) -> None:
        """Have the model say this."""
        self.line.realtime.run(
            self.session.speak(f"item_{name}", f"resp_{name}", audio, finish=finish)
        )

    def ended(self) -> LogLine:
        """Hang up; returns the call's record."""
        self.caller.hang_up()
        return self.line.gateway.call_ended(self.mark)


@dataclass
class Exchange:
    """Places calls on a line and ends what a test left open."""

    line: Line
    stack: ExitStack

    def caller(self, transport: str = "UDP") -> Caller:
        gateway = self.line.gateway.sip
        return self.stack.enter_context(Caller(connect(transport, gateway), gateway))

    def phone(self, payload_type: int = 0) -> Phone:
        return self.stack.enter_context(Phone(payload_type=payload_type))

    def talk(self, transport: str = "UDP", formats: str = "0 8 101") -> Talk:
        mark = self.line.gateway.mark()
        sessions = len(self.line.realtime.server.connections)
        phone = self.phone(8 if formats.startswith("8") else 0)
        caller = self.caller(transport)
        answer = caller.call(offer(phone.port, formats))
        phone.talk_to(answer.media)
        session = self.line.realtime.connection(sessions)
        return Talk(self.line, caller, phone, answer, session, mark)


@pytest.fixture
def exchange(line: Line) -> Iterator[Exchange]:
    with ExitStack() as stack:
        yield Exchange(line, stack)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A little more than a second of speech in mu-law, in whole frames."""
    audio = mulaw(spoken("Good morning, this is a test call.", tmp_path_factory.mktemp("voice")))
    return audio[800 : 800 + 60 * FRAME_BYTES]


def payloads(packets: list[Packet]) -> bytes:
    return b"".join(packet.payload for packet in packets)


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize(("formats", "codec"), [("0 101", "pcmu"), ("8 101", "pcma")])
def test_a_call_carries_audio_untouched_both_ways(
    exchange: Exchange, voice: bytes, transport: str, formats: str, codec: str
) -> None:
    talk = exchange.talk(transport, formats)
    wanted = {"type": f"audio/{codec}"}
    assert talk.session.session["audio"]["input"]["format"] == wanted
    assert talk.session.session["audio"]["output"]["format"] == wanted
    assert eventually(lambda: bool(talk.session.events("response.create")), 2)  # the greeting

    talk.phone.say(frames(voice))
    talk.speak(voice)
    assert eventually(lambda: voice in payloads(talk.phone.packets), 4)
    assert eventually(lambda: voice in talk.session.audio, 4)

    heard = talk.phone.heard()
    steps = {b.sequence - a.sequence & 0xFFFF for a, b in zip(heard, heard[1:], strict=False)}
    ticks = {b.timestamp - a.timestamp for a, b in zip(heard, heard[1:], strict=False)}
    assert steps == {1} and ticks <= {FRAME_BYTES, FRAME_BYTES - 2**32}
    assert {packet.payload_type for packet in heard} == {int(formats.split()[0])}
    assert [packet.marker for packet in heard].index(True) == 0

    sent = talk.phone.sent
    record = talk.ended()
    assert RECORD_FIELDS <= set(record)
    assert record["reason"] == "remote_bye"
    assert (record["leg"], record["direction"], record["codec"]) == ("sip", "inbound", codec)
    assert record["turns"] == 1 and record["bargeins"] == 0 and record["dtmf_count"] == 0
    assert record["rtp_lost"] == 0
    assert sent - 2 <= record["rtp_received"] <= talk.phone.sent
    assert abs(record["rtp_sent"] - len(talk.phone.packets)) <= 2
    assert 1 < record["duration_s"] < 20 and 0 < record["setup_ms"] < 5000
    assert eventually(talk.session.closed.is_set, 2)


def test_the_answer_keeps_to_the_offer(exchange: Exchange) -> None:
    caller, phone = exchange.caller(), exchange.phone()
    lines = ("a=rtpmap:0 PCMU/8000", "a=rtpmap:97 telephone-event/8000", "a=fmtp:97 0-15")
    sdp = offer(phone.port, "18 9 0 97", lines=(*lines, "a=ptime:20"))
    sdp += "m=video 9000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
    sdp += "m=audio 9002 RTP/AVP 8\r\n"
    answer = caller.call(sdp)
    medias = answer.sdp("m=")
    assert medias[0].split()[2:] == ["RTP/AVP", "0", "97"]
    assert "97 telephone-event/8000" in answer.sdp("a=rtpmap:")
    assert medias[1].startswith("video 0 ") and medias[2].startswith("audio 0 ")
    assert answer.sdp("t=") == ["0 0"]
    caller.hang_up()


def test_a_late_offer_is_answered_in_the_ack(exchange: Exchange, voice: bytes) -> None:
    line = exchange.line
    mark, sessions = line.gateway.mark(), len(line.realtime.server.connections)
    caller, phone = exchange.caller(), exchange.phone()
    caller.invite()
    final = caller.final()
    assert final.status == 200
    assert {"0", "8"} <= set(final.sdp("m=audio ")[0].split()[2:])
    caller.ack(final, offer(phone.port, "0 101"))
    phone.talk_to(final.media)
    talk = Talk(line, caller, phone, final, line.realtime.connection(sessions), mark)
    phone.say(frames(voice))
    talk.speak(voice)
    assert eventually(lambda: voice in payloads(phone.packets), 4)
    assert eventually(lambda: voice in talk.session.audio, 4)
    assert talk.ended()["reason"] == "remote_bye"


@pytest.mark.parametrize("answer", ["", offer(16_000, "18", lines=())])
def test_an_ack_without_a_usable_answer_ends_the_call(exchange: Exchange, answer: str) -> None:
    gateway = exchange.line.gateway
    mark = gateway.mark()
    caller = exchange.caller()
    caller.invite()
    caller.ack(caller.final(), answer)
    caller.answer(caller.wait("BYE", 0))
    record = gateway.call_ended(mark)
    assert record["duration_s"] == 0 and record["reason"] == "bad_answer"


def test_a_reinvite_without_an_offer_gets_one(exchange: Exchange) -> None:
    talk = exchange.talk()
    talk.caller.invite()
    final = talk.caller.final()
    assert final.status == 200 and final.media == talk.answer.media
    talk.caller.ack(final, offer(talk.phone.port, version=2))
    packets = len(talk.phone.packets)
    assert eventually(lambda: len(talk.phone.packets) > packets + 10, 2)
    assert talk.ended()["reason"] == "remote_bye"


def test_a_retransmitted_invite_makes_no_second_call(exchange: Exchange) -> None:
    gateway = exchange.line.gateway
    mark = gateway.mark()
    caller, phone = exchange.caller(), exchange.phone()
    invite = caller.invite(offer(phone.port))
    caller.wire.send(invite)
    caller.wire.send(invite)
    final = caller.final()
    caller.wire.send(invite)
    again = caller.final()
    assert (again.status, again.to_tag, again.body) == (200, final.to_tag, final.body)
    caller.ack(final)
    caller.wire.send(invite)  # the transaction swallows it, RFC 6026
    time.sleep(0.7)
    caller.hang_up()
    caller.wire.send(invite)
    time.sleep(0.3)
    assert len(gateway.lines("call.incoming", mark)) == 1
    assert gateway.call_ended(mark)["reason"] == "remote_bye"


def test_the_200_is_repeated_until_the_ack_comes(exchange: Exchange) -> None:
    caller, phone = exchange.caller(), exchange.phone()
    caller.invite(offer(phone.port))
    first = caller.final()
    began = time.monotonic()
    second, third = caller.final(), caller.final()
    assert 1.2 < time.monotonic() - began < 2.5  # after T1, then after twice T1
    assert first.body == second.body == third.body
    assert first.headers == second.headers == third.headers
    caller.ack(third)
    assert caller.silent_for(2.2)
    caller.hang_up()


def test_a_bye_that_is_repeated_is_answered_again(exchange: Exchange) -> None:
    talk = exchange.talk()
    caller = talk.caller
    caller.cseq += 1
    bye = caller.request("BYE")
    for _ in range(3):
        caller.wire.send(bye)
        assert caller.final("BYE").status == 200
    assert talk.line.gateway.call_ended(talk.mark)["reason"] == "remote_bye"


def test_hold_and_resume(exchange: Exchange, voice: bytes) -> None:
    talk = exchange.talk()
    phone, caller = talk.phone, talk.caller
    assert eventually(lambda: len(phone.packets) > 10, 2)

    held = caller.reinvite(offer(phone.port, direction="sendonly", version=2))
    assert held.status == 200 and held.direction == "recvonly"
    time.sleep(0.1)
    packets = len(phone.packets)
    time.sleep(1.0)
    assert len(phone.packets) == packets
    assert talk.session.closed.is_set() is False

    resumed = caller.reinvite(offer(phone.port, version=3))
    assert resumed.status == 200 and resumed.direction == "sendrecv"
    assert resumed.media == talk.answer.media
    assert eventually(lambda: len(phone.packets) > packets + 10, 2)
    before, after = phone.packets[packets - 1], phone.packets[packets]
    assert after.ssrc == before.ssrc and after.marker
    assert after.sequence - before.sequence & 0xFFFF == 1
    passed_s = (after.timestamp - before.timestamp & 0xFFFFFFFF) / 8000
    assert abs(passed_s - (after.at_s - before.at_s)) < 0.06  # the clock ran on

    inactive = caller.reinvite(offer(phone.port, direction="inactive", version=4))
    assert inactive.direction == "inactive"
    old = offer(phone.port, version=5).replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")
    assert caller.reinvite(old).status == 200  # hold as RFC 2543 had it
    time.sleep(0.1)
    packets = len(phone.packets)
    time.sleep(0.5)
    assert len(phone.packets) == packets

    assert caller.reinvite(offer(phone.port, version=6)).direction == "sendrecv"
    talk.speak(voice)
    assert eventually(lambda: voice in payloads(phone.packets), 4)
    gateway = talk.line.gateway
    assert talk.ended()["reason"] == "remote_bye"
    assert len(gateway.lines("call.held", talk.mark)) >= 2
    assert len(gateway.lines("call.resumed", talk.mark)) == 2


def test_a_new_media_address_is_followed(exchange: Exchange) -> None:
    talk = exchange.talk()
    assert eventually(lambda: len(talk.phone.packets) > 10, 2)
    other = exchange.phone()
    answer = talk.caller.reinvite(offer(other.port, version=2))
    talk.phone.muted = True
    other.talk_to(answer.media)
    assert eventually(lambda: len(other.packets) > 20, 2)
    time.sleep(0.1)
    packets = len(talk.phone.packets)
    time.sleep(0.3)
    assert len(talk.phone.packets) == packets
    received = len(talk.session.audio)
    assert eventually(lambda: len(talk.session.audio) > received + 10 * FRAME_BYTES, 2)
    assert talk.ended()["reason"] == "remote_bye"


def test_the_codec_can_change_in_mid_call(exchange: Exchange, voice: bytes) -> None:
    talk = exchange.talk(formats="0 101")
    assert eventually(lambda: len(talk.phone.packets) > 10, 2)
    other = exchange.phone(payload_type=8)
    answer = talk.caller.reinvite(offer(other.port, "8 101", version=2))
    assert answer.sdp("m=audio ")[0].split()[2] == "8"
    talk.phone.muted = True
    other.talk_to(answer.media)
    assert eventually(lambda: len(other.packets) > 20, 2)
    assert {packet.payload_type for packet in other.packets} == {8}
    talk.speak(voice)
    assert eventually(lambda: any(not packet.silent for packet in other.packets), 4)
    time.sleep(0.2)
    assert set(talk.session.audio[-2 * FRAME_BYTES :]) <= {0xFF, 0x7F, 0xFE, 0x7E}  # mu-law
    assert talk.ended()["reason"] == "remote_bye"


def test_an_offer_that_cannot_be_served_leaves_the_call_as_it_was(exchange: Exchange) -> None:
    talk = exchange.talk()
    refused = talk.caller.reinvite(offer(talk.phone.port, "18", lines=(), version=2))
    assert refused.status == 488 and refused.header("warning")
    packets = len(talk.phone.packets)
    assert eventually(lambda: len(talk.phone.packets) > packets + 10, 2)
    assert talk.ended()["reason"] == "remote_bye"


def test_a_bye_in_mid_speech_ends_everything(exchange: Exchange, voice: bytes) -> None:
    talk = exchange.talk()
    talk.speak(voice * 5, finish=False)
    assert eventually(lambda: any(not packet.silent for packet in talk.phone.packets), 2)
    record = talk.ended()
    assert record["reason"] == "remote_bye" and record["turns"] == 1
    packets = len(talk.phone.packets)
    assert eventually(talk.session.closed.is_set, 2)
    time.sleep(0.3)
    assert len(talk.phone.packets) <= packets + 1


def test_a_lost_session_costs_no_call(exchange: Exchange, voice: bytes) -> None:
    talk = exchange.talk()
    sessions = len(talk.line.realtime.server.connections)
    exchange.line.realtime.run(_dropped(talk.session))
    talk.session = talk.line.realtime.connection(sessions)
    talk.phone.say(frames(voice))
    assert eventually(lambda: voice in talk.session.audio, 4)
    record = talk.ended()
    assert (record["reason"], record["session_losses"]) == ("remote_bye", 1)


async def _dropped(session: FakeConnection) -> None:
    session.drop()


def test_a_caller_can_give_up_while_it_rings(exchange: Exchange) -> None:
    line = exchange.line
    line.realtime.server.update = "ignore"  # the session is never ready
    try:
        for transport in ("UDP", "TCP"):
            mark = line.gateway.mark()
            caller, phone = exchange.caller(transport), exchange.phone()
            caller.invite(offer(phone.port))
            ringing = caller.wait("INVITE", 180)
            assert ringing.to_tag
            caller.cancel()
            assert caller.final("CANCEL").status == 200
            final = caller.final()
            assert final.status == 487 and final.to_tag == ringing.to_tag
            caller.ack(final)
            record = line.gateway.call_ended(mark)
            assert record["reason"] == "cancelled" and record["duration_s"] == 0
            assert caller.silent_for(0.7)  # the ACK was understood
            caller.cancel()  # too late by now
            assert caller.final("CANCEL").status in (200, 481)
    finally:
        line.realtime.server.update = "apply"
    assert eventually(
        lambda: all(one.closed.is_set() for one in line.realtime.server.connections), 2
    )


def test_cancel_and_answer_may_cross(line: Line) -> None:
    calls = 200
    mark = line.gateway.mark()
    chance = random.Random(2)
    with ThreadPoolExecutor(8) as pool:
        delays_s = [chance.uniform(0, 0.05) for _ in range(calls)]
        statuses = list(pool.map(lambda delay_s: _cancel_after(line, delay_s), delays_s))
    assert set(statuses) <= {200, 487}
    ended = line.gateway.wait_for_lines("call.ended", calls, 5, mark)
    reasons = [record["reason"] for record in ended]
    assert reasons.count("cancelled") == statuses.count(487)
    assert reasons.count("remote_bye") == statuses.count(200)
    assert len(line.gateway.lines("call.incoming", mark)) == calls
    line.gateway.wait_for_footprint(line.baseline, 5, "sip_transactions", "sip_dialogs")


def _cancel_after(line: Line, delay_s: float) -> int:
    """Call and give up; returns what became of the INVITE."""
    gateway = line.gateway.sip
    with Caller(connect("UDP", gateway), gateway) as caller:
        caller.invite(offer(16_000))
        provisional = caller.wait("INVITE", 100, 180)  # no CANCEL before it, RFC 3261 section 9.1
        assert provisional.status < 200
        time.sleep(delay_s)
        caller.cancel()
        final = caller.final()
        caller.ack(final)
        assert caller.final("CANCEL").status in (200, 481)
        if final.status == 200:
            caller.hang_up()
        return final.status


def test_sipp_calls_holds_and_gives_up(line: Line, tmp_path: Path, mulaw_file: str) -> None:
    """The same from another hand: its own parser, its own transactions, its own RTP."""
    need_sipp()
    mark = line.gateway.mark()
    runs = {"call": 4, "late_offer": 4, "hold": 4}
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                Sipp(
                    scenario,
                    line.gateway.sip,
                    tmp_path,
                    calls=calls,
                    fill={"AUDIO": mulaw_file, "HOLD_MS": "2000"},
                    transport="t1" if scenario == "call" else "u1",
                    timeout_s=20,
                )
            )
            for scenario, calls in runs.items()
        ]
        for (_, calls), run in zip(runs.items(), started, strict=True):
            result = run.result()
            assert (result.status, result.successful, result.failed) == (0, calls, 0), str(result)
    records = line.gateway.wait_for_lines("call.ended", sum(runs.values()), 5, mark)
    assert {record["reason"] for record in records} == {"remote_bye"}
    assert all(record["rtp_received"] > 80 and record["rtp_sent"] > 80 for record in records)

    line.realtime.server.update = "ignore"
    mark = line.gateway.mark()
    try:
        with Sipp("cancel", line.gateway.sip, tmp_path, calls=10, timeout_s=20) as run:
            result = run.result()
    finally:
        line.realtime.server.update = "apply"
    assert (result.status, result.successful) == (0, 10), str(result)
    records = line.gateway.wait_for_lines("call.ended", 10, 5, mark)
    assert {record["reason"] for record in records} == {"cancelled"}
