"""The conversation and its items."""

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backend.items import (
    Conversation,
    Word,
    assistant_item,
    call_item,
    listing_item,
    spoken_item,
)
from gateway.backend.tokens import Tokens
from gateway.realtime.errors import RealtimeError
from gateway.realtime.resources import AssistantMessageItem

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


def test_items_of_long_texts_are_forgotten_sooner() -> None:
    conversation = Conversation("conv")
    for number in range(18):
        item = call_item(f"i{number}", "call", "f")
        item.body["arguments"] = "x" * (250 << 10)
        conversation.insert(item)
        if number == 5:
            conversation.delete("i5")
    assert [n for n in range(18) if not conversation.has(f"i{n}")] == [0, 5]


def test_what_was_shown_does_not_change_afterwards() -> None:
    item = assistant_item("a")
    shown = cast("AssistantMessageItem", item.shown())
    item.speak(100, [Word(0, "Hi")])
    assert shown["content"] == []
    again = cast("AssistantMessageItem", item.shown())
    item.body["content"][0]["transcript"] = "changed"
    assert again["content"] == [{"type": "output_audio", "transcript": "Hi"}]


def test_tokens_count_text_and_audio() -> None:
    conversation = Conversation("conv")
    conversation.insert(spoken_item("a", 2099))
    assert conversation.tokens == Tokens(text=0, audio=20)
    spoken = assistant_item("b")
    spoken.speak(1049, [Word(0, "12345678")])
    conversation.insert(spoken)
    assert conversation.tokens == Tokens(text=2, audio=40)
    written = assistant_item("c")
    written.write("123456789")
    call = call_item("d", "call", "1234")
    call.body["arguments"] = "12345678"
    for item in (written, call, listing_item("e", "server")):
        conversation.insert(item)
    assert conversation.tokens == Tokens(text=2 + 2 + 3, audio=40)


def test_a_transcript_of_the_caller_is_no_text_for_the_model() -> None:
    item = spoken_item("a", 1000)
    item.body["content"][0]["transcript"] = "many words of the caller"
    assert item.tokens == Tokens(text=0, audio=10)


def test_new_ids_are_new() -> None:
    conversation = Conversation("conv")
    conversation.insert(spoken_item("item_1", 0))
    conversation.insert(call_item("item_2", "call_3", "f"))
    conversation.upcoming = "item_4"
    tokens = iter(["1", "2", "4", "5", "3", "6"])
    assert conversation.new_id(lambda: next(tokens)) == "item_5"
    assert conversation.new_call_id(lambda: next(tokens)) == "call_6"
    assert conversation.has("item_4")
    assert not conversation.has("item_5")
    assert conversation.called("call_3") == "f"
    assert conversation.called("call_4") is None


def test_only_the_beginning_of_the_agents_audio_can_be_kept() -> None:
    conversation = Conversation("conv")
    item = assistant_item("a")
    item.speak(1000, [Word(0, "One"), Word(400, " two")])
    conversation.insert(item)
    with pytest.raises(RealtimeError) as refused:
        conversation.truncate("a", 1, 0)
    assert refused.value.param == "content_index"
    with pytest.raises(RealtimeError) as refused:
        conversation.truncate("a", 0, 1001)
    assert (refused.value.code, refused.value.param) == ("invalid_value", None)
    conversation.truncate("a", 0, 400)
    assert item.transcript == "One"
    assert item.audio_ms == 400


def test_an_item_without_audio_cannot_be_cut() -> None:
    conversation = Conversation("conv")
    written = assistant_item("written")
    written.write("Hello.")
    items = [spoken_item("user", 1000), assistant_item("silent"), written]
    for item in [*items, call_item("call", "c", "f")]:
        conversation.insert(item)
        with pytest.raises(RealtimeError, match="Only model output audio") as refused:
            conversation.truncate(item.id, 0, 0)
        assert refused.value.param == "item_id"
