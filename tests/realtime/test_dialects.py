"""What every dialect does: options, formats, truncation, audio deltas."""

import json
from base64 import b64encode
from itertools import count, permutations
from typing import Any

import pytest

from gateway.audio.playout import ItemPart
from gateway.realtime.audio import AudioDelta, DeltaReader, is_audio_delta
from gateway.realtime.dialects import Dialect, DialectOptions
from gateway.realtime.events import encode_event
from tests.realtime.official import GA_SERVER, Event, fault

pytestmark = pytest.mark.pure

ALL = ["ga", "beta", "xai", "qwen"]


def dialect(name: str = "ga", **options: Any) -> Dialect:
    numbers = count(1)
    return Dialect(DialectOptions(name, **options), lambda: f"made_{next(numbers)}")


TRUNCATE = {
    "type": "conversation.item.truncate",
    "event_id": "mine",
    "item_id": "item_1",
    "content_index": 0,
    "audio_end_ms": 1280,
}


def test_only_ga_without_options_is_plain() -> None:
    assert dialect().plain
    for one in (
        *(dialect(name) for name in ALL[1:]),
        dialect(session_shape="flat"),
        dialect(drop_events=frozenset({"ping"})),
        dialect(truncate="skip"),
        dialect(omit=frozenset({"voice"})),
    ):
        assert not one.plain


@pytest.mark.parametrize("name", ALL)
def test_a_server_that_cannot_truncate_is_not_asked_and_clients_hear_that_it_is_done(
    name: str,
) -> None:
    skipping = dialect(name, truncate="skip")
    assert skipping.to_server(TRUNCATE) == []
    [answer] = skipping.answers()
    assert answer == {
        "type": "conversation.item.truncated",
        "event_id": "made_1",
        "item_id": "item_1",
        "content_index": 0,
        "audio_end_ms": 1280,
    }
    assert fault(GA_SERVER, answer) == ""
    assert skipping.answers() == []


@pytest.mark.parametrize("name", ALL)
def test_a_server_that_can_truncate_is_asked(name: str) -> None:
    asking = dialect(name)
    [sent] = asking.to_server(TRUNCATE)
    assert sent is TRUNCATE
    assert asking.answers() == []


def test_dropped_events_are_named_as_the_server_names_them() -> None:
    dropping = dialect("beta", drop_events=frozenset({"response.text.delta", "noise"}))
    assert dropping.from_server({"type": "response.text.delta", "delta": "a"}) == []
    assert dropping.from_server({"type": "noise"}) == []
    assert dropping.from_server({"type": "response.text.done", "text": "a"}) != []


SESSION = {
    "type": "realtime",
    "instructions": "i",
    "audio": {
        "input": {"turn_detection": None, "format": {"type": "audio/pcmu"}},
        "output": {"voice": "v"},
    },
}


@pytest.mark.parametrize(
    ("nested", "flat"),
    [
        (
            SESSION,
            {
                "type": "realtime",
                "instructions": "i",
                "voice": "v",
                "turn_detection": None,
                "audio": {"input": {"format": {"type": "audio/pcmu"}}},
            },
        ),
        ({"audio": {"output": {"voice": "v"}}}, {"voice": "v"}),
        ({"audio": {}}, {"audio": {}}),
        ({"audio": None}, {"audio": None}),
        ({}, {}),
    ],
)
def test_a_flat_session_of_ga_words(nested: Event, flat: Event) -> None:
    server = dialect(session_shape="flat")
    assert server.to_server({"type": "session.update", "session": nested}) == [
        {"type": "session.update", "session": flat}
    ]


def test_a_flat_session_is_read_nested() -> None:
    flat = {"voice": "v", "turn_detection": {"type": "server_vad"}, "instructions": "i"}
    [event] = dialect(session_shape="flat").from_server(
        {"type": "session.updated", "session": flat}
    )
    assert event["session"] == {
        "type": "realtime",
        "instructions": "i",
        "audio": {"input": {"turn_detection": {"type": "server_vad"}}, "output": {"voice": "v"}},
    }
    assert fault(GA_SERVER, event) == ""


def test_fields_that_a_server_refuses_are_not_told() -> None:
    omit = frozenset({"input_audio_format", "turn_detection.prefix_padding_ms", "voice.x", "none"})
    session = {
        "type": "realtime",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "turn_detection": {"type": "server_vad", "prefix_padding_ms": 300, "threshold": 1},
            },
            "output": {"voice": "v"},
        },
    }
    [sent] = dialect("beta", omit=omit).to_server({"type": "session.update", "session": session})
    assert sent["session"] == {
        "turn_detection": {"type": "server_vad", "threshold": 1},
        "voice": "v",
    }


def pcm(rate: int) -> Event:
    return {"type": "audio/pcm", "rate": rate}


def asked(input_hz: int, output_hz: int) -> Event:
    audio = {"input": {"format": pcm(input_hz)}, "output": {"format": pcm(output_hz)}}
    return {"type": "session.update", "session": {"type": "realtime", "audio": audio}}


def formats(event: Event) -> list[Event]:
    return [event["session"]["audio"][direction]["format"] for direction in ("input", "output")]


FLAT_PCM = {"input_audio_format": "pcm16", "output_audio_format": "pcm16"}


def test_a_flat_format_has_no_rate_but_the_one_that_was_asked_for() -> None:
    beta = dialect("beta")
    [created] = beta.from_server({"type": "session.created", "session": FLAT_PCM})
    assert formats(created) == [pcm(24000), pcm(24000)]
    beta.to_server(asked(16000, 24000))
    [updated] = beta.from_server({"type": "session.updated", "session": FLAT_PCM})
    assert formats(updated) == [{"type": "audio/pcm"}, pcm(24000)]
    assert fault(GA_SERVER, updated) == ""


@pytest.mark.parametrize("name", ["ga", "xai"])
def test_a_rate_that_official_types_do_not_know_is_told_only_where_it_was_not_asked_for(
    name: str,
) -> None:
    server = dialect(name)
    server.to_server(asked(16000, 8000))
    audio = {"input": {"format": pcm(16000)}, "output": {"format": pcm(48000)}}
    [updated] = server.from_server({"type": "session.updated", "session": {"audio": audio}})
    assert formats(updated) == [{"type": "audio/pcm"}, pcm(48000)]


AUDIO = bytes(range(256)) * 10
DELTA: Event = {
    "type": "response.audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 1,
    "content_index": 2,
    "delta": b64encode(AUDIO).decode(),
}
READ = AudioDelta(ItemPart("resp_1", "item_1", 2), AUDIO)


@pytest.mark.parametrize("kind", ["response.audio.delta", "response.output_audio.delta"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_delta_in_any_order_is_read_quickly(kind: str, separators: tuple[str, str]) -> None:
    event = DELTA | {"type": kind}
    for keys in list(permutations(event))[::41]:
        text = json.dumps({key: event[key] for key in keys}, separators=separators).encode()
        read = dialect("beta").delta(text)
        assert is_audio_delta(read)
        assert DeltaReader().read(read) == READ
        assert json.loads(read) == DELTA | {"type": "response.output_audio.delta"}


@pytest.mark.parametrize("name", ALL)
def test_a_delta_that_is_right_already_is_the_same(name: str) -> None:
    text = encode_event(DELTA | {"type": "response.output_audio.delta", "obfuscation": "x"})
    assert dialect(name).delta(text) is text


def test_what_a_delta_leaves_out_is_filled_in_as_other_events_told() -> None:
    server = dialect("xai")
    server.from_server({"type": "response.created", "response": {"id": "resp_1"}})
    for item_id in ("item_0", "item_1"):
        item: dict[str, Any] = {"id": item_id, "type": "message"}
        item |= {"role": "assistant", "content": []}
        server.from_server({"type": "response.output_item.added", "item": item})
    told = {"type": "response.output_audio.delta", "item_id": "item_1", "delta": DELTA["delta"]}
    text = server.delta(encode_event(told))
    assert DeltaReader().read(text) == AudioDelta(ItemPart("resp_1", "item_1", 0), AUDIO)
    delta = json.loads(text)
    assert delta["output_index"] == 1
    assert fault(GA_SERVER, delta) == ""


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"type":"response.text.delta","delta":"response.audio.delta"}',
        b'{"type":"error","error":{"param":"response.audio.delta"}}',
        b'{"type":"error","error":{"param":"response.audio.delta","delta":"x"}}',
        b'{"type":"response.audio.delta"}',
        b'{"type":"response.audio.delta","delta":null,"event_id":"x"}',
        b'{"type":"response.audio.delta","delta":"AAAA',
        b'{"type":"response.audio.delta","delta":"AAAA"',
        b'{"delta":"AA\\"AA","type":"response.audio.delta"}',
        b'"response.audio.delta" "response_id":" "item_id":" "delta":"',
        b"\xff\xfe not JSON",
    ],
)
@pytest.mark.parametrize("name", ALL)
def test_any_other_text_comes_back_as_it_is(text: bytes, name: str) -> None:
    assert dialect(name).delta(text) is text
