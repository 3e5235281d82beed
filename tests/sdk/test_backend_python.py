"""The unmodified `openai` package for Python in sessions with `gateway backend`.

Every event that comes is shown to the official clients' types at the end of the run; those of the
beta dialect, which have types of their own, are held to them here.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import (
    RealtimeSessionCreateRequestParam,
    RealtimeTranscriptionSessionCreateRequestParam,
)
from openai.types.responses import ToolChoiceFunctionParam
from pydantic import Field, TypeAdapter

from tests.peers.gateway import eventually
from tests.sdk.embedded import KEY, TOOL, EmbeddedServer, pieces, speech
from tests.sdk.sideband import AsyncSideband, Sideband, returned, user_text

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

MODEL = "gpt-realtime"
TEXT: RealtimeSessionCreateRequestParam = {"type": "realtime", "output_modalities": ["text"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("agent")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: EmbeddedServer) -> Iterator[OpenAI]:
    with OpenAI(
        api_key=KEY, base_url=server.base_url, websocket_base_url=server.socket_url
    ) as client:
        yield client


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A caller's turn, in pieces."""
    return pieces(speech(tmp_path_factory.mktemp("speech")))


@pytest.fixture
def session(client: OpenAI) -> Iterator[Sideband]:
    """One in which the agent has greeted, which is what it does first."""
    with Sideband(client, model=MODEL) as session:
        session.next("session.created")
        session.connection.response.create()
        session.next("rate_limits.updated")
        yield session


def kinds(session: Sideband) -> list[str]:
    """Types of all events since the greeting."""
    return session.kinds()[session.kinds().index("rate_limits.updated") + 1 :]


def ask(session: Sideband, text: str) -> None:
    session.connection.conversation.item.create(item=user_text(text))
    session.connection.response.create()


def say(session: Sideband, audio: list[bytes]) -> None:
    for piece in audio:
        session.connection.input_audio_buffer.append(audio=b64encode(piece).decode())


def audio_of(session: Sideband, response_id: str) -> bytes:
    """What a response has said so far."""
    return b"".join(
        b64decode(event["delta"])
        for event in session.events
        if event["type"] == "response.output_audio.delta" and event["response_id"] == response_id
    )


def test_the_session_shows_its_config(client: OpenAI) -> None:
    with Sideband(client, model=MODEL) as session:
        shown = session.next("session.created").session
        assert (shown.type, shown.model, shown.output_modalities) == ("realtime", MODEL, ["audio"])
        assert shown.audio.input.format.type == shown.audio.output.format.type == "audio/pcm"
        assert shown.audio.input.turn_detection.type == "server_vad"


def test_text(session: Sideband) -> None:
    session.connection.session.update(session=TEXT)
    assert session.next("session.updated").session.output_modalities == ["text"]
    ask(session, "hello")
    created = session.next("response.created").response
    whole = session.next("response.output_text.done").text
    deltas = [one["delta"] for one in session.events if one["type"] == "response.output_text.delta"]
    assert "".join(deltas) == whole and whole.startswith("You sent me a text.")
    done = session.next("response.done").response
    assert (done.id, done.status) == (created.id, "completed")
    assert done.output[0].content[0].text == whole
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0
    session.next("rate_limits.updated")
    assert "response.output_audio.delta" not in kinds(session)


def test_a_spoken_turn_is_answered(session: Sideband, turn: list[bytes]) -> None:
    say(session, turn)
    began = session.next("input_audio_buffer.speech_started")
    ended = session.next("input_audio_buffer.speech_stopped")
    committed = session.next("input_audio_buffer.committed")
    assert began.item_id == ended.item_id == committed.item_id
    assert ended.audio_end_ms > began.audio_start_ms >= 0
    assert session.next("conversation.item.added").item.id == began.item_id
    assert session.next("conversation.item.done").item.role == "user"
    response = session.next("response.created").response
    assert session.next("response.output_item.added").item.role == "assistant"
    session.next("response.content_part.added")
    session.next("response.output_audio.delta")
    session.next("response.output_audio.done")
    done = session.next("response.done").response
    assert (done.id, done.status) == (response.id, "completed")
    assert "I am listening." in done.output[0].content[0].transcript
    spoken_s = len(audio_of(session, response.id)) / 48_000
    assert spoken_s > 1
    tokens = done.usage.output_token_details.audio_tokens
    assert abs(tokens - spoken_s * 20) <= 2
    session.connection.conversation.item.retrieve(item_id=began.item_id)
    assert session.next("conversation.item.retrieved").item.content[0].type == "input_audio"


def test_an_interruption(session: Sideband, turn: list[bytes]) -> None:
    ask(session, "a story, please")
    response = session.next("response.created").response
    item = session.next("response.output_item.added").item
    session.next("response.output_audio.delta")
    say(session, turn)
    session.next("input_audio_buffer.speech_started")
    cut = session.next("response.done").response
    assert (cut.id, cut.status) == (response.id, "cancelled")
    assert cut.status_details.reason == "turn_detected"
    session.connection.conversation.item.truncate(
        item_id=item.id, content_index=0, audio_end_ms=100
    )
    truncated = session.next("conversation.item.truncated")
    assert (truncated.item_id, truncated.audio_end_ms) == (item.id, 100)
    # What was said is heard, and answered by a response of its own.
    assert eventually(lambda: kinds(session).count("response.done") == 2, 10)
    assert len(audio_of(session, response.id)) / 48_000 < 12


def test_a_tool_makes_the_round(session: Sideband) -> None:
    session.connection.session.update(session={"type": "realtime", "tools": [TOOL]})
    assert session.next("session.updated").session.tools[0].name == "get_weather"
    ask(session, "How is the weather?")
    called = session.next("response.function_call_arguments.done")
    assert (called.name, json.loads(called.arguments)) == ("get_weather", {"city": "Oslo"})
    item = session.next("response.output_item.done").item
    assert (item.type, item.call_id, item.status) == ("function_call", called.call_id, "completed")
    session.next("response.done")
    session.connection.conversation.item.create(item=returned(called.call_id, "clear"))
    assert session.next("conversation.item.done").item.type == "function_call_output"
    session.connection.response.create()
    done = session.next("response.done").response
    assert "clear" in done.output[0].content[0].transcript


def test_a_tool_that_must_be_called(session: Sideband) -> None:
    choice: ToolChoiceFunctionParam = {"type": "function", "name": "get_weather"}
    session.connection.session.update(session={"type": "realtime", "tools": [TOOL]})
    session.next("session.updated")
    session.connection.response.create(response={"tool_choice": choice})
    called = session.next("response.function_call_arguments.done")
    assert called.name == "get_weather"
    arguments = json.loads(called.arguments)
    assert set(arguments) == {"city"} and isinstance(arguments["city"], str)
    assert session.next("response.done").response.output[0].type == "function_call"


def test_manual_turns(session: Sideband, turn: list[bytes]) -> None:
    manual: RealtimeSessionCreateRequestParam = {
        "type": "realtime",
        "audio": {"input": {"turn_detection": None}},
    }
    session.connection.session.update(session=manual)
    assert session.next("session.updated").session.audio.input.turn_detection is None
    session.connection.input_audio_buffer.commit(event_id="too-early")
    error = session.next("error").error
    assert (error.code, error.event_id) == ("input_audio_buffer_commit_empty", "too-early")
    say(session, turn[:5])
    session.connection.input_audio_buffer.clear()
    session.next("input_audio_buffer.cleared")
    say(session, turn)
    session.connection.input_audio_buffer.commit()
    committed = session.next("input_audio_buffer.committed")
    assert session.next("conversation.item.done").item.id == committed.item_id
    assert "response.created" not in kinds(session)
    session.connection.response.create()
    assert session.next("response.done").response.status == "completed"
    assert "input_audio_buffer.speech_started" not in session.kinds()


def test_out_of_band(session: Sideband) -> None:
    session.connection.response.create(
        response={
            **{"conversation": "none", "output_modalities": ["text"], "metadata": {"topic": "2"}},
            "input": [user_text("Which of the two is it?")],
            "instructions": "say: The second.",
        }
    )
    done = session.next("response.done").response
    assert (done.conversation_id, done.metadata) == (None, {"topic": "2"})
    assert done.output[0].content[0].text == "The second."
    assert not [kind for kind in kinds(session) if kind.startswith("conversation.item")]


def test_transcription(client: OpenAI, turn: list[bytes]) -> None:
    with Sideband(client, extra_query={"intent": "transcription"}) as session:
        assert session.next("session.created").session.type == "transcription"
        hearing: RealtimeTranscriptionSessionCreateRequestParam = {
            "type": "transcription",
            "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}},
        }
        session.connection.session.update(session=hearing)
        shown = session.next("session.updated").session
        assert shown.audio.input.transcription.model == "gpt-4o-transcribe"
        say(session, turn)
        committed = session.next("input_audio_buffer.committed")
        kind = "conversation.item.input_audio_transcription.completed"
        assert session.next(kind).item_id == committed.item_id
        session.connection.response.create(event_id="mine")
        assert session.next("error").error.event_id == "mine"
        assert not [kind for kind in session.kinds() if kind.startswith("response.")]


WRONG: list[tuple[Any, str, str]] = [
    ({"instructions": "No type."}, "missing_required_parameter", "session.type"),
    ({"type": "realtime", "voices": 1}, "unknown_parameter", "session.voices"),
    (
        {"type": "realtime", "audio": {"output": {"speed": 9}}},
        "decimal_above_max_value",
        "session.audio.output.speed",
    ),
    (
        {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "magic"}}}},
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    (
        {"type": "realtime", "output_modalities": ["audio", "text"]},
        "invalid_value",
        "session.output_modalities",
    ),
]


def test_what_is_wrong_is_said(session: Sideband) -> None:
    for number, (config, code, param) in enumerate(WRONG):
        session.connection.session.update(session=config, event_id=f"wrong-{number}")
        error = session.next("error").error
        assert (error.event_id, error.param) == (f"wrong-{number}", param), error
        assert error.type == "invalid_request_error" and error.message
        assert error.code == code, error
    session.connection.response.cancel(event_id="idle")
    assert session.next("error").error.code == "response_cancel_not_active"
    session.connection.conversation.item.delete(item_id="nobody", event_id="gone")
    assert session.next("error").error.code == "item_delete_invalid_item_id"
    session.connection.response.create(response={"instructions": "say: " + "One. " * 200})
    session.next("response.created")
    session.connection.response.create(event_id="second")
    error = session.next("error").error
    assert (error.code, error.event_id) == ("conversation_already_has_active_response", "second")
    session.connection.response.cancel()
    assert session.next("response.done").response.status_details.reason == "client_cancelled"
    assert session.close_code is None


async def test_the_asynchronous_client(server: EmbeddedServer, turn: list[bytes]) -> None:
    async with AsyncOpenAI(
        api_key=KEY, base_url=server.base_url, websocket_base_url=server.socket_url
    ) as client:
        async with client.realtime.connect(model=MODEL) as connection:
            session = AsyncSideband(connection)
            await session.next("session.created")
            await connection.session.update(session={"type": "realtime", "tools": [TOOL]})
            await session.next("session.updated")
            for piece in turn:
                await connection.input_audio_buffer.append(audio=b64encode(piece).decode())
            await session.next("input_audio_buffer.speech_stopped")
            assert (await session.next("response.done")).response.status == "completed"
            assert "response.output_audio.delta" in session.kinds
            await connection.conversation.item.create(item=user_text("weather"))
            await connection.response.create()
            called = await session.next("response.function_call_arguments.done")
            assert called.name == "get_weather"
            await session.next("response.done")
            await connection.close()


class BetaSession:
    """A session of `client.beta.realtime`; each event is held to the types of that time."""

    types: TypeAdapter[Any] = TypeAdapter(Annotated[BetaServerEvent, Field(discriminator="type")])

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.kinds: list[str] = []

    async def next(self, kind: str) -> Any:
        async with asyncio.timeout(10):
            while True:
                data = await self.connection.recv_bytes()
                event = self.types.validate_json(data)
                self.kinds.append(event.type)
                if event.type == kind:
                    return event


async def test_the_beta_client(server: EmbeddedServer, turn: list[bytes]) -> None:
    async with AsyncOpenAI(
        api_key=KEY, base_url=server.base_url, websocket_base_url=server.socket_url
    ) as client:
        async with client.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection:
            session = BetaSession(connection)
            shown = (await session.next("session.created")).session
            assert shown.input_audio_format == "pcm16" and shown.voice
            await connection.session.update(
                session={"modalities": ["text", "audio"], "voice": "sage", "tools": [TOOL]}
            )
            assert (await session.next("session.updated")).session.voice == "sage"
            for piece in turn:
                await connection.input_audio_buffer.append(audio=b64encode(piece).decode())
            await session.next("input_audio_buffer.speech_started")
            assert (await session.next("conversation.item.created")).item.role == "user"
            await session.next("response.audio.delta")
            await session.next("response.audio_transcript.done")
            done = (await session.next("response.done")).response
            assert done.status == "completed" and done.output[0].content[0].type == "audio"
            await connection.response.create(response={"modalities": ["text"]})
            await session.next("response.text.done")
            await session.next("response.done")
            await connection.session.update(session={"voice": "nobody"}, event_id="mine")
            assert (await session.next("error")).error.event_id == "mine"
            assert not [kind for kind in session.kinds if "output_audio" in kind]
            await connection.close()
