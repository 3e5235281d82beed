"""Input transcription, and sessions that do nothing else."""

from typing import Any

import pytest

from gateway.backend.config import Pacing
from gateway.backend.dialogue import Spoke
from gateway.backend.transcription import Heard, spoke
from tests.backend.virtual import Event, VirtualClient, types

pytestmark = pytest.mark.pure

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
TRANSCRIPT = [DELTA, COMPLETED]
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]
WHISPER = {"transcription": {"model": "whisper-1"}}
PCMU = {"format": {"type": "audio/pcmu"}}


def transcribing(**session: Any) -> VirtualClient:
    return VirtualClient(session={"audio": {"input": WHISPER | PCMU}, **session})


def transcriber(**options: Any) -> VirtualClient:
    """The client of a transcription session."""
    client = VirtualClient(kind="transcription", **options)
    audio = {"input": PCMU}
    client.send("session.update", session={"type": "transcription", "audio": audio})
    return client


def completed(client: VirtualClient) -> list[tuple[str, str]]:
    return [(event["item_id"], event["transcript"]) for event in client.of(COMPLETED)]


def error_of(events: list[Event]) -> Event:
    assert types(events) == ["error"]
    error: Event = events[0]["error"]
    return error


def test_a_turn_is_described_in_the_middle_of_the_answer() -> None:
    client = transcribing()
    item = client.speak_turn(2112)[-2]["item"]
    assert item["content"] == [{"type": "input_audio", "transcript": None}]
    client.until_done()
    kinds = [event["type"] for event in client.log]
    assert kinds.index("response.created") < kinds.index(DELTA) < kinds.index("response.done")
    (delta,), (done,) = client.of(DELTA), client.of(COMPLETED)
    assert kinds.index(DELTA) + 1 == kinds.index(COMPLETED)
    for event in (delta, done):
        assert (event["item_id"], event["content_index"]) == (item["id"], 0)
    assert delta["delta"] == done["transcript"] == "[speech, 2.1 s]"
    length_ms = 2112 + 512
    assert done["usage"] == {"type": "duration", "seconds": length_ms / 1000}
    (retrieved,) = client.send("conversation.item.retrieve", item_id=item["id"])
    assert retrieved["item"]["content"][0]["transcript"] == "[speech, 2.1 s]"


def test_what_a_client_commits_is_audio_and_an_idle_timeout_is_silence() -> None:
    client = transcribing()
    client.append(bytes(8 * 3000))
    client.send("input_audio_buffer.commit")
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    client.update({"audio": {"input": {"turn_detection": vad}}})
    client.respond()
    client.hear(0.0, 20_000)
    heard = [text for _, text in completed(client)]
    assert heard[:2] == ["[audio, 3.0 s]", "[silence, 5.0 s]"]


def test_transcripts_keep_the_order_of_the_items() -> None:
    delays = iter([1.0, 0.0])  # the first takes longer
    client = VirtualClient(pacing=Pacing(200, 400, 4), random=lambda: next(delays))
    client.update({"audio": {"input": WHISPER | PCMU}})
    for length_ms in (500, 700):
        client.append(bytes(8 * length_ms))
        client.send("input_audio_buffer.commit")
    assert client.advance(0.59) == []
    client.advance(0.02)
    assert [text for _, text in completed(client)] == ["[audio, 0.5 s]", "[audio, 0.7 s]"]


def test_a_deleted_item_has_no_transcript() -> None:
    client = transcribing()
    client.append(bytes(8 * 500))
    added = client.send("input_audio_buffer.commit")[1]
    client.send("conversation.item.delete", item_id=added["item"]["id"])
    assert client.advance(5.0) == []


def test_without_transcription_there_is_none() -> None:
    client = transcribing()
    client.update({"audio": {"input": {"transcription": None}}})
    client.speak_turn()
    client.until_done()
    client.advance(5.0)
    assert completed(client) == []


def test_the_transcript_is_no_input_of_the_model() -> None:
    client = transcribing()
    client.speak_turn(992)
    client.until_done()
    inputs = client.done()["usage"]["input_token_details"]
    assert inputs["text_tokens"] == 0
    assert inputs["audio_tokens"] == (992 + 512) // 100


def test_descriptions_can_be_read_back() -> None:
    for ms in (0, 100, 2100, 60_000):
        assert spoke(Heard("speech", ms).described()) == Spoke(ms)
        assert spoke(Heard("audio", ms).described()) == Spoke(ms)
    for text in ("[silence, 5.0 s]", "speech, 2.1 s", "[speech, 2.1 s] and more", "[speech, x s]"):
        assert spoke(text) is None


# Transcription sessions.


def test_a_transcription_session_shows_what_it_is() -> None:
    client = VirtualClient(kind="transcription")
    session = client.log[0]["session"]
    assert session["type"] == "transcription"
    assert session["object"] == "realtime.transcription_session"
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert "output" not in session["audio"]
    assert "model" not in session


def test_it_transcribes_turns_and_never_responds() -> None:
    client = transcriber()
    for speech_ms in (992, 2016):
        assert types(client.speak_turn(speech_ms)) == TURN
        assert types(client.advance(1.0)) == TRANSCRIPT
    assert [text for _, text in completed(client)] == ["[speech, 1.0 s]", "[speech, 2.0 s]"]
    assert client.advance(300.0) == []


def test_it_transcribes_what_is_committed() -> None:
    client = transcriber()
    vad = {"input": {"turn_detection": None}}
    client.send("session.update", session={"type": "transcription", "audio": vad})
    client.append(bytes(8 * 1500))
    client.send("input_audio_buffer.commit")
    assert types(client.advance(1.0)) == TRANSCRIPT
    assert completed(client)[0][1] == "[audio, 1.5 s]"


def test_it_makes_no_responses() -> None:
    client = transcriber()
    error = error_of(client.send("response.create", event_id="mine"))
    assert (error["code"], error["param"]) == ("invalid_value", "type")
    assert error["event_id"] == "mine"
    assert error_of(client.send("response.cancel"))["code"] == "response_cancel_not_active"


def test_a_session_stays_of_its_kind() -> None:
    error = error_of(transcriber().update({"instructions": "Speak."}))
    assert (error["code"], error["param"]) == ("invalid_value", "session.type")
    update = {"type": "transcription", "audio": {"input": WHISPER}}
    error = error_of(VirtualClient().send("session.update", session=update))
    assert (error["code"], error["param"]) == ("invalid_value", "session.type")
    update = {"type": "transcription", "instructions": "Speak."}
    error = error_of(transcriber().send("session.update", session=update))
    assert (error["code"], error["param"]) == ("unknown_parameter", "session.instructions")


def test_it_expires() -> None:
    client = transcriber(limit_s=20.0)
    error = error_of(client.advance(21.0))
    assert error["code"] == "session_expired"
    assert error["message"] == "Your session hit the maximum duration of 20 seconds."
