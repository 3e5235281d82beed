"""The unmodified `openai` package for Node in sessions with `gateway backend`, over TLS.

It opens WebSockets as wss only; what it meets is a front with a certificate, and the agent behind.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from pydantic import Field, TypeAdapter

from tests.peers.gateway import eventually
from tests.sdk import authority
from tests.sdk.application import NodeApplication
from tests.sdk.embedded import TOOL, EmbeddedServer, TLSFront, pieces, speech
from tests.sdk.schemas import need_node

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

MODEL = "gpt-realtime"


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeApplication]:
    need_node()
    files = authority.make(tmp_path_factory.mktemp("tls"))
    with (
        EmbeddedServer(tmp_path_factory.mktemp("agent")) as server,
        TLSFront(server, files.certificate, files.key),
        NodeApplication("openai_session.mjs", server, files.authority) as application,
    ):
        yield application


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A caller's turn, in pieces as they are sent."""
    audio = pieces(speech(tmp_path_factory.mktemp("speech")))
    return [b64encode(piece).decode() for piece in audio]


@pytest.fixture
def session(application: NodeApplication) -> Iterator[NodeApplication]:
    """A session in which the agent has greeted."""
    application.do("open", target={"model": MODEL})
    application.event("session.created")
    application.do("send", event={"type": "response.create"})
    application.event("rate_limits.updated")
    yield application
    application.do("close")
    application.next("closed")


def ask(session: NodeApplication, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    session.do("send", event={"type": "conversation.item.create", "item": item})
    session.do("send", event={"type": "response.create"})


def update(session: NodeApplication, **config: Any) -> dict[str, Any]:
    """Configure the session; returns it as the agent shows it."""
    event = {"type": "session.update", "session": {"type": "realtime", **config}}
    session.do("send", event=event)
    shown: dict[str, Any] = session.event("session.updated")["session"]
    return shown


def test_text(session: NodeApplication) -> None:
    assert update(session, output_modalities=["text"])["output_modalities"] == ["text"]
    ask(session, "hello")
    assert session.event("response.output_text.done")["text"].startswith("You sent me a text.")
    done = session.event("response.done")["response"]
    assert done["status"] == "completed" and done["usage"]["output_tokens"] > 0


def test_a_spoken_turn_and_an_interruption(session: NodeApplication, turn: list[str]) -> None:
    session.do("append", pieces=turn)
    began = session.event("input_audio_buffer.speech_started")
    assert session.event("input_audio_buffer.committed")["item_id"] == began["item_id"]
    session.event("response.output_audio.delta")
    assert session.event("response.done")["response"]["status"] == "completed"

    ask(session, "a story")
    item = session.event("response.output_item.added")["item"]
    session.event("response.output_audio.delta")
    before = session.kinds().count("response.done")
    session.do("append", pieces=turn)
    cut = session.event("response.done")["response"]
    assert cut["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    heard = {"item_id": item["id"], "content_index": 0, "audio_end_ms": 80}
    session.do("send", event={"type": "conversation.item.truncate", **heard})
    truncated = session.event("conversation.item.truncated", anywhere=True)
    assert {name: truncated[name] for name in heard} == heard
    # The story, and the answer to what interrupted it.
    assert eventually(lambda: session.kinds().count("response.done") == before + 2, 10)


def test_tools(session: NodeApplication) -> None:
    assert update(session, tools=[TOOL])["tools"][0]["name"] == "get_weather"
    ask(session, "How is the weather?")
    called = session.event("response.function_call_arguments.done")
    assert json.loads(called["arguments"]) == {"city": "Oslo"}
    session.event("response.done")
    output = {"type": "function_call_output", "call_id": called["call_id"], "output": "clear"}
    session.do("send", event={"type": "conversation.item.create", "item": output})
    session.do("send", event={"type": "response.create"})
    said = session.event("response.done")["response"]["output"][0]["content"][0]["transcript"]
    assert "clear" in said
    forced = {"tool_choice": {"type": "function", "name": "get_weather"}}
    session.do("send", event={"type": "response.create", "response": forced})
    called = session.event("response.function_call_arguments.done")
    assert isinstance(json.loads(called["arguments"])["city"], str)


def test_manual_turns_and_a_response_beside(session: NodeApplication, turn: list[str]) -> None:
    shown = update(session, audio={"input": {"turn_detection": None}})
    assert shown["audio"]["input"]["turn_detection"] is None
    session.do("append", pieces=turn)
    session.do("send", event={"type": "input_audio_buffer.commit"})
    session.event("conversation.item.done")
    beside = {"conversation": "none", "metadata": {"topic": "2"}, "instructions": "say: Aside."}
    session.do("send", event={"type": "response.create", "response": beside})
    done = session.event("response.done")["response"]
    assert (done["conversation_id"], done["metadata"]) == (None, {"topic": "2"})
    session.do("send", event={"type": "response.create"})
    assert session.event("response.done")["response"]["conversation_id"]


def test_errors(session: NodeApplication) -> None:
    wrong = {"type": "realtime", "audio": {"output": {"speed": 9}}}
    session.do("send", event={"type": "session.update", "event_id": "mine", "session": wrong})
    error = session.event("error")["error"]
    assert (error["event_id"], error["param"]) == ("mine", "session.audio.output.speed")
    session.do("send", event={"type": "response.cancel"})
    assert session.event("error")["error"]["code"] == "response_cancel_not_active"


def test_transcription(application: NodeApplication, turn: list[str]) -> None:
    application.do("open", target={"intent": "transcription"})
    assert application.event("session.created")["session"]["type"] == "transcription"
    hearing = {"transcription": {"model": "gpt-4o-transcribe"}}
    config = {"type": "transcription", "audio": {"input": hearing}}
    application.do("send", event={"type": "session.update", "session": config})
    application.event("session.updated")
    application.do("append", pieces=turn)
    committed = application.event("input_audio_buffer.committed")
    kind = "conversation.item.input_audio_transcription.completed"
    assert application.event(kind)["item_id"] == committed["item_id"]
    application.do("close")
    assert application.next("closed")


def test_the_beta_client(application: NodeApplication, turn: list[str]) -> None:
    types: TypeAdapter[Any] = TypeAdapter(Annotated[BetaServerEvent, Field(discriminator="type")])

    def until(kind: str) -> Any:
        while True:
            event = types.validate_python(application.next("beta"))
            if event.type == kind:
                return event

    application.do("open_beta", model="gpt-4o-realtime-preview")
    assert until("session.created").session.input_audio_format == "pcm16"
    config = {"voice": "sage", "modalities": ["audio", "text"]}
    application.do("send", event={"type": "session.update", "session": config})
    assert until("session.updated").session.voice == "sage"
    application.do("append", pieces=turn)
    assert until("conversation.item.created").item.role == "user"
    until("response.audio.delta")
    assert until("response.done").response.status == "completed"
    application.do("close")
    application.next("closed")
