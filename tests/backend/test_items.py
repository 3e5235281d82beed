"""The conversation and its items."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend.items import (
    Conversation,
    Item,
    Word,
    assistant_item,
    client_item,
    spoken_item,
)
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=30))
def test_items_lie_where_they_were_put(steps: list[tuple[int, bool]]) -> None:
    conversation = Conversation("conv")
    model: list[str] = []
    for number, (place, delete) in enumerate(steps):
        if delete and model:
            conversation.delete(model.pop(place % len(model)))
            continue
        item_id = f"i{number}"
        after = None if place == 0 else "root" if place == 1 else f"i{place}"
        if after not in (None, "root", *model):
            with pytest.raises(RealtimeError):
                conversation.insert(spoken_item(item_id, 0), after)
            continue
        at = len(model) if after is None else 0 if after == "root" else model.index(after or "") + 1
        previous = conversation.insert(spoken_item(item_id, 0), after)
        assert previous == (model[at - 1] if at else None)
        model.insert(at, item_id)
    assert conversation.last == (model[-1] if model else None)
    for before, item_id in zip([None, *model], model, strict=False):
        assert conversation.before(item_id) == before
    assert conversation.before("nobody") is None


def test_an_id_is_taken_once() -> None:
    conversation = Conversation("conv")
    conversation.insert(spoken_item("a", 0))
    with pytest.raises(RealtimeError) as refused:
        conversation.insert(spoken_item("a", 0))
    assert refused.value.param == "item.id"


def test_the_oldest_items_are_forgotten_in_the_end() -> None:
    conversation = Conversation("conv")
    for number in range(5001):
        conversation.insert(spoken_item(f"i{number}", 0))
    with pytest.raises(RealtimeError):
        conversation.retrieve("i0")
    assert conversation.retrieve("i1").id == "i1"


def test_what_was_shown_does_not_change_afterwards() -> None:
    item = assistant_item("a")
    shown = item.shown()
    item.speak(100, [Word(0, "Hi")])
    assert shown["content"] == []
    again = item.shown()
    item.body["content"][0]["transcript"] = "changed"
    assert again["content"][0]["transcript"] == "Hi"


def test_tokens_count_text_and_audio() -> None:
    conversation = Conversation("conv")
    conversation.insert(spoken_item("a", 2000))
    assert conversation.tokens() == (0, 20)
    spoken = assistant_item("b")
    spoken.speak(1000, [Word(0, "12345678")])
    conversation.insert(spoken)
    assert conversation.tokens() == (2, 40)


@pytest.mark.parametrize("end_ms", [-1, 1.5, True, "1", None])
def test_a_cut_needs_a_number(end_ms: object) -> None:
    conversation = Conversation("conv")
    item = assistant_item("a")
    item.speak(1000, [])
    conversation.insert(item)
    with pytest.raises(RealtimeError) as refused:
        conversation.truncate("a", 0, end_ms)
    assert refused.value.param == "audio_end_ms"
    with pytest.raises(RealtimeError) as refused:
        conversation.truncate("a", 1, 0)
    assert refused.value.param == "content_index"


def test_an_item_without_audio_cannot_be_cut() -> None:
    conversation = Conversation("conv")
    for item in (spoken_item("user", 1000), assistant_item("silent"), call("call")):
        conversation.insert(item)
        with pytest.raises(RealtimeError, match="Only model output audio"):
            conversation.truncate(item.id, 0, 0)


def call(item_id: str) -> Item:
    fields = {"call_id": "c", "name": "n", "arguments": "{}"}
    return client_item({"type": "function_call", "id": item_id, **fields}, "fresh")


def test_client_items_keep_what_is_known_and_get_an_id() -> None:
    given_item = {
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "secret": 1,
        "content": [{"type": "output_text", "text": "t", "more": 2}],
    }
    assert client_item(given_item, "fresh").body == {
        "id": "fresh",
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "t"}],
    }
    assert call("mine").body["call_id"] == "c"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ([], "item"),
        ({"type": "message", "id": ""}, "item.id"),
        ({"type": "message", "id": "a b"}, "item.id"),
        ({"type": "message", "id": 7}, "item.id"),
        ({"type": "mcp_call"}, "item.type"),
        ({"type": "message", "role": "tool", "content": []}, "item.role"),
        ({"type": "message", "role": [], "content": []}, "item.role"),
        ({"type": "message", "role": "user"}, "item.content"),
        ({"type": "message", "role": "user", "content": ["x"]}, "item.content"),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text"}]},
            "item.content[0].text",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": 1}]},
            "item.content[0].text",
        ),
    ],
)
def test_client_items_that_are_none(item: object, param: str) -> None:
    with pytest.raises(RealtimeError) as refused:
        client_item(item, "fresh")
    assert refused.value.param == param
