"""Whole calls over loopback, against a small telephone that answers."""

import asyncio
import socket

import pytest

from gateway.audio import g711
from gateway.phone.listener import is_voice
from gateway.phone.options import CallOptions
from gateway.phone.phone import place_call
from gateway.phone.plan import Plan
from gateway.phone.result import CallResult
from gateway.phone.timeline import Moment
from gateway.phone.voice import speech
from gateway.phone.wavefile import recording
from gateway.sdp.plan import AudioCodec
from tests.phone.uas import Manners, answering

pytestmark = [pytest.mark.loop, pytest.mark.live]


def events(result: CallResult) -> list[str]:
    return [moment.event for moment in result.timeline]


def the(result: CallResult, event: str) -> Moment:
    return next(moment for moment in result.timeline if moment.event == event)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_hears_the_far_end_and_is_heard(transport: str) -> None:
    moments: list[Moment] = []
    async with answering(Manners(talk_s=0.3)) as uas:
        options = CallOptions(
            uri=uas.uri(transport),
            plan=Plan(duration_s=1.0, speak_after_s=0.1),
            voice=speech(0.3).tobytes(),
            caller="tester",
            headers=(("X-Test", "yes"),),
        )
        result = await place_call(options, on_moment=moments.append)
        ended = await uas.wait_for_end()

    assert result.ok and result.error is None
    assert (result.status, result.end_reason, result.codec) == (200, "local_bye", "pcmu")
    assert ended.cause == "remote_bye"
    assert uas.incoming is not None
    assert uas.incoming.source.transport == transport
    assert uas.incoming.from_uri.startswith("sip:tester@127.0.0.1")
    assert ("X-Test", "yes") in uas.incoming.headers
    assert events(result) == [m.event for m in sorted(moments, key=lambda m: m.at_s)]
    assert set(events(result)) == {
        "ringing", "answered", "voice", "speaking", "spoken", "silence", "hang_up", "ended"
    }  # fmt: skip
    assert 0 < (result.setup_s or 0) <= (result.first_audio_s or 0) < result.ended_s
    assert len(result.voice) == 1 and result.voice[0].stopped
    assert b"".join(uas.heard_payloads).count(g711.encode(speech(0.3), "pcmu")) == 1
    assert result.rtp is not None
    assert result.rtp.received == len(result.received) and result.rtp.lost == 0
    assert result.rtp.sent == len(uas.heard_payloads)


@pytest.mark.parametrize("codec", ["pcmu", "pcma"])
@pytest.mark.parametrize("late_offer", [False, True])
async def test_an_echo_is_recorded_sample_by_sample(codec: AudioCodec, late_offer: bool) -> None:
    voice = speech(0.4, seed=3)
    async with answering(Manners(echoes=True)) as uas:
        result = await place_call(
            CallOptions(
                uri=uas.uri(),
                plan=Plan(duration_s=0.8, speak_after_s=0.1),
                voice=voice.tobytes(),
                codecs=(codec,),
                late_offer=late_offer,
            )
        )
    assert uas.incoming is not None and (uas.incoming.offer is None) == late_offer
    assert result.codec == codec
    heard = recording(result.received, codec)
    expected = g711.decode(g711.encode(voice, codec), codec).tobytes()
    assert heard.count(expected) == 1


async def test_keys_arrive_once_each_and_in_order() -> None:
    async with answering(Manners(talk_s=0.2)) as uas:
        result = await place_call(
            CallOptions(
                uri=uas.uri(),
                plan=Plan(duration_s=1.5, digits="12#A", digits_after_s=0.1),
                voice=b"",
            )
        )
    assert uas.digits == result.digits == "12#A"
    assert result.to_json()["digits"] == "12#A" and len(result.to_json()["digits_ms"]) == 4


async def test_keys_that_cannot_be_sent_are_told() -> None:
    async with answering(Manners(talk_s=0.2, dtmf=False)) as uas:
        plan = Plan(duration_s=0.5, digits="1", digits_after_s=0.0)
        result = await place_call(CallOptions(uri=uas.uri(), plan=plan, voice=b""))
    assert result.ok and result.digits == "" and uas.digits == ""
    assert the(result, "digit_not_sent").detail == "1"


async def test_an_interruption_is_measured_to_the_frame() -> None:
    async with answering(Manners(talk_s=5.0, yields=True)) as uas:
        plan = Plan(duration_s=1.0, interrupt_after_s=0.3)
        result = await place_call(CallOptions(uri=uas.uri(), plan=plan))
    assert result.interrupted_s is not None and result.voice_stopped_s is not None
    assert result.first_audio_s is not None and result.stop_latency_s is not None
    assert result.first_audio_s + 0.3 <= result.interrupted_s
    last = [packet for packet in result.received if is_voice(packet.payload, "pcmu")][-1]
    assert last.timestamp == uas.voice_ended_at
    assert result.voice_stopped_s == last.arrival_s
    assert result.stop_latency_s == max(last.arrival_s - result.interrupted_s, 0.0)


async def test_a_voice_that_is_not_stopped_is_not_said_to_be() -> None:
    async with answering(Manners(talk_s=5.0)) as uas:
        plan = Plan(duration_s=1.0, interrupt_after_s=0.2)
        result = await place_call(CallOptions(uri=uas.uri(), plan=plan))
    assert result.ok and result.interrupted_s is not None
    assert result.voice_stopped_s is None and result.stop_latency_s is None


@pytest.mark.parametrize(
    ("status", "words"),
    [(486, "busy (486 Busy Here)"), (603, "refused (603 Decline)"), (503, "refused (503")],
)
async def test_a_refusal_is_told(status: int, words: str) -> None:
    async with answering(Manners(reject=status)) as uas:
        result = await place_call(CallOptions(uri=uas.uri()))
    assert not result.ok and not result.answered
    assert (result.status, result.end_reason) == (status, "refused")
    assert result.error is not None and result.error.startswith(words)
    assert result.rtp is None and result.codec is None


@pytest.mark.parametrize(
    ("manners", "words"),
    [
        (Manners(), "packets came, no voice in them"),
        (Manners(sends=False), "no audio: no packet came"),
    ],
)
async def test_silence_is_no_audio(manners: Manners, words: str) -> None:
    async with answering(manners) as uas:
        result = await place_call(CallOptions(uri=uas.uri(), plan=Plan(duration_s=0.3)))
    assert result.answered and not result.ok
    assert result.error is not None and words in result.error


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_nobody_there_is_noticed_at_once(transport: str) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with asyncio.timeout(5):
        uri = f"sip:agent@127.0.0.1:{port};transport={transport}"
        result = await place_call(CallOptions(uri=uri))
    assert result.end_reason == "transport"
    assert result.error == f"{uri} cannot be reached"


async def test_a_name_that_cannot_be_looked_up_cannot_be_reached() -> None:
    result = await place_call(CallOptions(uri="sip:agent@no..where"))
    assert result.end_reason == "transport"


async def test_an_unanswered_call_is_cancelled() -> None:
    async with answering(Manners(answers=False)) as uas:
        result = await place_call(CallOptions(uri=uas.uri(), answer_timeout_s=0.2))
        ended = await uas.wait_for_end()
    assert ended.cause == "cancelled"
    assert (result.end_reason, result.answered) == ("no_answer", False)
    assert the(result, "ringing").detail == "180"
    assert result.error is not None and result.error.startswith("no answer")


async def test_the_far_end_hangs_up() -> None:
    async with answering(Manners(talk_s=1.0, hangs_up_after_s=0.3)) as uas:
        result = await place_call(CallOptions(uri=uas.uri()))
    assert result.ok and result.end_reason == "remote_bye"
    assert "hang_up" not in events(result)


async def test_hold_and_resume() -> None:
    async with answering(Manners(talk_s=3.0)) as uas:
        plan = Plan(duration_s=1.5, hold_after_s=0.3, hold_s=0.5)
        result = await place_call(CallOptions(uri=uas.uri(), plan=plan, voice=b""))
    assert uas.directions == ["sendrecv", "sendonly", "sendrecv"]
    changes = [moment.detail for moment in result.timeline if moment.event == "session_changed"]
    assert changes == ["sendonly", "sendrecv"]
    # The far end went on speaking and was not heard meanwhile.
    assert len(result.voice) >= 2
    held_s, resumed_s = the(result, "session_changed").at_s, the(result, "resume").at_s
    heard = [packet for packet in result.received if held_s + 0.1 < packet.arrival_s < resumed_s]
    assert not heard


async def test_a_refused_hold_changes_nothing() -> None:
    async with answering(Manners(talk_s=3.0, refuses_holds=True)) as uas:
        plan = Plan(duration_s=0.8, hold_after_s=0.2)
        result = await place_call(CallOptions(uri=uas.uri(), plan=plan, voice=b""))
    assert result.ok and the(result, "hold_refused").detail == "488"
    assert len(result.voice) == 1


async def test_the_far_end_holds() -> None:
    async with answering(Manners(talk_s=3.0, holds_after_s=0.2)) as uas:
        result = await place_call(CallOptions(uri=uas.uri(), plan=Plan(duration_s=0.8)))
    assert result.ok and the(result, "session_changed").detail == "recvonly"


@pytest.mark.parametrize("answers", [True, False])
async def test_stopping_hangs_up(answers: bool) -> None:
    stop = asyncio.Event()
    async with answering(Manners(answers=answers, talk_s=1.0)) as uas:
        asyncio.get_running_loop().call_later(0.3, stop.set)
        result = await place_call(CallOptions(uri=uas.uri()), stop=stop)
        ended = await uas.wait_for_end()
    assert ended.cause == ("remote_bye" if answers else "cancelled")
    assert result.end_reason == ("local_bye" if answers else "cancelled")
    assert result.ok == answers


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_cancelled_task_hangs_up(transport: str) -> None:
    async with answering(Manners(talk_s=1.0)) as uas:
        call = asyncio.create_task(place_call(CallOptions(uri=uas.uri(transport))))
        await uas.hearing.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        ended = await uas.wait_for_end()
    assert ended.cause == "remote_bye"


async def test_an_answer_that_cannot_be_used_ends_the_call() -> None:
    async with answering(Manners(codecs=("pcma",))) as uas:
        result = await place_call(CallOptions(uri=uas.uri(), codecs=("pcmu",), late_offer=True))
        await uas.wait_for_end()
    assert result.end_reason == "bad_sdp" and not result.ok
    assert result.error is not None and "description" in result.error
