"""What responses put out: text, function calls, and both cut off."""

import json
from typing import Any

import pytest

from tests.backend.virtual import (
    ARGUMENTS,
    AUDIO,
    CALL_CLOSING,
    CALL_OPENING,
    CLOSING,
    END,
    OPENING,
    TEXT,
    TRANSCRIPT,
    WRITTEN_CLOSING,
    Event,
    VirtualClient,
    types,
)

pytestmark = pytest.mark.pure

ITEM = ["conversation.item.added", "conversation.item.done"]
DIALOGUE = """
start = "menu"
otherwise = "Nothing new."
[states.menu]
say = "Hello."
[[on]]
dtmf = "1"
say = "I look it up."
call = { name = "look_up", arguments = { number = "12345678901234567890" } }
[[on]]
dtmf = "2"
call = { name = "hang_up", arguments = {} }
[[on]]
result = "look_up"
say = "It says {result}."
[[on]]
result = "any"
say = "Something came back."
"""
LOOK_UP = {
    "type": "function",
    "name": "look_up",
    "description": "Looks up a number.",
    "parameters": {
        "type": "object",
        "properties": {"number": {"type": "string"}, "deep": {"type": "boolean"}},
        "required": ["number"],
    },
}
HANG_UP = {"type": "function", "name": "hang_up"}


def client_with(*tools: Event, **session: Any) -> VirtualClient:
    """A client that has heard the greeting, with these tools."""
    client = VirtualClient(dialogue=DIALOGUE, session={"tools": list(tools), **session})
    client.respond()
    client.log.clear()
    return client


def said(response: Event) -> list[Any]:
    """What a response has put out: lines, and names of functions with their arguments."""
    return [
        item["content"][0].get("text", item["content"][0].get("transcript"))
        if item["type"] == "message"
        else (item["name"], json.loads(item["arguments"]))
        for item in response["output"]
    ]


def press(client: VirtualClient, keys: str, **wanted: Any) -> Event:
    """Press keys and ask for a response; returns it when it is done."""
    client.text(f"DTMF {keys}")
    client.respond(**wanted)
    return client.done()


# Text.


def test_a_written_message_comes_in_the_documented_order() -> None:
    client = VirtualClient(session={"output_modalities": ["text"]})
    (created,) = client.send("response.create")
    assert created["response"]["output_modalities"] == ["text"]
    assert client.advance(0.199) == []
    events = client.until_done()
    assert types(events) == [*OPENING, TEXT, *WRITTEN_CLOSING, *END]
    assert events[2]["part"] == {"type": "text", "text": ""}
    line = "Welcome to the test. This greeting is a little longer."
    assert "".join(event["delta"] for event in events if event["type"] == TEXT) == line
    done = {event["type"]: event for event in events}
    assert done["response.output_text.done"]["text"] == line
    assert done["response.content_part.done"]["part"] == {"type": "text", "text": line}
    (item,) = client.done()["output"]
    assert item["content"] == [{"type": "output_text", "text": line}]
    assert client.done()["usage"]["output_token_details"] == {
        "text_tokens": len(line) // 4,
        "audio_tokens": 0,
    }
    assert client.requests == []


def test_a_response_may_differ_from_its_session() -> None:
    client = client_with()
    response = client.respond(output_modalities=["text"], instructions="say: Written.")
    assert TEXT in types(response)
    pcma = {"type": "audio/pcma"}
    client.respond(audio={"output": {"format": pcma}}, instructions="say: Spoken.")
    assert client.done()["audio"]["output"] == {"format": pcma, "voice": "built-in"}
    audio, words = client.spoken(client.done()["id"])
    assert (len(audio), words) == (len("Spoken.") * client.letter_ms * 8, "Spoken.")
    client.respond(instructions="say: As ever.")
    assert client.done()["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}


def test_speech_interrupts_a_written_message() -> None:
    client = client_with(output_modalities=["text"])
    client.send("response.create", response={"instructions": "say: " + "word " * 400})
    client.advance(0.5)
    events = client.hear(0.9, 32)
    assert types(events)[:1] == [TEXT]
    assert types(events)[1:] == ["input_audio_buffer.speech_started", *WRITTEN_CLOSING, *END]
    (item,) = client.done()["output"]
    assert item["status"] == "incomplete"
    words = item["content"][0]["text"].split()
    assert words == ["word"] * len(words) and 0 < len(words) < 400


# Function calls.


def test_a_message_and_a_call_are_one_response() -> None:
    client = client_with(LOOK_UP)
    client.text("DTMF 1")
    events = client.respond()
    assert types(events) == [
        "response.created",
        *OPENING,
        TRANSCRIPT,
        AUDIO,
        *CLOSING,
        *CALL_OPENING,
        ARGUMENTS,
        *CALL_CLOSING,
        *END,
    ]
    assert said(client.done()) == [
        "I look it up.",
        ("look_up", {"number": "12345678901234567890"}),
    ]
    added, *_ = (e for e in events if e["type"] == OPENING[0] and e["output_index"] == 1)
    assert added["item"]["status"] == "in_progress"
    assert (added["item"]["name"], added["item"]["arguments"]) == ("look_up", "")
    deltas = [event for event in events if event["type"] == ARGUMENTS]
    (done,) = client.of("response.function_call_arguments.done")
    assert len(deltas) > 1
    assert "".join(event["delta"] for event in deltas) == done["arguments"]
    assert done["name"] == "look_up"
    message, call = client.done()["output"]
    assert {event["call_id"] for event in [*deltas, done]} == {call["call_id"]}
    in_conversation = [e for e in events if e["type"] == "conversation.item.added"]
    assert in_conversation[1]["previous_item_id"] == message["id"]
    assert client.done()["usage"]["output_token_details"]["text_tokens"] > 3


def test_the_result_of_a_call_is_answered_when_asked() -> None:
    client = client_with(LOOK_UP)
    (_, call) = press(client, "1")["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "closed"}
    assert types(client.create(output)) == ITEM
    assert client.advance(1.0) == []
    client.respond()
    assert said(client.done()) == ["It says closed."]


def test_a_result_needs_its_call() -> None:
    client = client_with(LOOK_UP)
    output = {"type": "function_call_output", "call_id": "call_no", "output": "x"}
    (event,) = client.create(output, event_id="mine")
    assert event["error"]["code"] == "invalid_tool_call_id"
    assert event["error"]["message"] == "Tool call ID 'call_no' not found in conversation."
    assert event["error"]["event_id"] == "mine"
    assert types(client.send("response.create", response={"input": [output]})) == ["error"]


def test_a_call_without_words() -> None:
    client = client_with(HANG_UP)
    assert said(press(client, "2")) == [("hang_up", {})]
    assert client.requests == []


def test_what_was_not_declared_is_not_called_and_the_agent_says_so() -> None:
    client = client_with(HANG_UP)
    regret = "The function look_up is not among the tools of this session."
    assert said(press(client, "1")) == [f"I look it up. {regret}"]
    assert said(press(client, "1", tools=[LOOK_UP]))[1][0] == "look_up"
    assert said(press(client, "2", tools=[])) == [regret.replace("look_up", "hang_up")]


def test_no_choice_of_tools_is_no_call() -> None:
    client = client_with(LOOK_UP)
    assert said(press(client, "1", tool_choice="none")) == ["I look it up."]
    server = {"type": "mcp", "server_label": "somewhere"}
    assert said(press(client, "1", tool_choice=server)) == ["I look it up."]
    client.update({"tool_choice": "none"})
    assert said(press(client, "1")) == ["I look it up."]
    assert said(press(client, "2")) == []
    assert client.done()["status"] == "completed"
    assert client.done()["usage"]["total_tokens"] == 0


def test_a_forced_function_is_called_with_arguments_made_from_its_schema() -> None:
    client = client_with(LOOK_UP, HANG_UP)
    forced = {"type": "function", "name": "look_up"}
    example = ("look_up", {"number": "text"})
    assert said(press(client, "2", tool_choice=forced)) == [example]
    client.respond()
    assert said(client.done()) == [("hang_up", {})]  # the keys were not lost
    client.update({"tool_choice": forced})
    client.speak_turn()
    client.until_done()
    assert said(client.done()) == [example]


def test_required_calls_what_the_dialogue_calls_or_else_the_first() -> None:
    client = client_with(LOOK_UP, HANG_UP)
    assert said(press(client, "2", tool_choice="required")) == [("hang_up", {})]
    client.respond(tool_choice="required")
    assert said(client.done()) == ["Nothing new.", ("look_up", {"number": "text"})]
    client.respond(tool_choice="required", tools=[])
    assert said(client.done()) == ["Nothing new."]
    client.respond(tool_choice="required", instructions="say: Now.")
    assert said(client.done()) == ["Now.", ("look_up", {"number": "text"})]


def test_a_function_that_is_not_there_cannot_be_forced() -> None:
    client = client_with(HANG_UP)
    wanted = {"tool_choice": {"type": "function", "name": "look_up"}}
    (event,) = client.send("response.create", response=wanted)
    error = event["error"]
    assert (error["code"], error["param"]) == ("invalid_value", "response.tool_choice.name")
    client.update(wanted)  # in the session, where tools may come later, it waits for them
    client.respond()
    assert said(client.done()) == ["Nothing new."]


def test_speech_before_the_call_prevents_it_and_within_it_cuts_it_off() -> None:
    client = client_with(LOOK_UP)
    client.text("DTMF 1")
    client.send("response.create")
    while not client.of("response.output_item.done"):
        client.advance(0.005)
    client.hear(0.9, 32)
    assert said(client.done()) == ["I look it up."]
    assert client.done()["status"] == "cancelled"
    client = client_with(LOOK_UP, output_modalities=["text"])
    client.text("DTMF 1")
    client.send("response.create")
    while not client.of(ARGUMENTS):
        client.advance(0.001)
    events = client.send("response.cancel")
    assert types(events) == [*CALL_CLOSING, *END]
    call = client.done()["output"][1]
    assert call["status"] == "incomplete"
    assert events[0]["arguments"] == call["arguments"] == '{"number": "1234'


# The limit of tokens.


def test_a_line_that_is_too_long_ends_incomplete() -> None:
    client = client_with()
    client.letter_ms = 10  # so that words weigh as much as their sound
    line = "one two three four five six seven eight nine ten"
    for limit in (1, 2, 8, 9, 13, 14, 15, 17, 18, 20):
        events = client.respond(instructions=f"say: {line}", max_output_tokens=limit)
        response = client.done()
        assert response["max_output_tokens"] == limit
        assert response["status"] == "incomplete"
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        (item,) = response["output"]
        assert item["status"] == "incomplete"
        assert line.startswith(item["content"][0]["transcript"])
        used = response["usage"]["output_tokens"]
        assert limit - 10 < used <= limit
        assert types(events)[-len(CLOSING) - 2 :] == [*CLOSING, *END]


def test_a_line_that_fits_is_whole() -> None:
    client = client_with(output_modalities=["text"], max_output_tokens=4)
    for line, limit, status in (
        ("Four tokens and five", None, "incomplete"),
        ("Four tokens and fou", None, "completed"),
        ("Four tokens and five", "inf", "completed"),
    ):
        client.respond(
            instructions=f"say: {line}", **({} if limit is None else {"max_output_tokens": limit})
        )
        assert client.done()["status"] == status


def test_a_call_counts_towards_the_limit() -> None:
    client = client_with(LOOK_UP, output_modalities=["text"])
    message = len("I look it up.") // 4
    response = press(client, "1", max_output_tokens=message + 8)  # 32 letters, and the name
    assert response["status"] == "incomplete"
    assert response["output"][1]["arguments"] == '{"number": "1234'
    assert response["output"][1]["status"] == "incomplete"
    response = press(client, "1", max_output_tokens=message - 1)
    assert [item["type"] for item in response["output"]] == ["message"]
