"""The texts of a connection whose two sides speak differently."""

import base64
import json
from typing import Any

import pytest

from gateway.realtime.dialects import DialectOptions
from gateway.upstream.translator import Translator, translator

pytestmark = pytest.mark.pure

AUDIO = base64.b64encode(bytes(480)).decode()
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": AUDIO,
}


def text(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def between(options: DialectOptions, *, beta_client: bool = False) -> Translator:
    made = translator(options, beta_client=beta_client)
    assert made is not None
    return made


def types(texts: list[bytes]) -> list[str]:
    return [json.loads(one)["type"] for one in texts]


@pytest.mark.parametrize(
    ("options", "beta_client"),
    [
        (DialectOptions(), False),
        (DialectOptions(), True),  # the server takes the client's header for it
        (DialectOptions("beta"), True),
    ],
)
def test_two_who_speak_alike_need_no_translator(options: DialectOptions, beta_client: bool) -> None:
    assert translator(options, beta_client=beta_client) is None


@pytest.mark.parametrize("name", ["beta", "xai", "qwen"])
def test_an_audio_delta_is_ga(name: str) -> None:
    kind = "response.output_audio.delta" if name == "xai" else "response.audio.delta"
    (told,) = between(DialectOptions(name)).from_server(text(DELTA | {"type": kind}))
    assert told == text(DELTA)


@pytest.mark.parametrize("name", ["xai", "qwen"])
def test_an_audio_delta_for_a_client_of_beta(name: str) -> None:
    kind = "response.output_audio.delta" if name == "xai" else "response.audio.delta"
    made = between(DialectOptions(name), beta_client=True)
    assert made.from_server(text(DELTA | {"type": kind})) == [
        text(DELTA | {"type": "response.audio.delta"})
    ]


def test_a_config_in_the_servers_words() -> None:
    session = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    (said,) = between(DialectOptions("beta")).to_server(
        {"type": "session.update", "session": session}
    )
    assert json.loads(said) == {"type": "session.update", "session": {"voice": "marin"}}


def test_a_config_of_a_beta_client_reaches_a_server_of_neither() -> None:
    made = between(DialectOptions("xai"), beta_client=True)
    event = {"type": "session.update", "session": {"voice": "eve", "modalities": ["text"]}}
    (said,) = made.from_client(text(event))
    session = json.loads(said)["session"]
    assert session["voice"] == "eve"  # at the top, where this server looks for it
    assert session["output_modalities"] == ["text"]


def test_one_event_may_be_several() -> None:
    item = {"id": "item_1", "type": "message", "role": "user", "status": "completed", "content": []}
    event = {"type": "conversation.item.created", "event_id": "e", "item": item}
    made = between(DialectOptions("beta"))
    assert types(made.from_server(text(event))) == [
        "conversation.item.added",
        "conversation.item.done",
    ]


def test_one_event_may_be_none() -> None:
    made = between(DialectOptions(drop_events=frozenset({"ping"})))
    assert made.from_server(text({"type": "ping"})) == []
    assert types(made.from_server(text({"type": "pong"}))) == ["pong"]


def test_what_a_server_cannot_do_is_answered_here() -> None:
    made = between(DialectOptions(truncate="skip"))
    event = {
        "type": "conversation.item.truncate",
        "item_id": "item_1",
        "content_index": 0,
        "audio_end_ms": 120,
    }
    assert made.from_client(text(event)) == []
    (answer,) = made.answers()
    told = json.loads(answer)
    assert told.pop("event_id")
    assert told == event | {"type": "conversation.item.truncated"}
    assert made.answers() == []


@pytest.mark.parametrize("name", ["beta", "xai", "qwen"])
@pytest.mark.parametrize("beta_client", [False, True])
def test_an_append_passes_unread(name: str, beta_client: bool) -> None:
    made = translator(DialectOptions(name), beta_client=beta_client)
    odd = b' {"type": "input_audio_buffer.append", "audio": "%s" }' % AUDIO.encode()
    if made is not None:
        assert made.from_client(odd) == [odd]
        assert made.answers() == []


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"type":7}', b"\xff"])
def test_what_cannot_be_read_passes_as_it_came(garbage: bytes) -> None:
    made = between(DialectOptions("beta"))
    assert made.from_server(garbage) == made.from_client(garbage) == [garbage]
