"""Sessions in virtual time: orders of events, races, errors."""

from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.backend.config import Pacing
from tests.backend.virtual import AUDIO, CLOSING, END, OPENING, TRANSCRIPT, VirtualClient, types

pytestmark = pytest.mark.pure

SAID = [TRANSCRIPT, AUDIO]
ITEM = ["conversation.item.added", "conversation.item.done"]
COMMITTED = ["input_audio_buffer.committed", *ITEM]
STARTED = "input_audio_buffer.speech_started"
STOPPED = "input_audio_buffer.speech_stopped"
PCMU_BOTH = {
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}},
        "output": {"format": {"type": "audio/pcmu"}},
    }
}


def greeted(**options: Any) -> VirtualClient:
    """A client that has heard the greeting to its end."""
    client = VirtualClient(session=PCMU_BOTH, **options)
    client.send("response.create")
    client.until_done()
    client.log.clear()
    return client


def error_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert [event["type"] for event in events] == ["error"]
    error: dict[str, Any] = events[0]["error"]
    return error


# The plain course of things.


def test_a_session_begins_with_its_full_configuration() -> None:
    client = VirtualClient()
    (created,) = client.log
    session = created["session"]
    assert created["type"] == "session.created"
    assert session["type"] == "realtime"
    assert session["object"] == "realtime.session"
    assert session["id"].startswith("sess_")
    assert session["model"] == "model-x"
    assert session["expires_at"] == 1_700_003_600
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}


def test_the_first_response_is_the_greeting_in_the_documented_order() -> None:
    client = VirtualClient(session=PCMU_BOTH)
    (created,) = client.send("response.create")
    assert created["type"] == "response.created"
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["output"] == []
    assert client.advance(0.199) == []
    events = client.until_done()
    assert types(events) == [*OPENING, *SAID, *CLOSING, *END]
    opened = events[0]["item"]
    assert opened["status"] == "in_progress"
    assert opened["content"] == []
    response = client.done()
    assert response["status"] == "completed"
    assert response["status_details"] is None
    (item,) = response["output"]
    assert item["id"] == opened["id"]
    assert item["status"] == "completed"
    greeting = "Welcome to the test. This greeting is a little longer."
    assert item["content"] == [{"type": "output_audio", "transcript": greeting}]
    audio, words = client.spoken(response["id"])
    assert words == greeting
    assert response["usage"]["output_token_details"]["audio_tokens"] == len(audio) * 20 // 8000


def test_audio_goes_out_faster_than_it_plays_in_deltas_of_200_ms_after_its_words() -> None:
    client = VirtualClient(session=PCMU_BOTH)
    client.send("response.create")
    asked_at = client.now
    client.until_done()
    deltas = [
        (event, at)
        for event, at in zip(client.log, client.heard_at, strict=True)
        if event["type"] == AUDIO
    ]
    assert deltas[0][1] == pytest.approx(asked_at + 0.2)
    assert {len(b64decode(event["delta"])) for event, _ in deltas[:-1]} == {1600}
    for (_, before), (_, after) in zip(deltas, deltas[1:], strict=False):
        assert after - before == pytest.approx(0.05)
    kinds = [event["type"] for event in client.log]
    assert kinds.index(TRANSCRIPT) < kinds.index(AUDIO)
    assert kinds.count(TRANSCRIPT) > 3


def test_jitter_delays_deltas_but_does_not_add_up() -> None:
    client = VirtualClient(session=PCMU_BOTH, pacing=Pacing(200, 40, 4), random=1.0)
    client.send("response.create")
    start = client.now
    client.until_done()
    at = [t for e, t in zip(client.log, client.heard_at, strict=True) if e["type"] == AUDIO]
    assert at[0] == pytest.approx(start + 0.24)
    assert at[-1] == pytest.approx(start + 0.24 + 0.05 * (len(at) - 1))


def test_a_spoken_turn_is_committed_and_answered() -> None:
    client = greeted()
    events = client.speak_turn(1984)
    assert types(events) == [STARTED, STOPPED, *COMMITTED, "response.created"]
    started, stopped, committed, added, done, _ = events
    item_id = started["item_id"]
    assert stopped["item_id"] == committed["item_id"] == added["item"]["id"] == item_id
    assert committed["previous_item_id"] == added["previous_item_id"] is not None
    assert done["item"] == added["item"]
    assert added["item"]["role"] == "user"
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert started["audio_start_ms"] == 0  # nothing lies before the session
    assert stopped["audio_end_ms"] == 1984 + 512
    assert types(client.until_done()) == [*OPENING, *SAID, *CLOSING, *END]
    assert client.spoken(client.done()["id"])[1] == "You spoke for about two seconds."
    assert client.done()["usage"]["input_token_details"]["audio_tokens"] > 0


def test_a_turn_counts_from_its_padding_to_the_end_of_its_silence() -> None:
    client = VirtualClient(session=PCMU_BOTH)
    client.hear(0.0, 1600)
    client.speak_turn(992)
    client.until_done()
    length_ms = (1600 + 992 + 512) - (1600 + 32 - 300)
    inputs = client.done()["usage"]["input_token_details"]
    assert inputs["audio_tokens"] == length_ms * 10 // 1000


def test_the_shell_is_told_when_there_is_something_to_drain() -> None:
    session = VirtualClient(session=PCMU_BOTH).session
    assert [session.append(bytes(64)) for _ in range(4)] == [False, False, False, True]
    assert not session.voice(0.1, 1000.0)
    assert session.voice(0.9, 1000.0)
    assert not session.voice(0.9, 1000.0)


def test_limits_of_what_a_response_is_asked_for() -> None:
    client = VirtualClient()
    for entries, letters, code in (
        (17, 1, "object_above_max_properties"),
        (1, 4097, "invalid_value"),
    ):
        wanted = {
            "metadata": {str(number): "x" for number in range(entries)},
            "instructions": "SAY: " + "x" * letters,
        }
        assert error_of(client.send("response.create", response=wanted))["code"] == code
    wanted = {
        "metadata": {str(number): "x" for number in range(16)},
        "instructions": "SAY: " + "x" * 4096,
    }
    assert types(client.send("response.create", response=wanted)) == ["response.created"]


def test_speech_start_is_moved_back_by_the_padding() -> None:
    client = greeted()
    client.hear(0.0, 1600)
    (started,) = client.hear(0.9, 32)
    assert started["audio_start_ms"] == 1632 - 300


def test_typed_text_and_keys_are_answered_when_asked() -> None:
    client = greeted()
    for text, answer in (
        ("hello", "Text."),
        ("DTMF 1", "One."),
        ("DTMF 12#", "Keys one, two, hash."),
        ("DTMF", "Text."),
        ("DTMF 1x", "Text."),
    ):
        assert types(client.text(text)) == ITEM
        client.send("response.create")
        client.until_done()
        assert client.spoken(client.done()["id"])[1] == answer


def test_without_anything_new_the_dialogue_says_so() -> None:
    client = greeted()
    client.send("response.create")
    client.until_done()
    assert client.spoken(client.done()["id"])[1] == "Nothing new."


def test_say_speaks_exactly_the_line() -> None:
    client = VirtualClient(session=PCMU_BOTH)
    line = "Exactly {keys} this. And   that!"
    client.send("response.create", response={"instructions": f"say: {line}"})
    client.until_done()
    assert client.spoken(client.done()["id"])[1] == "Exactly {keys} this. And that!"
    client.send("response.create", response={"instructions": "Be brief."})
    client.until_done()
    assert client.spoken(client.done()["id"])[1].startswith("Welcome")


@pytest.mark.parametrize("words", ["", "x" * 4097, "No. " * 201])
def test_say_has_its_bounds(words: str) -> None:
    client = VirtualClient()
    error = error_of(client.send("response.create", response={"instructions": f"say: {words}"}))
    assert (error["code"], error["param"]) == ("invalid_value", "response.instructions")
    assert "1 to 4096 characters after 'say:', in no more than 200 sentences" in error["message"]


def test_metadata_is_echoed() -> None:
    client = VirtualClient()
    (created,) = client.send("response.create", response={"metadata": {"topic": "x"}})
    assert created["response"]["metadata"] == {"topic": "x"}
    client.until_done()
    assert client.done()["metadata"] == {"topic": "x"}


@pytest.mark.parametrize("audio_format", [PCMU, PCMA, PCM24K])
def test_every_format_both_ways(audio_format: AudioFormat) -> None:
    named = {"format": audio_format.to_session()}
    client = VirtualClient()
    (updated,) = client.update({"audio": {"input": named, "output": named}})
    assert updated["type"] == "session.updated"
    assert updated["session"]["audio"]["input"]["format"] == named["format"]
    assert client.session.ear.format == audio_format
    client.send("response.create")
    client.until_done()
    assert client.done()["audio"]["output"]["format"] == named["format"]
    audio, _ = client.spoken(client.done()["id"])
    sentences = ["Welcome to the test.", "This greeting is a little longer."]
    first, second = (len(text) * client.letter_ms * audio_format.bytes_per_ms for text in sentences)
    pause = audio_format.silence(350 * audio_format.rate_hz // 1000)
    assert audio == b"\1" * first + pause + b"\2" * second
    events = client.speak_turn()
    assert events[1]["audio_end_ms"] == 992 + 512


def test_sound_that_comes_late_begins_when_it_comes() -> None:
    client = VirtualClient(mute=True)
    client.send("response.create")
    assert client.advance(3.0) == []
    client.answer()
    assert types(client.advance(0.0))[:3] == OPENING


def test_sound_for_a_response_that_is_over_is_dropped() -> None:
    client = VirtualClient(mute=True)
    client.send("response.create")
    client.send("response.cancel")
    client.answer()
    assert client.advance(5.0) == []


# Races.


def test_race_speech_before_any_output() -> None:
    client = greeted()
    client.text("DTMF 1")
    client.send("response.create")
    events = client.hear(0.9, 32)
    assert types(events) == [STARTED, *END]
    response = client.done()
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"] == []
    assert response["usage"]["total_tokens"] == 0
    assert client.hear(0.9, 960) == []


def test_race_speech_while_generating() -> None:
    client = greeted(letter_ms=100)
    client.send("response.create", response={"instructions": "say: One two three four."})
    client.advance(0.3)
    before = client.spoken(client.of("response.created")[-1]["response"]["id"])
    events = client.hear(0.9, 32)
    assert types(events) == [STARTED, *CLOSING, *END]
    response = client.done()
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    (item,) = response["output"]
    assert item["status"] == "incomplete"
    assert item["content"][0]["transcript"] == before[1]
    assert events[2]["transcript"] == before[1]
    assert response["usage"]["output_tokens"] > 0
    audio_ms = len(before[0]) // 8
    assert types(client.truncate(item["id"], audio_ms - 20)) == ["conversation.item.truncated"]


def test_race_item_finished_and_response_open() -> None:
    client = greeted()
    client.send("response.create")
    while not client.of("response.output_item.done"):
        client.advance(0.005)
    client.session.append(bytes(256))
    client.session.voice(0.9, client.now)
    events = client.drain()
    assert types(events) == [STARTED, *END]
    response = client.done()
    assert response["status"] == "cancelled"
    assert response["output"][0]["status"] == "completed"


def test_race_response_done_and_audio_still_playing() -> None:
    client = greeted(letter_ms=200)
    client.send("response.create")
    events = client.until_done()
    item_id = client.done()["output"][0]["id"]
    assert types(client.hear(0.9, 32)) == [STARTED]
    (truncated,) = client.truncate(item_id, 340)
    assert (truncated["item_id"], truncated["audio_end_ms"]) == (item_id, 340)
    assert types(events)[-2:] == END


def test_race_nothing_playing() -> None:
    client = greeted()
    client.advance(15.0)
    assert types(client.hear(0.9, 992)) == [STARTED]


def test_without_interruption_the_agent_speaks_on_and_the_turn_waits() -> None:
    client = greeted(letter_ms=100)
    vad = {"type": "server_vad", "interrupt_response": False}
    client.update({"audio": {"input": {"turn_detection": vad}}})
    client.send("response.create", response={"instructions": "say: " + "word " * 60})
    client.advance(0.3)
    events = [e for e in client.speak_turn() if e["type"] not in (AUDIO, TRANSCRIPT)]
    assert types(events) == [STARTED, STOPPED, *COMMITTED]
    client.until_done()
    assert client.done()["status"] == "completed"
    client.send("response.create")
    client.until_done()
    assert client.spoken(client.done()["id"])[1] == "You spoke for about one second."


def test_create_response_false_commits_and_waits_for_the_client() -> None:
    client = greeted()
    vad = {"type": "server_vad", "create_response": False}
    client.update({"audio": {"input": {"turn_detection": vad}}})
    assert types(client.speak_turn()) == [STARTED, STOPPED, *COMMITTED]
    assert types(client.send("response.create")) == ["response.created"]


def test_a_greeting_cut_off_before_its_first_sound_is_still_owed() -> None:
    client = VirtualClient(session=PCMU_BOTH)
    client.send("response.create")
    client.speak_turn()
    client.until_done()
    assert client.spoken(client.done()["id"])[1].startswith("Welcome")


def test_a_second_response_is_refused_and_the_first_goes_on() -> None:
    client = VirtualClient()
    (created,) = client.send("response.create")
    error = error_of(client.send("response.create", event_id="mine"))
    assert error["code"] == "conversation_already_has_active_response"
    assert created["response"]["id"] in error["message"]
    assert error["event_id"] == "mine"
    client.until_done()
    assert client.done()["status"] == "completed"


def test_cancel_by_the_client() -> None:
    client = greeted()
    created = client.send("response.create")[0]["response"]
    client.advance(0.2)
    events = client.send("response.cancel", response_id=created["id"])
    assert types(events) == [*CLOSING, *END]
    details = {"type": "cancelled", "reason": "client_cancelled"}
    assert client.done()["status_details"] == details
    assert client.advance(5.0) == []
    assert types(client.send("response.create")) == ["response.created"]


@pytest.mark.parametrize("fields", [{}, {"response_id": "resp_other"}])
def test_cancel_when_idle(fields: dict[str, str]) -> None:
    client = VirtualClient()
    error = error_of(client.send("response.cancel", event_id="e1", **fields))
    assert error["code"] == "response_cancel_not_active"
    assert error["event_id"] == "e1"


def test_cancel_of_another_response_leaves_the_running_one() -> None:
    client = VirtualClient()
    client.send("response.create")
    error = error_of(client.send("response.cancel", response_id="resp_other"))
    assert error["code"] == "response_cancel_not_active"
    client.until_done()
    assert client.done()["status"] == "completed"


# The input buffer.


def test_manual_turns() -> None:
    client = greeted()
    client.update({"audio": {"input": {"turn_detection": None}}})
    assert client.append(bytes(8 * 3000)) == []
    assert client.session.ear.windows == 0
    assert types(client.send("input_audio_buffer.commit")) == COMMITTED
    assert client.advance(1.0) == []
    client.send("response.create")
    client.until_done()
    assert client.spoken(client.done()["id"])[1] == "You spoke for about three seconds."


def test_commit_of_too_little() -> None:
    client = VirtualClient(session=PCMU_BOTH)
    client.append(bytes(8 * 99))
    error = error_of(client.send("input_audio_buffer.commit"))
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert "only has 99.00ms of audio" in error["message"]
    client.append(bytes(8))
    assert types(client.send("input_audio_buffer.commit")) == COMMITTED
    assert error_of(client.send("input_audio_buffer.commit"))["code"] == error["code"]


def test_clear_empties_the_buffer_and_ends_a_turn_that_had_begun() -> None:
    client = greeted()
    client.hear(0.9, 320)
    (cleared,) = client.send("input_audio_buffer.clear")
    assert cleared["type"] == "input_audio_buffer.cleared"
    assert error_of(client.send("input_audio_buffer.commit"))["code"]
    assert client.hear(0.0, 992) == []
    (started,) = client.hear(0.9, 32)
    assert started["audio_start_ms"] == 320 + 992 + 32 - 300


def test_a_commit_in_mid_speech_takes_the_item_that_was_announced() -> None:
    client = greeted()
    client.hear(0.9, 320)
    events = client.send("input_audio_buffer.commit")
    assert types(events) == COMMITTED
    (started,) = client.of(STARTED)
    assert events[0]["item_id"] == started["item_id"]
    assert client.hear(0.0, 992) == []
    client.hear(0.9, 320)
    client.send("input_audio_buffer.clear")
    client.append(bytes(8 * 500))
    committed = client.send("input_audio_buffer.commit")[0]["item_id"]
    assert committed not in [event["item_id"] for event in client.of(STARTED)]


def test_positions_survive_a_change_of_format() -> None:
    client = greeted()
    client.hear(0.0, 1600)
    client.update({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}})
    client.hear(0.0, 1600)
    (started,) = client.hear(0.9, 32)
    assert started["audio_start_ms"] == 3232 - 300


def test_turning_detection_off_in_mid_speech_leaves_the_audio_to_a_commit() -> None:
    client = greeted()
    client.hear(0.9, 320)
    client.update({"audio": {"input": {"turn_detection": None}}})
    assert client.hear(0.0, 992) == []
    assert types(client.send("input_audio_buffer.commit")) == COMMITTED


def test_a_new_silence_duration_counts_at_once() -> None:
    client = greeted()
    client.hear(0.9, 320)
    vad = {"type": "server_vad", "silence_duration_ms": 96}
    client.update({"audio": {"input": {"turn_detection": vad}}})
    assert STOPPED in types(client.hear(0.0, 96))


# Items.


def test_truncation_keeps_the_words_that_were_heard() -> None:
    client = greeted()
    client.send("response.create", response={"instructions": "say: One two three four"})
    client.until_done()
    item_id = client.done()["output"][0]["id"]
    client.truncate(item_id, 450)  # 50 ms a letter: "three" begins at 400 ms
    (retrieved,) = client.send("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"][0]["transcript"] == "One two three"
    error = error_of(client.truncate(item_id, 451, event_id="t"))
    assert error["message"] == "Audio content of 450ms is already shorter than 451ms"
    assert error["event_id"] == "t"
    assert types(client.truncate(item_id, 0)) == ["conversation.item.truncated"]
    (retrieved,) = client.send("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"][0]["transcript"] == ""


def test_truncation_beyond_what_was_generated_is_refused() -> None:
    client = VirtualClient(session=PCMU_BOTH)
    client.send("response.create")
    client.advance(0.2)
    item_id = client.of("response.output_item.added")[0]["item"]["id"]
    assert error_of(client.truncate(item_id, 201))["code"] == "invalid_value"
    assert types(client.truncate(item_id, 200)) == ["conversation.item.truncated"]


def test_only_the_agents_audio_can_be_truncated() -> None:
    client = greeted()
    client.text("hello", event_id="x")
    item_id = client.log[-1]["item"]["id"]
    assert "Only model output" in error_of(client.truncate(item_id, 0))["message"]


@pytest.mark.parametrize("verb", ["retrieve", "delete", "truncate"])
def test_unknown_items(verb: str) -> None:
    client = VirtualClient()
    extra = {"content_index": 0, "audio_end_ms": 0} if verb == "truncate" else {}
    kind = f"conversation.item.{verb}"
    error = error_of(client.send(kind, item_id="item_no", event_id="u", **extra))
    assert error["code"] == f"item_{verb}_invalid_item_id"
    assert error["event_id"] == "u"
    assert error_of(client.send(kind, **extra))["code"] == "missing_required_parameter"


def test_items_are_created_where_they_are_wanted_and_deleted() -> None:
    client = VirtualClient()
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    client.text("a")
    first = client.log[-1]["item"]["id"]
    (added, done) = client.create({**call, "id": "mine"}, previous_item_id="root")
    assert added["previous_item_id"] is None
    assert done["item"]["id"] == "mine"
    assert done["item"]["arguments"] == "{}"
    (added, _) = client.text("b", previous_item_id="mine")
    assert added["previous_item_id"] == "mine"
    (added, _) = client.text("c")
    assert added["previous_item_id"] == first
    (deleted,) = client.send("conversation.item.delete", item_id="mine")
    assert deleted["item_id"] == "mine"
    error = error_of(client.text("d", previous_item_id="mine"))
    assert (error["code"], error["param"]) == ("invalid_value", "previous_item_id")


def test_a_deleted_item_does_not_stop_the_response_that_speaks_it() -> None:
    client = VirtualClient()
    client.send("response.create")
    client.advance(0.25)
    item_id = client.of("response.output_item.added")[0]["item"]["id"]
    client.send("conversation.item.delete", item_id=item_id)
    client.until_done()
    assert client.done()["status"] == "completed"


def test_the_tools_of_an_mcp_server_are_asked_for_once_and_in_vain() -> None:
    client = greeted()
    servers = [
        {"type": "mcp", "server_label": label, "server_url": "https://mcp.example"}
        for label in "ab"
    ]
    listing = ["conversation.item.added", "mcp_list_tools.in_progress", "mcp_list_tools.failed"]
    events = client.update({"tools": servers[:1]})
    assert types(events) == ["session.updated", *listing]
    item = events[1]["item"]
    assert (item["type"], item["server_label"], item["tools"]) == ("mcp_list_tools", "a", [])
    assert events[2]["item_id"] == events[3]["item_id"] == item["id"]
    (retrieved,) = client.send("conversation.item.retrieve", item_id=item["id"])
    assert retrieved["item"] == item
    events = client.update({"tools": servers})
    assert types(events) == ["session.updated", *listing]
    assert events[1]["item"]["server_label"] == "b"
    assert types(client.update({"tools": servers})) == ["session.updated"]


# Errors.


@pytest.mark.parametrize(
    ("kind", "fields", "code", "param"),
    [
        ("nonsense", {}, "invalid_value", "type"),
        ("output_audio_buffer.clear", {}, "invalid_value", "type"),
        ("session.update", {}, "missing_required_parameter", "session"),
        ("session.update", {"session": {}}, "missing_required_parameter", "session.type"),
        ("session.update", {"session": {"type": "x"}}, "invalid_value", "session.type"),
        ("input_audio_buffer.append", {}, "missing_required_parameter", "audio"),
        ("input_audio_buffer.append", {"audio": "&&&"}, "invalid_value", "audio"),
        ("input_audio_buffer.append", {"audio": 7}, "invalid_type", "audio"),
        ("input_audio_buffer.append", {"audio": "é"}, "invalid_value", "audio"),
        ("response.create", {"response": 1}, "invalid_type", "response"),
        ("response.create", {"respond": {}}, "unknown_parameter", "respond"),
        (
            "response.create",
            {"response": {"conversation": "new"}},
            "invalid_value",
            "response.conversation",
        ),
        (
            "response.create",
            {"response": {"instructions": "say:"}},
            "invalid_value",
            "response.instructions",
        ),
        (
            "response.create",
            {"response": {"metadata": {"a": 1}}},
            "invalid_type",
            "response.metadata.a",
        ),
        ("conversation.item.create", {}, "missing_required_parameter", "item"),
        ("conversation.item.create", {"item": {}}, "missing_required_parameter", "item.type"),
        ("conversation.item.create", {"item": {"type": []}}, "invalid_type", "item.type"),
        (
            "conversation.item.create",
            {"item": {"type": "message", "role": "user", "content": [{}]}},
            "missing_required_parameter",
            "item.content[0].type",
        ),
        (
            "conversation.item.create",
            {"item": {"type": "function_call_output", "call_id": "c"}},
            "missing_required_parameter",
            "item.output",
        ),
        (
            "conversation.item.truncate",
            {"item_id": "item_no", "content_index": 0, "audio_end_ms": -1},
            "integer_below_min_value",
            "audio_end_ms",
        ),
    ],
)
def test_what_cannot_be_served_is_an_error_with_the_clients_id(
    kind: str, fields: dict[str, Any], code: str, param: str
) -> None:
    client = VirtualClient()
    error = error_of(client.send(kind, event_id="client-1", **fields))
    assert error["type"] == "invalid_request_error"
    assert (error["code"], error["param"]) == (code, param)
    assert error["event_id"] == "client-1"
    assert not client.session.ended


def test_a_nested_monster_is_an_error() -> None:
    monster: Any = []
    for _ in range(900):
        monster = [monster]
    client = VirtualClient()
    error = error_of(client.update({"tools": monster}))
    assert (error["code"], error["type"]) == ("invalid_value", "invalid_request_error")
    assert client.update({})[0]["session"]["tools"] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KINDS = st.sampled_from(
    [
        *("session.update", "response.create", "response.cancel", "input_audio_buffer.append"),
        *("input_audio_buffer.commit", "conversation.item.create", "conversation.item.truncate"),
        *("conversation.item.delete", "conversation.item.retrieve", "input_audio_buffer.clear"),
    ]
)
NAMES = st.sampled_from(
    [
        *("session", "response", "item", "item_id", "audio", "previous_item_id", "content_index"),
        *("audio_end_ms", "type", "event_id", "response_id"),
    ]
)
INNER = st.dictionaries(
    st.sampled_from(
        [
            *("type", "audio", "input", "output", "turn_detection", "role", "content", "id"),
            *("instructions", "metadata", "conversation", "format", "threshold", "call_id"),
        ]
    ),
    JSON | st.sampled_from(["realtime", "message", "user", "function_call_output", "server_vad"]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(KINDS, st.dictionaries(NAMES, JSON | INNER)), max_size=6))
def test_no_event_breaks_a_session(events: list[tuple[str, dict[str, Any]]]) -> None:
    client = VirtualClient()
    for kind, fields in events:
        client.send(kind, **{name: value for name, value in fields.items() if name != "type"})
        client.advance(0.1)
    client.send("response.cancel")
    assert types(client.send("response.create")) == ["response.created"]


# Time.


def test_a_silent_caller_is_spoken_to_once() -> None:
    client = greeted()
    played_ms = 350 + 50 * len("Welcome to the test.This greeting is a little longer.")
    sent_s = 0.05 * (played_ms // 200) + 0.02
    wait_s = played_ms / 1000 - sent_s + 20
    assert client.advance(wait_s - 0.1) == []
    assert client.advance(0.2)[0]["type"] == "response.created"
    client.until_done()
    assert client.spoken(client.done()["id"])[1] == "Still here."
    assert client.advance(300.0) == []
    client.text("back")
    client.send("response.create")
    client.until_done()
    assert "response.created" in types(client.advance(60.0))


def test_a_caller_who_speaks_or_steers_himself_is_not_idle() -> None:
    client = greeted()
    client.advance(10.0)
    assert types(client.hear(0.9, 30_016)) == [STARTED]
    client = greeted()
    client.update({"audio": {"input": {"turn_detection": None}}})
    client.send("response.create")
    client.until_done()
    assert client.advance(300.0) == []


def test_a_caller_who_interrupts_and_speaks_on_is_left_alone() -> None:
    client = greeted(letter_ms=100)
    client.send("response.create", response={"instructions": "say: One two three four."})
    client.advance(0.3)
    assert types(client.hear(0.9, 40_000)) == [STARTED, *CLOSING, *END]


def test_a_session_expires() -> None:
    client = VirtualClient(limit_s=120.0)
    assert client.advance(119.9) == []
    error = error_of(client.advance(0.2))
    assert error["code"] == "session_expired"
    assert error["message"] == "Your session hit the maximum duration of 2 minutes."
    assert client.session.ended
    assert client.session.next_timeout() is None


def test_the_same_ids_and_times_every_time() -> None:
    logs = []
    for _ in range(2):
        client = VirtualClient(pacing=Pacing(), random=0.3)
        client.send("response.create")
        client.until_done()
        client.speak_turn()
        logs.append((client.log, client.heard_at))
    assert logs[0] == logs[1]
