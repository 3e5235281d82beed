"""Items of clients: what is kept of them, what they say to the dialogue, what they must not be."""

from base64 import b64encode
from typing import Any

import pytest

from gateway.audio.formats import PCM24K, PCMU
from gateway.backend.client_items import ClientItems
from gateway.backend.dialogue import Pressed, Returned, Spoke, Typed
from gateway.backend.items import Conversation, call_item
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure

Item = dict[str, Any]


@pytest.fixture
def conversation() -> Conversation:
    conversation = Conversation("conv")
    conversation.insert(call_item("item_call", "call_1", "look_up"))
    return conversation


@pytest.fixture
def items(conversation: Conversation) -> ClientItems:
    return ClientItems(conversation, lambda: "fresh")


def message(role: str, *content: Item, **fields: Any) -> Item:
    return {"type": "message", "role": role, "content": list(content), **fields}


def text(words: str) -> Item:
    return {"type": "input_text", "text": words}


def audio(size: int, **fields: Any) -> Item:
    return {"type": "input_audio", "audio": b64encode(bytes(size)).decode(), **fields}


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (message("system", text("Be kind.")), message("system", text("Be kind."))),
        (
            message("user", text("a"), audio(8), IMAGE),
            message(
                "user",
                text("a"),
                {"type": "input_audio", "transcript": None},
                {"type": "input_image", "detail": "auto"},
            ),
        ),
        (
            message("user", audio(8, transcript="hello")),
            message("user", {"type": "input_audio", "transcript": "hello"}),
        ),
        (
            message("assistant", {"type": "output_text", "text": "t"}),
            message("assistant", {"type": "output_text", "text": "t"}),
        ),
        (
            {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "mine"},
            {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "mine"},
        ),
        (
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "call_fresh"},
        ),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": ""},
            {"type": "function_call_output", "call_id": "call_1", "output": ""},
        ),
    ],
)
def test_what_is_kept(items: ClientItems, given: Item, shown: Item) -> None:
    common = {"id": "item_fresh", "object": "realtime.item", "status": "completed"}
    assert items.created(given, PCMU).body == common | shown


@pytest.mark.parametrize(
    ("status", "kept"),
    [("completed", "completed"), ("in_progress", "completed"), ("incomplete", "incomplete")],
)
def test_what_was_cut_off_stays_cut_off(items: ClientItems, status: str, kept: str) -> None:
    item = items.created(message("user", text("a"), id="mine", status=status), PCMU)
    assert (item.id, item.body["status"]) == ("mine", kept)


def test_audio_has_its_length_and_is_not_kept(items: ClientItems) -> None:
    for size in (0, 1, 2, 3, 8000):
        item = items.created(message("user", audio(4800 + size), audio(1200)), PCMU)
        assert item.audio_ms == (6000 + size) // 8
    for size in (7, 8, 15, 16, 17):
        assert items.created(message("user", audio(size)), PCMU).audio_ms == size // 8
    assert items.created(message("user", audio(4800)), PCM24K).audio_ms == 100


@pytest.mark.parametrize(
    ("given", "heard"),
    [
        (message("user", text("hello"), text("you")), Typed("hello you")),
        (message("user", text("DTMF 12#")), Pressed("12#")),
        (message("user", text("[speech, 1.5 s]")), Spoke(1500)),
        (message("user", audio(8000)), Spoke(1000)),
        (message("user", audio(8000, transcript="hello")), Typed("hello")),
        (message("user", text("")), Typed("")),
        (message("user", IMAGE), Typed("")),
        (message("user"), Typed("")),
        (message("system", text("x")), None),
        (message("assistant", {"type": "output_text", "text": "x"}), None),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": "o"},
            Returned("look_up", "o"),
        ),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, None),
    ],
)
def test_what_the_dialogue_hears(items: ClientItems, given: Item, heard: object) -> None:
    assert items.heard(items.created(given, PCMU)) == heard


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        (message("user", text("a"), id="item_call"), "invalid_value", "item.id"),
        (
            message("assistant", {"type": "output_audio", "transcript": "t"}),
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"type": "function_call_output", "call_id": "call_2", "output": ""},
            "invalid_tool_call_id",
            None,
        ),
        (
            {"type": "mcp_approval_response", "approval_request_id": "r", "approve": True},
            "invalid_value",
            "item.approval_request_id",
        ),
        (
            {"type": "mcp_list_tools", "server_label": "s", "tools": []},
            "invalid_value",
            "item.type",
        ),
        (
            {"type": "mcp_call", "id": "i", "server_label": "s", "name": "n", "arguments": "{}"},
            "invalid_value",
            "item.type",
        ),
    ],
)
def test_what_items_must_not_be(items: ClientItems, given: Item, code: str, param: str) -> None:
    with pytest.raises(RealtimeError) as refused:
        items.created(given, PCMU)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_a_result_may_belong_to_a_call_of_the_same_input(items: ClientItems) -> None:
    call = {"type": "function_call", "name": "mine", "arguments": "{}", "call_id": "call_7"}
    output = {"type": "function_call_output", "call_id": "call_7", "output": "o"}
    context = items.input([{"type": "item_reference", "id": "item_call"}, call, output], PCMU)
    assert context[0].id == "item_call"
    assert items.heard(context[-1], context) == Returned("mine", "o")
    with pytest.raises(RealtimeError) as refused:
        items.input([output, call], PCMU)
    assert refused.value.code == "invalid_tool_call_id"


LONG = "\u4e2d" * (200 << 10)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (message("user", text("a"), text(LONG), text(LONG)), "content[2].text"),
        (message("user", text(LONG), audio(8, transcript=LONG)), "content[1].transcript"),
        ({"type": "function_call", "name": LONG, "arguments": LONG}, "arguments"),
        ({"type": "function_call_output", "call_id": "call_1", "output": LONG * 2}, "output"),
        (message("user", *[text("a")] * 257), "content"),
    ],
)
def test_an_item_has_its_bounds(items: ClientItems, given: Item, place: str) -> None:
    for path, make in (
        ("item", lambda: items.created(given, PCMU)),
        ("response.input[0]", lambda: items.input([given], PCMU)),
    ):
        with pytest.raises(RealtimeError) as refused:
            make()
        assert refused.value.param == f"{path}.{place}"
        assert refused.value.code in ("string_above_max_length", "array_above_max_length")


def test_a_long_item_is_an_item(items: ClientItems) -> None:
    content = [text("a")] * 255 + [text(LONG)]
    shown = items.created(message("user", *content), PCMU).shown()
    assert shown["type"] == "message" and shown["content"] == content
