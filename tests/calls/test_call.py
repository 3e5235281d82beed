"""A call with a caller and a server that the test plays: turns, interruptions, digits, ends.

Time is the media clock, which the tests turn by hand; nothing here waits.
"""

import asyncio
import json
import random

import pytest
import structlog
from structlog.testing import capture_logs

from gateway.calls.call import Call
from gateway.calls.continuity import ContinuityPolicy
from gateway.calls.machine import CallMachine
from gateway.calls.policy import CallPolicy, Refusal
from gateway.calls.sessions import Sources
from gateway.calls.sounds import Sounds
from gateway.legs.leg import DtmfIn, LegAnswered, LegBroken, LegEnded, LegError
from tests.calls.fakes import SILENCE, FakeBackend, FakeLeg, FakeOthers
from tests.calls.line import SPEECH, VOICE, audio_done, created, delta, done, line, record_of

pytestmark = pytest.mark.loop


async def test_the_greeting_is_asked_for_when_the_caller_is_there() -> None:
    async with line(answered=False) as call:
        assert call.leg.done == ["ring", "answer"]
        assert call.session.types() == []
        call.leg.emit(LegAnswered())
        assert call.session.types() == ["response.create"]


async def test_audio_passes_untouched_both_ways() -> None:
    async with line() as call:
        assert call.leg.port.sink is not None
        call.leg.port.sink(VOICE)
        assert call.session.audio == VOICE
        await call.session.say(created(), delta(VOICE * 3))
        call.leg.port.tick(5)
        assert call.leg.port.sent == [VOICE] * 3 + [SILENCE] * 2


async def test_the_session_is_asked_for_the_codec_of_the_leg() -> None:
    async with line(policy=CallPolicy(session={"type": "realtime", "audio": None})) as call:
        (asked,) = call.backend.asked
        assert asked["audio"]["input"]["format"] == {"type": "audio/pcmu"}
        assert asked["audio"]["output"]["format"] == {"type": "audio/pcmu"}


async def test_a_session_of_pcm_is_transcoded() -> None:
    pcm = {"type": "audio/pcm", "rate": 24000}
    session = {
        "type": "realtime",
        "audio": {"input": {"format": pcm}, "output": {"format": pcm}},
    }
    async with line(policy=CallPolicy(session=session)) as call:
        assert call.leg.port.sink is not None
        for _ in range(10):
            call.leg.port.sink(VOICE)
        assert 10 * 960 - 200 <= len(call.session.audio) <= 10 * 960
        await call.session.say(created(), delta(bytes(range(240)) * 40), audio_done(), done())
        call.leg.port.tick(12)
        # 200 ms at 24 kHz are ten frames, and the resampler's tail is in the last of them.
        assert call.leg.port.voice_frames() == 10


async def test_playout_is_announced_once_each_way() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 2))
        assert call.buffer_events() == []
        call.leg.port.tick()
        assert call.buffer_events() == [("started", "resp_1")]
        await call.session.say(audio_done())
        call.leg.port.tick(3)
        assert call.buffer_events() == [("started", "resp_1")]
        await call.session.say(done())
        assert call.buffer_events() == [("started", "resp_1"), ("stopped", "resp_1")]


async def test_a_response_done_before_it_was_played_stops_when_it_was() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 2), audio_done(), done())
        call.leg.port.tick(2)
        call.leg.port.tick()
        assert call.buffer_events() == [("started", "resp_1"), ("stopped", "resp_1")]


# Interruptions: the races, in the order in which they can happen.


async def test_speech_before_any_output() -> None:
    async with line() as call:
        await call.session.say(created(), SPEECH, done(status="cancelled"))
        await call.session.say(delta(VOICE))
        call.leg.port.tick(2)
        assert call.leg.port.voice_frames() == 0
        assert call.truncations() == []
        assert call.buffer_events() == []


async def test_speech_while_generating() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 50))
        call.leg.port.tick(7)
        await call.session.say(SPEECH)
        await call.session.say(delta(VOICE * 50))  # was on its way
        call.leg.port.tick(5)
        assert call.leg.port.voice_frames() == 7
        assert call.truncations() == [("item_1", 140)]
        assert call.buffer_events() == [("started", "resp_1"), ("cleared", "resp_1")]
        await call.session.say(audio_done(), done(status="cancelled"))
        call.leg.port.tick(2)
        assert call.buffer_events() == [("started", "resp_1"), ("cleared", "resp_1")]


async def test_speech_when_the_item_is_finished_and_the_response_open() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 50), audio_done())
        call.leg.port.tick(3)
        await call.session.say(SPEECH, done(status="cancelled"))
        call.leg.port.tick(2)
        assert call.truncations() == [("item_1", 60)]
        assert call.buffer_events()[-1] == ("cleared", "resp_1")


async def test_speech_when_the_response_is_done_and_still_playing() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 50), audio_done(), done())
        call.leg.port.tick(3)
        await call.session.say(SPEECH)
        call.leg.port.tick(2)
        assert call.truncations() == [("item_1", 60)]
        assert call.leg.port.voice_frames() == 3
        assert "response.cancel" not in call.session.types()


async def test_speech_when_nothing_plays_changes_nothing() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE), audio_done(), done())
        call.leg.port.tick(3)
        before = call.buffer_events()
        await call.session.say(SPEECH)
        assert call.truncations() == []
        assert call.buffer_events() == before
        await call.session.say(created("resp_2"), delta(VOICE, "resp_2", "item_2"))
        call.leg.port.tick()
        assert call.leg.port.voice_frames() == 2


async def test_a_session_may_say_that_speech_does_not_interrupt() -> None:
    vad = {"type": "server_vad", "interrupt_response": False}
    session = {"type": "realtime", "audio": {"input": {"turn_detection": vad}}}
    async with line(policy=CallPolicy(session=session)) as call:
        await call.session.say(created(), delta(VOICE * 10), SPEECH)
        call.leg.port.tick(10)
        assert call.leg.port.voice_frames() == 10
        assert call.truncations() == []


async def test_a_session_may_change_its_mind_about_interruptions() -> None:
    vad = {"type": "server_vad", "interrupt_response": False}
    updated = {"type": "session.updated", "session": {"audio": {"input": {"turn_detection": vad}}}}
    async with line() as call:
        await call.session.say(updated, created(), delta(VOICE * 10), SPEECH)
        call.leg.port.tick(10)
        assert call.leg.port.voice_frames() == 10
        updated["session"] = {}
        await call.session.say(updated, delta(VOICE * 10), SPEECH)
        call.leg.port.tick(10)
        assert call.leg.port.voice_frames() == 10


async def test_a_client_clears_the_playout() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 10))
        call.leg.port.tick(4)
        call.call.control({"type": "output_audio_buffer.clear"})
        call.leg.port.tick(4)
        assert call.leg.port.voice_frames() == 4
        assert call.truncations() == [("item_1", 80)]
        assert "output_audio_buffer.clear" not in call.session.types()


async def test_what_was_queued_behind_the_voice_is_truncated_too() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 5), audio_done())
        await call.session.say(delta(VOICE * 5, item="item_2"))
        call.leg.port.tick(2)
        await call.session.say(SPEECH)
        assert call.truncations() == [("item_1", 40), ("item_2", 0)]


async def test_the_resamplers_tail_goes_too() -> None:
    pcm = {"type": "audio/pcm", "rate": 24000}
    session = {"type": "realtime", "audio": {"output": {"format": pcm}}}
    loud = b"\x00\x40" * 4800
    async with line(policy=CallPolicy(session=session)) as call:
        await call.session.say(created(), delta(loud))
        call.leg.port.tick(2)
        await call.session.say(SPEECH, created("resp_2"))
        quiet = b"\x00\x00" * 4800
        await call.session.say(delta(quiet, "resp_2", "item_2"))
        call.leg.port.tick(9)
        assert set(b"".join(call.leg.port.sent[2:])) == {0xFF}


async def test_200_interruptions_at_random_moments() -> None:
    """No voice after the clear, and what the server is told is what was sent, to the frame."""
    rng = random.Random(7)
    async with line() as call:
        port = call.leg.port
        for turn in range(200):
            response, item = f"resp_{turn}", f"item_{turn}"
            before = port.voice_frames()
            await call.session.say(created(response))
            chunks = rng.randint(1, 6)
            finished = rng.random() < 0.5
            generated = False
            for chunk in range(chunks):
                size = rng.choice([1600, 800, 1601, 333])
                await call.session.say(delta((VOICE * 20)[:size], response, item))
                if chunk < chunks - 1:
                    port.tick(rng.randint(0, 4))
            if finished:
                await call.session.say(audio_done(response, item))
                generated = rng.random() < 0.5
                if generated:
                    await call.session.say(done(response))
            port.tick(rng.randint(0, 12))
            heard = port.voice_frames() - before
            truncated = len(call.truncations())
            await call.session.say(SPEECH)
            for _ in range(0 if generated else rng.randint(0, 3)):
                await call.session.say(delta(VOICE * 10, response, item))
            port.tick(3)
            assert port.voice_frames() - before == heard
            if len(call.truncations()) > truncated:
                told_item, told_ms = call.truncations()[-1]
                assert told_item == item
                assert heard * 20 - 20 < told_ms <= heard * 20
            await call.session.say(done(response, "cancelled"))


# Digits.


async def test_digits_are_events_at_once_and_text_when_the_line_ends() -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        for digit in "12":
            call.leg.emit(DtmfIn(digit, 1_700_000_000))
        assert [event for event in call.seen if "dtmf" in event["type"]] == [
            {
                "type": "input_audio_buffer.dtmf_event_received",
                "event": digit,
                "received_at": 1_700_000_000,
            }
            for digit in "12"
        ]
        assert call.session.types() == []
        call.leg.emit(DtmfIn("#", 1_700_000_001))
        assert call.session.types() == ["conversation.item.create", "response.create"]
        assert call.session.sent[0]["item"]["content"][0]["text"] == "DTMF 12#"


async def test_digits_wait_for_a_response_in_progress_to_end() -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        await call.session.say(created(), delta(VOICE * 50))
        call.leg.port.tick(2)
        call.leg.emit(DtmfIn("5", 1))
        assert call.session.types() == ["response.cancel", "conversation.item.truncate"]
        call.leg.port.tick(2)
        assert call.leg.port.voice_frames() == 2
        call.leg.emit(DtmfIn("#", 2))
        assert call.session.types()[2:] == ["conversation.item.create"]
        await call.session.say(done(status="cancelled"))
        assert call.session.types()[3:] == ["response.create"]


async def test_a_key_before_the_greeting_begins_takes_its_place() -> None:
    async with line() as call:
        call.leg.emit(DtmfIn("5", 1))
        call.leg.emit(DtmfIn("#", 1))
        assert call.session.types() == ["response.create", "conversation.item.create"]
        await call.session.say(created())
        assert call.session.types()[-1] == "response.cancel"
        assert call.session.sent[-1]["response_id"] == "resp_1"
        await call.session.say(delta(VOICE * 5), done(status="cancelled"))
        assert call.session.types()[-1] == "response.create"
        await call.session.say(created("resp_2"), delta(VOICE, "resp_2", "item_2"))
        call.leg.port.tick(6)
        assert call.leg.port.voice_frames() == 1


@pytest.mark.parametrize("keys", ["#", "12#"])
async def test_the_answer_to_digits_is_heard(keys: str) -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 50), audio_done(), done())
        call.leg.port.tick(3)
        for key in keys:
            call.leg.emit(DtmfIn(key, 1))
        call.leg.port.tick(2)
        assert call.session.types()[-1] == "response.create"
        await call.session.say(created("resp_2"), delta(VOICE * 2, "resp_2", "item_2"))
        call.leg.port.tick(4)
        assert call.leg.port.voice_frames() == 5
        assert "response.cancel" not in call.session.types()


@pytest.mark.parametrize(
    "said",
    [
        {"code": "conversation_already_has_active_response"},
        {"code": "response_already_active"},
        {"type": "conversation_already_has_active_response"},
    ],
)
async def test_digits_are_answered_although_the_server_had_begun_to_speak_by_itself(
    said: dict[str, str],
) -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        call.leg.emit(DtmfIn("#", 1))
        asked = call.session.sent[-1]
        busy = {**said, "event_id": asked["event_id"]}
        await call.session.say(created("resp_x"), {"type": "error", "error": busy})
        assert call.session.types().count("response.create") == 1
        await call.session.say(done("resp_x"))
        assert call.session.types().count("response.create") == 2


async def test_a_request_that_fails_does_not_block_the_next() -> None:
    async with line() as call:
        error = {"code": "invalid_value", "event_id": call.session.sent[-1]["event_id"]}
        await call.session.say({"type": "error", "error": error})
        call.leg.emit(DtmfIn("#", 1))
        assert call.session.types().count("response.create") == 2


async def test_speech_sends_the_digits_and_is_answered_itself() -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        call.leg.emit(DtmfIn("5", 1))
        await call.session.say(SPEECH)
        assert call.session.types() == ["conversation.item.create"]


async def test_digits_kept_from_the_model() -> None:
    async with line(policy=CallPolicy(greet=False, digits_to_model=False)) as call:
        await call.session.say(created(), delta(VOICE * 5))
        call.leg.port.tick()
        call.leg.emit(DtmfIn("#", 1))
        call.leg.port.tick(4)
        assert call.session.types() == []
        assert call.leg.port.voice_frames() == 5
        assert any("dtmf" in event["type"] for event in call.seen)


# Ends.


async def test_the_record_says_how_it_went() -> None:
    async with line() as call:
        await call.session.say(created(), delta(VOICE * 50))
        call.leg.port.tick(3)
        await call.session.say(SPEECH)
        call.leg.emit(DtmfIn("1", 1))
        call.session.dropped_appends = 7
    record = await record_of(call)
    assert record["appends_dropped"] == 7
    assert record["reason"] == "remote_bye"
    assert (record["turns"], record["bargeins"], record["dtmf_count"]) == (1, 1, 1)
    assert (record["codec"], record["leg"], record["direction"]) == ("pcmu", "sip", "inbound")
    assert record["rtp_sent"] == 3
    assert call.leg.done[-1] == "close"
    assert call.session.closed


async def test_a_backend_that_refuses_rejects_the_caller() -> None:
    async with line(backend=FakeBackend(error="handshake answered 401"), answered=False) as call:
        record = await record_of(call)
    assert ("reject", 503, None) in call.leg.done
    assert (record["reason"], record["sip_status"]) == ("backend_unavailable", 503)


async def test_a_caller_who_gives_up_while_the_backend_is_dialled() -> None:
    async with line(backend=FakeBackend(hang=True), answered=False) as call:
        call.leg.emit(LegEnded("cancelled", 487))
        record = await record_of(call)
    assert (record["reason"], record["sip_status"]) == ("cancelled", 487)


async def test_a_leg_without_a_port_is_rejected() -> None:
    leg = FakeLeg(answer_error=LegError(503, "no_media_port"))
    async with line(leg=leg, answered=False) as call:
        record = await record_of(call)
    assert ("reject", 503, None) in leg.done
    assert record["reason"] == "no_media_port"
    assert call.session.closed


async def test_a_session_that_cannot_be_had_again_hangs_up() -> None:
    policy = CallPolicy(continuity=ContinuityPolicy(give_up_s=0.05))
    async with line(policy=policy) as call:
        call.backend.fail("handshake answered 503")
        await call.session.lose()
        record = await record_of(call)
    assert record["reason"] == "session_lost"
    assert "hang_up" in call.leg.done


async def test_garbage_from_the_server_costs_a_log_line() -> None:
    async with line() as call:
        for message in (b"", b"{", b"[]", b'{"type":1}', b"\xff\xfe", b'{"a":' * 5000):
            await call.session.raw(message)
        await call.session.raw(b'{"type": "response.output_audio.delta", "delta": "!", "x": 1}')
        await call.session.say(created(), delta(VOICE))
        call.leg.port.tick()
        assert call.leg.port.voice_frames() == 1


async def test_a_delta_in_an_unusual_shape_is_understood() -> None:
    async with line() as call:
        event = delta(VOICE)
        spaced = json.dumps(dict(reversed(event.items())), indent=1)
        await call.session.raw(spaced.encode())
        call.leg.port.tick()
        assert call.leg.port.sent == [VOICE]


async def test_an_error_inside_the_call_ends_it_with_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with line() as call:

        def broken(*_: object) -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(call.leg.port.playout, "push", broken)
        await call.session.say(created(), delta(VOICE))
        record = await record_of(call)
    assert record["reason"] == "internal_error"
    assert "hang_up" in call.leg.done


async def test_a_format_that_cannot_be_served_is_known_before_the_caller_is_answered() -> None:
    effective = {"audio": {"output": {"format": {"type": "audio/opus"}}}}
    async with line(backend=FakeBackend(effective=effective), answered=False) as call:
        record = await record_of(call)
    assert (record["reason"], record["sip_status"]) == ("backend_format", 503)
    assert "answer" not in call.leg.done


async def test_a_server_that_says_nothing_of_formats_got_what_was_asked_for() -> None:
    pcm = {"type": "audio/pcm", "rate": 24000}
    session = {"type": "realtime", "audio": {"input": {"format": pcm}}}
    backend = FakeBackend(effective={})
    async with line(backend=backend, policy=CallPolicy(session=session)) as call:
        assert call.leg.port.sink is not None
        for _ in range(5):
            call.leg.port.sink(VOICE)
        assert len(call.session.audio) > 4 * 960


async def test_a_leg_that_cannot_even_be_hung_up_still_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with line() as call:

        def broken() -> None:
            raise ValueError("a defect")

        monkeypatch.setattr(call.leg, "hang_up", broken)
        call.call.hang_up("drain")
        record = await record_of(call)
    assert record["reason"] == "drain"
    assert call.session.closed


async def test_broken_media_ends_the_call() -> None:
    async with line() as call:
        call.leg.emit(LegBroken(RuntimeError("a defect")))
        record = await record_of(call)
    assert record["reason"] == "internal_error"
    assert "hang_up" in call.leg.done


async def test_a_refusal_ends_at_once() -> None:
    leg, backend = FakeLeg(), FakeBackend()
    machine = CallMachine(CallPolicy(), new_event_id=str, refusal=Refusal(503, "full", 10))
    call = Call(
        "rtc_2", leg, machine, Sources(backend), structlog.get_logger(), Sounds(), FakeOthers()
    )
    record = await asyncio.wait_for(call.run(), 1)
    assert leg.done == [("reject", 503, 10), "close"]
    assert (record["reason"], record["sip_status"]) == ("full", 503)
    assert backend.asked == []


async def test_a_response_whose_end_was_never_told_does_not_deafen_the_call() -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        await call.session.say(created(), delta(VOICE * 3), audio_done())  # and no response.done
        for key in "1#":
            call.leg.emit(DtmfIn(key, 1))
        (cancel,) = [one for one in call.session.sent if one["type"] == "response.cancel"]
        error = {"code": "response_cancel_not_active", "event_id": cancel["event_id"]}
        await call.session.say({"type": "error", "error": error})
        assert call.session.types()[-1] == "response.create"
        assert "error" not in call.control.types()  # nobody but us asked
        (ended,) = [event for event in call.seen if event["type"] == "response.done"]
        assert (ended["response"]["id"], ended["response"]["status"]) == ("resp_1", "cancelled")


async def test_an_end_that_crosses_our_cancel_is_told_once() -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        await call.session.say(created(), delta(VOICE * 3), audio_done())
        call.leg.emit(DtmfIn("1", 1))
        (cancel,) = [one for one in call.session.sent if one["type"] == "response.cancel"]
        error = {"code": "response_cancel_not_active", "event_id": cancel["event_id"]}
        await call.session.say(done(), {"type": "error", "error": error})
        assert call.control.types().count("response.done") == 1
        assert "error" not in call.control.types()


async def test_a_server_that_cannot_cancel_goes_on_until_it_says_so() -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        await call.session.say(created(), delta(VOICE * 3))
        call.leg.emit(DtmfIn("1", 1))
        (cancel,) = [one for one in call.session.sent if one["type"] == "response.cancel"]
        error = {"code": "unknown_event", "event_id": cancel["event_id"]}
        await call.session.say({"type": "error", "error": error})
        assert "response.done" not in call.control.types()
        await call.session.say(done())
        assert call.control.types().count("response.done") == 1


@pytest.mark.parametrize("cancels", [True, False])
async def test_we_cancel_for_a_server_that_does_not(cancels: bool) -> None:
    async with line(backend=FakeBackend(cancels=cancels)) as call:
        await call.session.say(created(), delta(VOICE * 5))
        call.leg.port.tick(2)
        await call.session.say(SPEECH)
        assert call.session.types().count("response.cancel") == cancels
        assert call.truncations() == [("item_1", 40)]


@pytest.mark.parametrize(("sip_call_id", "shown"), [("c" * 300, "c" * 256), ("", None)])
async def test_a_call_is_logged_by_the_same_call_id_from_its_beginning_to_its_end(
    sip_call_id: str, shown: str | None
) -> None:
    leg = FakeLeg()
    leg.sip_call_id = sip_call_id
    with capture_logs() as logs:
        async with line(leg=leg):
            pass
    (begun,) = [entry for entry in logs if entry["event"] == "call.incoming"]
    (ended,) = [entry for entry in logs if entry["event"] == "call.ended"]
    assert begun.get("sip_call_id") == ended["sip_call_id"] == shown
