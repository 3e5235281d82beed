"""What the agent answers: outside of the conversation too, after a handover, within its rates."""

from typing import Any

import pytest

from gateway.backend.config import RateLimits
from tests.backend.test_output import HANG_UP, LOOK_UP, client_with, press, said
from tests.backend.virtual import (
    AUDIO,
    CLOSING,
    END,
    OPENING,
    TEXT,
    TRANSCRIPT,
    Event,
    VirtualClient,
    types,
)

pytestmark = pytest.mark.pure

BESIDE_OPENING = [kind for kind in OPENING if not kind.startswith("conversation")]
BESIDE_CLOSING = [kind for kind in CLOSING if not kind.startswith("conversation")]
STARTED = "input_audio_buffer.speech_started"
DOORS = """
start = "outside"
otherwise = "Nothing new."
[states.outside]
say = "You are outside."
[[states.outside.on]]
dtmf = "1"
say = "The door opens."
goto = "inside"
[states.inside]
[[states.inside.on]]
dtmf = "1"
say = "You are inside already."
"""


def user(text: str) -> Event:
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
    }


def assistant(text: str) -> Event:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    }


def error_of(events: list[Event]) -> Event:
    assert types(events) == ["error"]
    error: Event = events[0]["error"]
    return error


# Outside of the conversation.


def test_a_response_outside_of_the_conversation_leaves_it_alone() -> None:
    client = VirtualClient()
    events = client.respond(conversation="none", metadata={"topic": "x"}, instructions="say: Hi.")
    assert types(events) == [
        "response.created",
        *BESIDE_OPENING,
        TRANSCRIPT,
        AUDIO,
        *BESIDE_CLOSING,
        *END,
    ]
    for event in (events[0], events[-2]):
        assert event["response"]["conversation_id"] is None
        assert event["response"]["metadata"] == {"topic": "x"}
    assert said(client.done()) == ["Hi."]
    item_id = client.done()["output"][0]["id"]
    assert error_of(client.send("conversation.item.retrieve", item_id=item_id))
    client.text("first")
    assert client.log[-1]["previous_item_id"] is None
    client.respond()
    assert said(client.done()) == ["Text."]


def test_it_runs_beside_the_conversation_and_survives_interruption() -> None:
    client = client_with()
    line = "say: " + "word " * 30
    mine = client.send("response.create", response={"instructions": line})[0]["response"]["id"]
    wanted = {"instructions": line, "conversation": "none"}
    others = [
        client.send("response.create", response=wanted)[0]["response"]["id"] for _ in range(2)
    ]
    assert len({mine, *others}) == 3
    client.advance(0.4)
    assert {event["response_id"] for event in client.of(AUDIO)} == {mine, *others}
    client.hear(0.9, 32)
    assert client.done()["id"] == mine
    client.send("response.cancel", response_id=others[0])
    assert client.done()["status_details"]["reason"] == "client_cancelled"
    assert client.done()["id"] == others[0]
    assert error_of(client.send("response.cancel"))["code"] == "response_cancel_not_active"
    client.until_done()
    assert (client.done()["id"], client.done()["status"]) == (others[1], "completed")
    assert client.spoken(others[1])[1] == " ".join(["word"] * 30)


def test_it_answers_its_own_input_and_the_dialogue_stays_where_it_is() -> None:
    client = client_with(LOOK_UP)
    kept = client.text("DTMF 1")[0]["item"]["id"]
    call = {"type": "function_call", "call_id": "call_9", "name": "look_up", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_9", "output": "open"}
    for given, answer in (
        ([user("DTMF 2")], ["The function hang_up is not among the tools of this session."]),
        ([user("DTMF 2"), assistant("Yes?")], ["Nothing new."]),
        ([call, output], ["It says open."]),
        ([], ["Nothing new."]),
        ([{"type": "item_reference", "id": kept}], ["I look it up."]),
    ):
        client.respond(conversation="none", input=given, tool_choice="auto")
        assert said(client.done())[:1] == answer
    client.respond()
    assert said(client.done())[0] == "I look it up."


def test_it_does_not_move_the_dialogue_on() -> None:
    client = VirtualClient(dialogue=DOORS)
    client.respond()
    client.respond(conversation="none", input=[user("DTMF 1")])
    assert said(client.done()) == ["The door opens."]
    client.text("DTMF 1")
    client.respond()
    assert said(client.done()) == ["The door opens."]
    client.respond(input=[user("DTMF 1")])
    assert said(client.done()) == ["You are inside already."]
    client.respond(conversation="none", input=[user("DTMF 1")])
    assert said(client.done()) == ["The door opens."]


def test_a_response_of_the_conversation_may_have_its_own_input() -> None:
    client = client_with(HANG_UP)
    client.text("DTMF 1")
    events = client.respond(input=[user("DTMF 2")])
    assert "conversation.item.added" in types(events)
    assert said(client.done()) == [("hang_up", {})]
    client.respond()
    assert said(client.done())[0].startswith("I look it up.")


def test_references_must_lead_somewhere() -> None:
    client = client_with()
    wanted = {"input": [user("x"), {"type": "item_reference", "id": "item_no"}]}
    error = error_of(client.send("response.create", response=wanted, event_id="r"))
    assert (error["code"], error["param"]) == ("invalid_value", "response.input[1].id")
    assert error["event_id"] == "r"


def test_usage_counts_what_the_response_was_about() -> None:
    client = client_with(instructions="i" * 40)
    client.text("t" * 400)
    client.respond(output_modalities=["text"])
    inputs = client.done()["usage"]["input_token_details"]
    assert inputs["text_tokens"] >= 110
    read = inputs["text_tokens"]
    client.respond(output_modalities=["text"])
    inputs = client.done()["usage"]["input_token_details"]
    assert inputs["cached_tokens_details"]["text_tokens"] == read
    assert inputs["text_tokens"] > read
    client.text("t" * 400)
    client.respond(output_modalities=["text"], conversation="none")
    beside = client.done()["usage"]["input_token_details"]
    assert beside["text_tokens"] - beside["cached_tokens_details"]["text_tokens"] >= 100
    read = inputs["text_tokens"]
    client.respond(output_modalities=["text"], instructions="say: " + "y" * 40)
    inputs = client.done()["usage"]["input_token_details"]
    assert inputs["cached_tokens_details"]["text_tokens"] == read
    client.respond(input=[user("u" * 80)], output_modalities=["text"], instructions="say: y")
    inputs = client.done()["usage"]["input_token_details"]
    assert inputs["text_tokens"] == 21
    assert inputs["cached_tokens"] == 0


def test_there_may_not_be_any_number_of_them() -> None:
    client = client_with()
    wanted = {"conversation": "none", "instructions": "say: " + "word " * 30}
    for _ in range(8):
        assert types(client.send("response.create", response=wanted)) == ["response.created"]
    error = error_of(client.send("response.create", response=wanted))
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert types(client.send("response.create")) == ["response.created"]


# The greeting.


@pytest.mark.parametrize(("text", "answer"), [("hello", "Text."), ("DTMF 7", "Keys seven.")])
def test_who_comes_with_a_question_is_answered_and_not_greeted(text: str, answer: str) -> None:
    client = VirtualClient()
    client.text(text)
    client.respond()
    assert said(client.done()) == [answer]
    client.respond()
    assert said(client.done()) == ["Nothing new."]


def test_who_speaks_first_is_answered() -> None:
    client = VirtualClient()
    client.speak_turn()
    client.until_done()
    assert said(client.done()) == ["You spoke for about one second."]


@pytest.mark.parametrize(
    ("text", "answer"), [("DTMF 1", "One."), ("hello", "Text."), ("[speech, 0.6 s]", "Welcome")]
)
def test_a_greeting_that_was_cut_off_unheard_is_owed_to_who_has_only_spoken(
    text: str, answer: str
) -> None:
    client = VirtualClient()
    client.send("response.create")
    client.send("response.cancel")
    client.text(text)
    client.respond()
    assert said(client.done())[0].startswith(answer)
    client.respond()
    assert said(client.done()) == ["Nothing new."]


def test_an_answer_that_was_cut_off_leaves_no_greeting_behind() -> None:
    client = VirtualClient()
    client.text("hello")
    client.send("response.create")
    client.send("response.cancel")
    client.speak_turn()
    client.until_done()
    assert said(client.done()) == ["You spoke for about one second."]


# A conversation that began elsewhere.


def test_a_conversation_that_is_told_again_is_not_greeted() -> None:
    client = VirtualClient()
    client.create({**assistant("Welcome to the"), "id": "item_a", "status": "incomplete"})
    client.create({**user("hello"), "id": "item_b"})
    assert [e["item"]["id"] for e in client.of("conversation.item.done")] == ["item_a", "item_b"]
    assert client.of("conversation.item.done")[0]["item"]["status"] == "incomplete"
    client.respond()
    assert said(client.done()) == ["Text."]


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("Welcome to the", "Welcome to the test. This greeting is a little longer."),
        ("Welcome to the test.", "This greeting is a little longer."),
        ("Welcome to the test. This greeting", "This greeting is a little longer."),
        ("Welcome to the test. This greeting is a little longer.", "Nothing new."),
        ("Something else", "Nothing new."),
    ],
)
def test_a_line_that_was_cut_by_a_handover_is_said_to_its_end(begun: str, rest: str) -> None:
    client = VirtualClient()
    client.create(assistant(begun))
    client.respond()
    assert " ".join(said(client.done())) == rest


LEAVE = """
start = "leave"
otherwise = "Nothing new."
[states.leave]
say = "Thank you for calling. Goodbye now."
call = {name = "hang_up"}
"""


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("Thank you for", ["Thank you for calling. Goodbye now."]),
        ("Thank you for calling.", ["Goodbye now."]),
        ("Thank you for calling. Goodbye now.", []),
    ],
)
def test_a_function_is_called_although_its_line_was_cut_by_a_handover(
    begun: str, rest: list[str]
) -> None:
    client = VirtualClient(dialogue=LEAVE, session={"tools": [HANG_UP]})
    client.create(assistant(begun))
    client.respond()
    *texts, called = said(client.done())
    assert (texts, called[0]) == (rest, "hang_up")


def test_who_acts_does_not_want_the_rest() -> None:
    client = VirtualClient()
    client.create(assistant("Welcome to the"))
    client.create(user("DTMF 1"))
    client.respond()
    assert said(client.done()) == ["One."]


def test_keys_are_answered_although_a_voice_was_heard_after_them() -> None:
    client = VirtualClient()
    client.create(assistant("Hello."))
    client.create(user("DTMF 1"))
    client.create(user("[speech, 2.1 s]"))
    client.respond()
    assert said(client.done()) == ["One."]


def test_a_caller_who_stays_silent_after_a_handover_is_asked() -> None:
    client = VirtualClient()
    client.create(assistant("Welcome to the test. This greeting is a little longer."))
    client.advance(19)
    assert not client.of("response.created")
    client.advance(20)
    assert said(client.done()) == ["Still here."]


def test_what_was_answered_elsewhere_is_not_answered_again() -> None:
    client = VirtualClient()
    client.create(user("hello"))
    client.create(assistant("Text."))
    client.respond()
    assert said(client.done()) == ["Nothing new."]


def test_a_call_in_flight_is_taken_over() -> None:
    client = client_with()
    call = {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"}
    client.create({**call, "id": "item_call"})
    client.create({"type": "function_call_output", "call_id": "call_1", "output": "busy"})
    client.respond()
    assert said(client.done()) == ["It says busy."]


def test_the_dialogue_goes_on_where_it_stands() -> None:
    client = VirtualClient(dialogue=DOORS)
    client.create(assistant("You are outside."))
    client.create(user("DTMF 1"))
    client.create(assistant("The door"))
    client.create(user("DTMF 1"))
    client.respond()
    assert said(client.done()) == ["You are inside already."]


@pytest.mark.parametrize(
    "told", ["[speech, 2.1 s]", "[The caller spoke for 2 seconds; there is no transcript.]"]
)
def test_a_turn_that_was_not_answered_elsewhere_is_known_by_its_transcript(told: str) -> None:
    client = VirtualClient()
    client.create(assistant("Hello."))
    client.create(user(told))
    client.respond()
    assert said(client.done()) == ["You spoke for about two seconds."]


def test_no_id_is_made_that_a_former_life_has_made() -> None:
    client = VirtualClient(session={"tools": [HANG_UP]})
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    for number in range(300, 900, 2):
        client.create({**call, "id": f"item_{number:04}", "call_id": f"call_{number:04}"})
    assert client.log[-1]["event_id"] < "event_0650"  # so that every other new id is taken
    for _ in range(5):
        client.respond(tool_choice={"type": "function", "name": "hang_up"})
        client.speak_turn(320)
        client.until_done()
    ids = [event["item"]["id"] for event in client.of("conversation.item.added")]
    assert len(set(ids)) == len(ids) == 300 + 3 * 5
    calls = [event["call_id"] for event in client.of("response.function_call_arguments.done")]
    assert len(calls) == 5
    assert all(int(each.removeprefix("call_")) % 2 for each in calls)


def test_a_client_cannot_take_the_id_of_a_turn_that_has_begun() -> None:
    client = client_with()
    (started,) = client.hear(0.9, 32)
    error = error_of(client.create({**user("x"), "id": started["item_id"]}))
    assert (error["code"], error["param"]) == ("invalid_value", "item.id")
    client.hear(0.0, 992)
    assert client.of("input_audio_buffer.committed")[0]["item_id"] == started["item_id"]


# Voices.


def test_the_voice_that_was_heard_stays() -> None:
    client = VirtualClient()
    marin = {"output": {"voice": "marin"}}
    client.respond(audio=marin, output_modalities=["text"], instructions="say: Hi.")
    client.respond(conversation="none", instructions="say: Hi.")
    updated = client.update({"audio": {"output": {"voice": {"id": "voice_1"}}}})
    assert types(updated) == ["session.updated"]
    client.respond(audio=marin, output_modalities=["text"], instructions="say: Hi.")
    assert client.done()["audio"]["output"]["voice"] == "marin"
    client.respond()
    assert client.done()["audio"]["output"]["voice"] == "voice_1"
    error = error_of(client.send("response.create", response={"audio": marin}))
    assert (error["code"], error["param"]) == (
        "cannot_update_voice",
        "response.audio.output.voice",
    )
    error = error_of(client.update({"audio": marin}))
    assert (error["code"], error["param"]) == ("cannot_update_voice", "session.audio.output.voice")
    same = {"output": {"voice": {"id": "voice_1"}}}
    client.respond(audio=same)
    assert client.done()["status"] == "completed"


# Rates.


def limits_of(client: VirtualClient) -> dict[str, Any]:
    return {limit["name"]: limit for limit in client.log[-1]["rate_limits"]}


def test_the_rates_count_down_and_come_back() -> None:
    client = VirtualClient(rate_limits=RateLimits(requests=2, tokens=1000))
    wanted = {"instructions": "say: Hi.", "output_modalities": ["text"]}
    client.respond(**wanted)
    limits = limits_of(client)
    assert limits["requests"] == {
        "name": "requests",
        "limit": 2,
        "remaining": 1,
        "reset_seconds": 30,
    }
    used = client.done()["usage"]["total_tokens"]
    assert limits["tokens"]["remaining"] == 1000 - used
    client.respond(**wanted)
    assert limits_of(client)["requests"]["remaining"] == 0
    created, done, updated = client.send("response.create")
    assert (created["type"], done["type"]) == ("response.created", "response.done")
    response = done["response"]
    assert (response["status"], response["output"]) == ("failed", [])
    error = response["status_details"]["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "requests per minute: limit 2" in error["message"]
    assert response["usage"]["total_tokens"] == 0
    client.advance(30)
    assert types(client.send("response.create")) == ["response.created"]
    client.until_done()
    assert said(client.done())[0].startswith("Welcome")  # the refused one took nothing away


def test_the_caller_is_answered_when_there_are_tokens_again() -> None:
    client = VirtualClient(rate_limits=RateLimits(tokens=30))
    client.respond()
    assert limits_of(client)["tokens"]["remaining"] == 0
    client.speak_turn()
    assert client.done()["status"] == "failed"
    client.advance(600)
    client.respond(output_modalities=["text"])
    assert said(client.done()) == ["You spoke for about one second."]


def test_responses_outside_of_the_conversation_count_too() -> None:
    client = VirtualClient(rate_limits=RateLimits(requests=1))
    client.respond(conversation="none", instructions="say: Hi.")
    (_, done, _) = client.send("response.create", response={"conversation": "none"})
    assert done["response"]["status"] == "failed"
    assert done["response"]["conversation_id"] is None


@pytest.mark.parametrize("limits", [{"requests": 0}, {"tokens": -1}])
def test_there_is_no_rate_of_nothing(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        RateLimits(**limits)


def test_dialogues_without_a_call_write_no_call() -> None:
    client = client_with(LOOK_UP, output_modalities=["text"])
    client.text("DTMF 7")
    assert TEXT in types(client.respond())
    assert press(client, "9")["output"][0]["type"] == "message"
