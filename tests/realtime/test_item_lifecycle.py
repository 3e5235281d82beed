"""One `added` and one `done` for every item."""

from itertools import permutations

import pytest

from gateway.realtime.item_lifecycle import ItemLifecycle
from tests.realtime.official import Event

pytestmark = pytest.mark.pure


def item(status: str = "in_progress", role: str = "assistant") -> Event:
    return {"id": "item_1", "type": "message", "role": role, "status": status, "content": []}


def change(kind: str, **fields: Event) -> Event:
    return {
        "type": f"conversation.item.{kind}",
        "event_id": kind,
        "previous_item_id": "item_0",
    } | fields


def output_done(response_id: str = "resp_1") -> Event:
    done = {"type": "response.output_item.done", "response_id": response_id, "output_index": 0}
    return done | {"item": item("completed")}


def played(*events: Event) -> list[str]:
    items = ItemLifecycle()
    told = [one for event in events for one in items.events(event)]
    return [one["type"].removeprefix("conversation.item.") for one in told]


BEGUN = {"item": item()}
HEARD = {"item": item("completed", "user")}


@pytest.mark.parametrize(
    "events",
    [
        [change("created", **BEGUN), output_done()],
        [change("added", **BEGUN), output_done()],
        [change("added", **BEGUN), change("created", **BEGUN), output_done()],
        [change("created", **BEGUN), change("added", **BEGUN), output_done()],
        [change("added", **BEGUN), change("done", item=item("completed")), output_done()],
        [output_done()],
    ],
)
def test_an_item_of_the_model(events: list[Event]) -> None:
    assert played(*events) == ["added", "done", "response.output_item.done"]


@pytest.mark.parametrize("kinds", list(permutations(["created", "added", "done"])))
def test_an_item_that_is_complete(kinds: tuple[str, ...]) -> None:
    for length in (1, 2, 3):
        assert played(*(change(kind, **HEARD) for kind in kinds[:length])) == ["added", "done"]


@pytest.mark.parametrize(
    ("created", "changes"),
    [
        ({"role": "user", "status": "completed"}, ["added", "done"]),
        ({"role": "user", "status": None}, ["added", "done"]),
        ({"role": "system"}, ["added", "done"]),
        ({"type": "function_call_output"}, ["added", "done"]),
        ({"role": "assistant", "status": "completed"}, ["added", "done"]),  # the client's own
        ({"role": "assistant", "status": "in_progress"}, ["added"]),
        ({"role": "assistant", "status": "incomplete"}, ["added"]),
        ({"role": "assistant"}, ["added"]),
        ({"type": "function_call"}, ["added"]),
        ({"type": "function_call", "status": "in_progress"}, ["added"]),
    ],
)
def test_a_created_item_is_done_unless_a_response_is_making_it(
    created: Event, changes: list[str]
) -> None:
    assert played(change("created", item={"id": "item_1", "type": "message"} | created)) == changes


def test_what_comes_after_the_response_was_done_with_an_item_is_not_repeated() -> None:
    late = [change("done", **HEARD), change("added", **BEGUN), change("created", **BEGUN)]
    assert played(output_done(), *late) == ["added", "done", "response.output_item.done"]


def test_what_is_made_has_the_place_of_the_item_and_no_id() -> None:
    created = change("created", **HEARD)
    added, done = ItemLifecycle().events(created)
    assert added == created | {"type": "conversation.item.added"}
    assert done == {
        "type": "conversation.item.done",
        "previous_item_id": "item_0",
        "item": HEARD["item"],
    }


def test_the_place_that_was_told_first_is_told_again() -> None:
    items = ItemLifecycle()
    items.events(change("created", **BEGUN))
    done, _ = items.events(output_done())
    assert done["previous_item_id"] == "item_0"
    assert done["item"] == item("completed")


def test_an_item_outside_of_the_conversation_is_not_announced() -> None:
    begun = {"type": "response.created", "response": {"id": "resp_1", "conversation_id": None}}
    ended = {"type": "response.done", "response": {"id": "resp_1"}}
    assert played(begun, output_done(), ended) == [
        "response.created",
        "response.output_item.done",
        "response.done",
    ]
    in_band = {"type": "response.created", "response": {"id": "resp_2"}}
    assert played(begun, in_band, output_done("resp_2"))[2:] == [
        "added",
        "done",
        "response.output_item.done",
    ]


def test_a_deleted_item_may_come_again() -> None:
    deleted = {"type": "conversation.item.deleted", "item_id": "item_1"}
    assert played(change("added", **HEARD), deleted, change("added", **HEARD)) == [
        "added",
        "done",
        "deleted",
        "added",
        "done",
    ]
