"""A call whose session expires or is lost: what caller, clients and the next session notice."""

import asyncio
import base64
from typing import Any

import numpy as np
import pytest

from gateway.audio.comfort import TONE, Prompt
from gateway.audio.formats import PCM24K, PCMU
from gateway.calls import continuity
from gateway.calls.continuity import ContinuityPolicy
from gateway.calls.policy import CallPolicy
from gateway.calls.sessions import Sources
from gateway.calls.sounds import Sounds
from gateway.legs.leg import DtmfIn
from gateway.upstream.errors import BackendError
from tests.calls.fakes import SILENCE, FakeBackend, FakeSession, settle
from tests.calls.line import SPEECH, VOICE, Line, audio_done, created, delta, done, line, record_of

pytestmark = pytest.mark.loop

STOPPED = {"type": "input_audio_buffer.speech_stopped", "item_id": "item_u", "audio_end_ms": 900}
COMMITTED = {
    "type": "input_audio_buffer.committed",
    "item_id": "item_u",
    "previous_item_id": None,
}
LIVES_S = 0.6
QUIET = CallPolicy(greet=False)


@pytest.fixture(autouse=True)
def no_time_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/calls/test_continuity.py` has the times as they are."""
    monkeypatch.setattr(continuity, "_SHORTEST_S", LIVES_S)
    monkeypatch.setattr(continuity, "_PAUSES_S", (0.0, 0.05))


def message(item_id: str, role: str, **part: Any) -> dict[str, Any]:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": "completed",
        "content": [part] if part else [],
    }


def added(item: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = ("conversation.item.added", "conversation.item.done")
    return [{"type": kind, "item": item, "previous_item_id": None} for kind in kinds]


def transcript(text: str, item: str = "item_1") -> dict[str, Any]:
    place = {"response_id": "resp_1", "item_id": item, "output_index": 0, "content_index": 0}
    return {"type": "response.output_audio_transcript.delta", "delta": text, **place}


def half_an_answer() -> list[dict[str, Any]]:
    """The caller spoke, and the model is in the middle of its answer."""
    return [
        SPEECH,
        STOPPED,
        COMMITTED,
        *added(message("item_u", "user", type="input_audio", transcript=None)),
        created(),
        *added(message("item_1", "assistant"))[:1],
        transcript("Twenty words of which the last are not heard by anybody"),
        delta(VOICE * 100),
    ]


def a_whole_answer() -> list[dict[str, Any]]:
    return [*half_an_answer(), audio_done(), done()]


def told(session: FakeSession) -> dict[str, dict[str, Any]]:
    """The items that a session was told, by their ids."""
    return {
        event["item"]["id"]: event["item"]
        for event in session.sent
        if event["type"] == "conversation.item.create"
    }


async def lose(call: Line) -> FakeSession:
    """Lose the session; returns the one that took over."""
    before = len(call.backend.sessions)
    await call.session.lose()
    await call.backend.opened(before + 1)
    return call.session


async def test_a_session_is_replaced_before_its_limit_and_nobody_notices() -> None:
    backend = FakeBackend()
    backend.lives_s = LIVES_S
    async with line(backend=backend, policy=QUIET) as call:
        await call.session.say(*a_whole_answer())
        first = call.session
        call.leg.port.tick(40)
        backend.lives_s = None
        await backend.opened(2)
        assert first.closed
        # The rest of the answer is still heard, frame by frame.
        call.leg.port.tick(70)
        assert call.leg.port.voice_frames() == 100
        assert SILENCE not in call.leg.port.sent[:100]
        assert call.buffer_events() == [("started", "resp_1"), ("stopped", "resp_1")]
        assert call.leg.port.sink is not None
        call.leg.port.sink(VOICE)
        assert (first.audio, call.session.audio) == (b"", VOICE)
        assert [kind for kind in call.control.types() if kind.startswith("session.")] == [
            "session.updated"
        ]
        assert not call.control.closed
    record = await record_of(call)
    assert (record["handovers"], record["session_losses"], record["outage_s"]) == (1, 0, 0)


async def test_the_next_session_is_configured_as_the_one_before_and_knows_what_was_said() -> None:
    backend = FakeBackend()
    async with line(backend=backend, policy=QUIET) as call:
        update = {"type": "realtime", "instructions": "be brief"}
        call.call.control({"type": "session.update", "session": update, "event_id": "mine"})
        await call.session.say({"type": "session.updated", "session": {}})
        await call.session.say(*a_whole_answer())
        call.leg.port.tick(100)
        session = await lose(call)
        assert backend.asked[-1]["instructions"] == "be brief"
        items = told(session)
        assert list(items) == ["item_u", "item_1"]
        assert items["item_1"]["content"] == [
            {
                "type": "output_text",
                "text": "Twenty words of which the last are not heard by anybody",
            }
        ]
        assert "response.create" not in session.types()  # it had been answered


async def test_a_response_that_is_lost_in_mid_sentence_is_over_and_asked_for_anew() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*half_an_answer())
        call.leg.port.tick(10)
        session = await lose(call)
        ended = [event for event in call.seen if event["type"] == "response.done"]
        assert [event["response"]["status"] for event in ended] == ["failed"]
        assert ended[0]["response"]["status_details"]["error"]["code"] == "session_lost"
        assert list(told(session)) == ["item_u", "item_1"]
        assert session.types()[-1] == "response.create"
        call.leg.port.tick(95)
        assert call.leg.port.voice_frames() == 100  # what had come is heard
        await session.say(created("resp_2"), delta(VOICE, "resp_2", "item_2"))
        call.leg.port.tick()
        assert call.leg.port.voice_frames() == 101


async def test_an_answer_that_was_interrupted_is_not_asked_for_again() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*half_an_answer())
        call.leg.port.tick(10)
        await call.session.say(SPEECH)
        session = await lose(call)
        assert "response.create" not in session.types()


async def test_only_what_was_heard_of_an_interrupted_answer_is_told() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*a_whole_answer())
        call.leg.port.tick(50)
        await call.session.say(SPEECH)
        session = await lose(call)
        assert told(session)["item_1"]["content"][0]["text"] == "Twenty words of which the"


async def test_an_interruption_after_the_handover_corrects_what_was_told() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*a_whole_answer())
        call.leg.port.tick(50)
        session = await lose(call)
        echo = told(session)["item_1"]
        await session.say(*added(echo))
        session.sent.clear()
        await session.say(SPEECH)
        kinds = ["conversation.item.delete", "conversation.item.create"]
        assert session.types() == kinds
        assert told(session)["item_1"]["content"][0]["text"] == "Twenty words of which the"
        await session.say({"type": "conversation.item.deleted", "item_id": "item_1"})
        await session.say(*added(told(session)["item_1"]))
        seen = [kind for kind in call.control.types() if kind.startswith("conversation.item.")]
        # What the first session said, and the cut; no word of how it came about.
        assert seen == [
            *("conversation.item.added", "conversation.item.done", "conversation.item.added"),
            "conversation.item.truncated",
        ]
        (cut,) = [event for event in call.seen if event["type"] == "conversation.item.truncated"]
        assert (cut["item_id"], cut["audio_end_ms"]) == ("item_1", 1000)


async def test_what_the_next_session_cannot_take_is_not_told_to_the_clients() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*a_whole_answer())
        session = await lose(call)
        refused = {"type": "invalid_request_error", "message": "no", "code": None, "param": None}
        for event in list(session.sent):
            error = refused | {"event_id": event["event_id"]}
            await session.say({"type": "error", "error": error})
        assert "error" not in call.control.types()
        await session.say({"type": "error", "error": refused | {"event_id": None}})
        assert "error" in call.control.types()


async def test_a_turn_without_words_is_told_by_its_sound() -> None:
    async with line(policy=QUIET) as call:
        assert call.leg.port.sink is not None
        spoken = [bytes([number + 1]) * 160 for number in range(30)]
        call.leg.port.sink(spoken[0])
        await call.session.say(SPEECH)
        for frame in spoken[1:]:
            call.leg.port.sink(frame)
        await call.session.say(STOPPED, COMMITTED)
        user = message("item_u", "user", type="input_audio", transcript=None)
        await call.session.say(*added(user))
        session = await lose(call)
        (part,) = told(session)["item_u"]["content"]
        assert part["type"] == "input_audio"
        assert base64.b64decode(part["audio"]) == b"".join(spoken)
        assert session.types() == ["conversation.item.create", "response.create"]


async def test_a_turn_that_was_written_down_is_told_in_words() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(SPEECH, STOPPED, COMMITTED)
        await call.session.say(
            *added(message("item_u", "user", type="input_audio", transcript=None))
        )
        await call.session.say(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": "item_u",
                "content_index": 0,
                "transcript": "Where is my parcel?",
            }
        )
        session = await lose(call)
        assert told(session)["item_u"]["content"] == [
            {"type": "input_text", "text": "Where is my parcel?"}
        ]


async def test_a_turn_in_progress_is_heard_by_the_next_session_from_its_beginning() -> None:
    async with line(policy=QUIET) as call:
        sink = call.leg.port.sink
        assert sink is not None
        frames = [bytes([number + 1]) * 160 for number in range(40)]
        for frame in frames[:20]:
            sink(frame)
        await call.session.say(SPEECH)
        for frame in frames[20:]:
            sink(frame)
        session = await lose(call)
        appended = [event for event in session.sent if event["type"].endswith(".append")]
        audio = b"".join(base64.b64decode(event["audio"]) for event in appended)
        assert audio == b"".join(frames)
        assert "response.create" not in session.types()


async def test_what_is_said_while_there_is_no_session_is_heard_by_the_next() -> None:
    backend = FakeBackend()
    async with line(backend=backend, policy=QUIET) as call:
        backend.fail("handshake answered 503")
        await call.session.lose()
        await settle()
        assert call.leg.port.sink is not None
        call.leg.port.sink(VOICE)
        backend.fail()
        await backend.opened(2)
        (append,) = call.session.sent
        assert base64.b64decode(append["audio"]) == VOICE


async def test_a_comfort_sound_is_heard_while_there_is_no_session() -> None:
    backend = FakeBackend()
    async with line(backend=backend, policy=QUIET) as call:
        await call.session.say(created(), delta(VOICE), audio_done(), done())
        backend.fail("handshake answered 503")
        await call.session.lose()
        await settle()
        call.leg.port.tick(10)
        comfort = TONE.in_format(PCMU)
        assert b"".join(call.leg.port.sent) == VOICE + comfort[: 9 * 160]
        backend.fail()
        await backend.opened(2)
        call.leg.port.tick()
        assert call.leg.port.sent[-1] == SILENCE


async def test_clients_may_go_on_while_there_is_no_session() -> None:
    backend = FakeBackend()
    async with line(backend=backend, policy=QUIET) as call:
        await call.session.say(*a_whole_answer())
        call.leg.port.tick(50)
        backend.fail("handshake answered 503")
        await call.session.lose()
        item = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
        call.call.control({"type": "conversation.item.create", "item": item})
        call.call.control({"type": "input_audio_buffer.append", "audio": ""})
        call.call.control({"type": "response.create"})
        call.leg.emit(DtmfIn("5", 1))
        call.leg.emit(DtmfIn("#", 1))
        assert await call.call.joined(0.1)
        backend.fail()
        await backend.opened(2)
        assert call.session.types() == [
            *("conversation.item.create", "conversation.item.create"),  # retold
            *("conversation.item.create", "response.create"),  # of the client
            *("conversation.item.create", "response.create"),  # the keys
        ]
        assert not call.control.closed


async def test_a_function_call_in_flight_is_kept() -> None:
    async with line(policy=QUIET) as call:
        asked = {
            "id": "item_f",
            "object": "realtime.item",
            "type": "function_call",
            "status": "completed",
            "name": "find_parcel",
            "call_id": "call_1",
            "arguments": '{"number":7}',
        }
        await call.session.say(created())
        await call.session.say(*added(asked))
        place = {"response_id": "resp_1", "output_index": 0, "item": asked}
        await call.session.say({"type": "response.output_item.done", **place}, done())
        session = await lose(call)
        assert told(session)["item_f"]["call_id"] == "call_1"
        assert "response.create" not in session.types()  # the application will ask


async def test_the_fallback_takes_over_and_speaks_another_format() -> None:
    backend, fallback = FakeBackend(), FakeBackend(effective={"audio": _PCM})
    policy = CallPolicy(greet=False, continuity=ContinuityPolicy(has_fallback=True))
    async with line(backend=backend, policy=policy, sources=Sources(backend, fallback)) as call:
        await call.session.say(created(), delta(VOICE * 3))
        backend.fail(BackendError("handshake answered 503", status=503))
        await call.session.lose()
        await fallback.opened(1)
        (session,) = fallback.sessions
        assert session.input_format == PCM24K
        assert call.leg.port.sink is not None
        call.leg.port.sink(SILENCE)
        assert len(session.audio) == pytest.approx(960, abs=200)
        samples = (b"\x00\x10" * 480) * 10
        await session.say(created("resp_2"), delta(samples, "resp_2", "item_2"))
        call.leg.port.tick(12)
        assert call.leg.port.voice_frames() >= 3 + 9


_PCM = {side: {"format": PCM24K.to_session()} for side in ("input", "output")}


async def test_any_number_of_losses_leaves_one_call() -> None:
    backend = FakeBackend()
    async with line(backend=backend, policy=QUIET) as call:
        for number in range(1, 4):
            said = added(message(f"item_{number}", "user", type="input_text", text=str(number)))
            await call.session.say(*said, created(f"resp_{number}"))
            await call.session.lose()
            await backend.opened(number + 1)
            assert list(told(call.session)) == [f"item_{one + 1}" for one in range(number)]
            assert call.session.types()[-1] == "response.create"
        assert [session.closed for session in backend.sessions] == [True] * 3 + [False]
    record = await record_of(call)
    assert (record["reason"], record["session_losses"]) == ("remote_bye", 3)


async def test_what_a_key_cut_off_before_a_sound_was_never_said() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(created(), *added(message("item_1", "assistant"))[:1])
        await call.session.say(transcript("Nobody heard this"))
        call.leg.emit(DtmfIn("1", 1))
        await call.session.say(done(status="cancelled"))
        session = await lose(call)
        assert "item_1" not in told(session)


OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
MANUAL = {"audio": {"input": {"turn_detection": None}}}


async def renewed(call: Line) -> None:
    """Wait until the next session is open; the one before is not over."""
    before = len(call.backend.sessions)
    call.backend.lives_s = None
    await call.backend.opened(before + 1)


def appended(session: FakeSession) -> bytes:
    """What the session was told to hear, besides the frames of the caller."""
    appends = [one for one in session.sent if one["type"] == "input_audio_buffer.append"]
    return b"".join(base64.b64decode(one["audio"]) for one in appends)


async def test_a_clients_request_in_flight_is_made_again() -> None:
    async with line(policy=QUIET) as call:
        asked = {"type": "response.create", "event_id": "mine", "response": {"instructions": "x"}}
        call.call.control({"type": "conversation.item.create", "item": OUTPUT})
        call.call.control(asked)
        session = await lose(call)
        assert session.types() == ["conversation.item.create", "response.create"]
        assert session.sent[-1] == asked
        again = await lose(call)  # and again, until a response begins
        assert again.sent[-1] == asked
        await again.say(created("resp_9"), done("resp_9"))
        assert "response.create" not in (await lose(call)).types()


async def test_a_clients_request_that_was_refused_is_not_made_again() -> None:
    async with line(policy=QUIET) as call:
        call.call.control({"type": "response.create", "event_id": "mine"})
        await call.session.say({"type": "error", "error": {"code": "x", "event_id": "mine"}})
        assert "response.create" not in (await lose(call)).types()


async def test_keys_that_wait_for_an_answer_are_answered_by_the_next_session() -> None:
    backend = FakeBackend()
    backend.lives_s = LIVES_S
    async with line(backend=backend, policy=QUIET) as call:
        await call.session.say(*half_an_answer())
        first = call.session
        for key in "5#":
            call.leg.emit(DtmfIn(key, 1))
        assert first.types()[-1] == "conversation.item.create"  # the answer has to wait
        await renewed(call)
        async with asyncio.timeout(5):
            await first.ended.wait()  # it never got to answer
        await settle()
        second = call.session
        assert "response.create" not in first.types()
        assert second.types().count("response.create") == 1
        await second.say(created("resp_2"), done("resp_2"))
        call.leg.emit(DtmfIn("#", 1))
        assert second.types().count("response.create") == 2


async def test_a_response_that_runs_into_the_limit_is_asked_for_anew() -> None:
    backend = FakeBackend()
    backend.lives_s = LIVES_S
    async with line(backend=backend, policy=QUIET) as call:
        await call.session.say(*half_an_answer())
        first = call.session
        await renewed(call)
        assert not first.closed  # it waits for a quiet moment, but not beyond the limit
        async with asyncio.timeout(5):
            await first.ended.wait()
        await settle()
        (ended,) = [event for event in call.seen if event["type"] == "response.done"]
        assert ended["response"]["status_details"]["error"]["code"] == "session_expired"
        assert call.session.types()[-1] == "response.create"
        assert "response.create" not in first.types()


async def test_an_update_between_opening_and_joining_reaches_the_next_session() -> None:
    backend = FakeBackend()
    backend.lives_s = LIVES_S
    async with line(backend=backend, policy=QUIET) as call:
        first = call.session
        await first.say(created())
        await renewed(call)
        update = {"type": "realtime", "instructions": "new"}
        call.call.control({"type": "session.update", "session": update})
        await first.say({"type": "session.updated", "session": {}})
        await first.say(done())
        (sent,) = [one for one in call.session.sent if one["type"] == "session.update"]
        assert sent["session"]["instructions"] == "new"


async def test_the_latest_update_is_the_last_that_the_next_session_gets() -> None:
    backend = FakeBackend()
    backend.lives_s = LIVES_S
    async with line(backend=backend, policy=QUIET) as call:
        first = call.session
        await first.say(created())
        await renewed(call)
        for instructions in ("confirmed", "open"):
            update = {"type": "realtime", "instructions": instructions}
            call.call.control({"type": "session.update", "session": update})
        await first.say({"type": "session.updated", "session": {}}, done())
        updates = [one for one in call.session.sent if one["type"] == "session.update"]
        said = [one["session"]["instructions"] for one in updates]
        assert said == ["confirmed", "open"]


async def test_an_update_that_no_server_takes_does_not_end_the_call() -> None:
    backend = FakeBackend()
    async with line(backend=backend, policy=QUIET) as call:
        update = {"type": "realtime", "instructions": "bad"}
        call.call.control({"type": "session.update", "session": update})
        await call.session.say({"type": "session.updated", "session": {}})
        backend.fail(BackendError("refused", code="invalid_value", refused=True))
        await call.session.lose()
        await settle()
        backend.fail()
        await backend.opened(2)
        assert [one.get("instructions") for one in backend.asked] == [None, "bad", None]


async def test_a_turn_by_hand_is_heard_from_its_beginning() -> None:
    backend = FakeBackend(effective=MANUAL)
    async with line(backend=backend, policy=QUIET) as call:
        assert call.leg.port.sink is not None
        said = [bytes([number]) * 160 for number in range(1, 151)]
        for frame in said:
            call.leg.port.sink(frame)
        backend.fail("handshake answered 503")
        await call.session.lose()
        call.call.control({"type": "input_audio_buffer.commit"})
        call.call.control({"type": "response.create"})
        backend.fail()
        await backend.opened(2)
        assert appended(call.session) == b"".join(said)
        kinds = ["input_audio_buffer.commit", "response.create"]
        assert call.session.types()[-2:] == kinds


async def test_a_commit_in_flight_is_made_again() -> None:
    async with line(backend=FakeBackend(effective=MANUAL), policy=QUIET) as call:
        assert call.leg.port.sink is not None
        call.leg.port.sink(VOICE)
        call.call.control({"type": "input_audio_buffer.commit"})
        call.call.control({"type": "response.create"})
        session = await lose(call)
        kinds = ["input_audio_buffer.append", "input_audio_buffer.commit", "response.create"]
        assert session.types() == kinds
        await session.say(COMMITTED, created(), done())
        assert "input_audio_buffer.commit" not in (await lose(call)).types()


async def test_a_turn_that_a_client_committed_while_the_caller_spoke_is_answered() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(SPEECH, COMMITTED)
        session = await lose(call)
        assert session.types()[-1] == "response.create"


async def test_a_turn_is_answered_although_the_response_before_never_ended() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*half_an_answer())
        call.leg.port.tick(10)
        await call.session.say(SPEECH, STOPPED, COMMITTED)  # and no response.done
        session = await lose(call)
        assert session.types()[-1] == "response.create"


@pytest.mark.parametrize("asked_before", [True, False])
async def test_who_only_listens_in_does_not_keep_the_caller_from_an_answer(
    asked_before: bool,
) -> None:
    backend = FakeBackend()
    beside = {"type": "response.create", "response": {"conversation": "none"}}
    async with line(backend=backend, policy=QUIET) as call:
        if asked_before:
            call.call.control({"type": "response.create"})
        else:
            await call.session.say(SPEECH, STOPPED, COMMITTED)
        backend.fail("handshake answered 503")
        await call.session.lose()
        call.call.control(beside)
        backend.fail()
        await backend.opened(2)
        asked = [one for one in call.session.sent if one["type"] == "response.create"]
        assert len(asked) == 2 and beside in asked


async def test_a_response_beside_the_conversation_answers_no_turn() -> None:
    async with line(policy=QUIET) as call:
        assert call.leg.port.sink is not None
        await call.session.say(SPEECH)
        call.leg.port.sink(VOICE)
        await call.session.say(STOPPED)
        beside = {"id": "resp_o", "conversation_id": None}
        await call.session.say({"type": "response.created", "response": beside})
        session = await lose(call)
        assert appended(session) == VOICE


async def test_sound_that_a_server_does_not_take_is_told_in_words() -> None:
    async with line(policy=QUIET) as call:
        assert call.leg.port.sink is not None
        await call.session.say(SPEECH)
        call.leg.port.sink(VOICE)
        await call.session.say(STOPPED, COMMITTED)
        session = await lose(call)
        (told_first,) = [one for one in session.sent if one["type"] == "conversation.item.create"]
        assert told_first["item"]["content"][0]["type"] == "input_audio"
        error = {"code": "invalid_value", "event_id": told_first["event_id"]}
        await session.say({"type": "error", "error": error})
        assert "error" not in call.control.types()
        assert session.sent[-1]["item"]["content"][0]["type"] == "input_text"
        assert session.sent[-1]["previous_item_id"] == "root"
        again = error | {"event_id": session.sent[-1]["event_id"]}
        sent = len(session.sent)
        await session.say({"type": "error", "error": again})
        assert "error" not in call.control.types()
        assert len(session.sent) == sent  # no third time


async def test_responses_beside_the_conversation_end_with_their_session() -> None:
    async with line(policy=QUIET) as call:
        beside = {"id": "resp_o", "conversation_id": None, "metadata": {"topic": "x"}}
        await call.session.say({"type": "response.created", "response": beside})
        await lose(call)
        (ended,) = [event for event in call.seen if event["type"] == "response.done"]
        assert (ended["response"]["id"], ended["response"]["status"]) == ("resp_o", "failed")
        assert ended["response"]["metadata"] == {"topic": "x"}


async def test_what_a_lost_response_had_put_out_is_told() -> None:
    asked = {
        "id": "item_f",
        "type": "function_call",
        "name": "f",
        "call_id": "c",
        "arguments": "{}",
    }
    async with line(policy=QUIET) as call:
        await call.session.say(created())
        place = {"response_id": "resp_1", "output_index": 0, "item": asked}
        await call.session.say({"type": "response.output_item.done", **place})
        await lose(call)
        (ended,) = [event for event in call.seen if event["type"] == "response.done"]
        assert ended["response"]["output"] == [asked]


async def test_a_voice_is_heard_whatever_its_server_calls_its_response() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*half_an_answer(), SPEECH)
        call.leg.port.tick(10)
        session = await lose(call)
        await session.say(created(), delta(VOICE * 3))  # resp_1 again: it counts from 1
        call.leg.port.tick(3)
        assert call.leg.port.voice_frames() == 3


async def test_too_much_that_waits_for_a_session_is_refused() -> None:
    backend = FakeBackend()
    async with line(backend=backend, policy=QUIET) as call:
        backend.fail("handshake answered 503")
        await call.session.lose()
        text = {"type": "input_text", "text": "x" * 300_000}
        item = {"type": "message", "role": "user", "content": [text]}
        for number in range(4):
            assert call.call.congested == (number > 0)
            create = {"type": "conversation.item.create", "event_id": f"mine_{number}"}
            call.call.control({**create, "item": item})
        call.call.control({"type": "response.create", "response": {"instructions": "x" * 300_000}})
        refused = [event["error"] for event in call.seen if event["type"] == "error"]
        assert [error["event_id"] for error in refused] == ["mine_3", None]
        backend.fail()
        await backend.opened(2)
        assert call.session.types().count("conversation.item.create") == 3
        call.leg.emit(DtmfIn("#", 1))  # what was refused is waited for by nobody
        assert call.session.types()[-1] == "response.create"


async def test_a_session_that_comes_too_late_is_closed() -> None:
    backend = FakeBackend()
    prompt = Prompt(np.full(8000, 3000, np.int16), 8000)
    policy = CallPolicy(greet=False, continuity=ContinuityPolicy(give_up_s=0.05), has_apology=True)
    async with line(backend=backend, policy=policy, sounds=Sounds(apologises=prompt)) as call:
        gate = backend.hold()
        await call.session.lose()
        await settle()
        async with asyncio.timeout(5):
            while call.leg.port.playout.buffered_ms == 0:
                call.leg.port.tick()
                await asyncio.sleep(0.01)  # noqa: ASYNC110 - the media clock of the test
        gate.set()
        await backend.opened(2)
        assert call.session.closed
        call.leg.port.tick(60)
        record = await record_of(call)
    assert record["reason"] == "session_lost"
    assert call.leg.port.voice_frames() >= 50


async def test_a_question_in_flight_is_asked_again() -> None:
    async with line(policy=QUIET) as call:
        await call.session.say(*a_whole_answer())
        call.leg.port.tick(100)
        question = {"type": "conversation.item.retrieve", "item_id": "item_1", "event_id": "mine"}
        call.call.control(question)
        session = await lose(call)
        assert session.sent[-1] == question
        await session.say({"type": "conversation.item.retrieved", "item": {"id": "item_1"}})
        assert "conversation.item.retrieve" not in (await lose(call)).types()
