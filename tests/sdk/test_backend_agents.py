"""The unmodified Agents SDKs in sessions with `gateway backend`, over WebSockets of their own."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack

import pytest
from agents import function_tool
from agents.realtime import (
    OpenAIRealtimeWebSocketModel,
    RealtimeAgent,
    RealtimeAudio,
    RealtimeAudioInterrupted,
    RealtimeModelConfig,
    RealtimeRunner,
    RealtimeSession,
    RealtimeToolEnd,
    RealtimeTurnDetectionConfig,
)
from agents.realtime.model_inputs import RealtimeModelRawClientMessage, RealtimeModelSendRawMessage

from tests.peers.gateway import eventually
from tests.sdk import authority
from tests.sdk.application import NodeApplication
from tests.sdk.embedded import KEY, EmbeddedServer, TLSFront, pieces, speech
from tests.sdk.schemas import need_node
from tests.sdk.test_agents_sdk import Listening, _raw

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

asked: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    asked.append(city)
    return "clear"


AGENT = RealtimeAgent(name="Agent", instructions="Tell the weather.", tools=[get_weather])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    # So slow that a story can be interrupted.
    with EmbeddedServer(tmp_path_factory.mktemp("agent"), "--speedup", "8") as server:
        yield server


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A caller's turn, in pieces."""
    return pieces(speech(tmp_path_factory.mktemp("speech")))


@asynccontextmanager
async def running(
    server: EmbeddedServer, **turns: Unpack[RealtimeTurnDetectionConfig]
) -> AsyncIterator[tuple[RealtimeSession, Listening]]:
    """A session of `openai-agents` in which the agent has greeted."""
    config: RealtimeModelConfig = {
        "api_key": KEY,
        "url": f"{server.socket_url}/realtime?model=gpt-realtime",
        "initial_model_settings": {"turn_detection": turns or None},
    }
    runner = RealtimeRunner(AGENT, model=OpenAIRealtimeWebSocketModel())
    async with await runner.run(model_config=config) as session:
        listening = Listening(session)
        await listening.raw("session.updated")
        await tell(session, "response.create")
        await listening.raw("response.done")
        yield session, listening
        assert not listening.errors()


async def tell(session: RealtimeSession, kind: str) -> None:
    """An event that the client has no method for."""
    message: RealtimeModelRawClientMessage = {"type": kind}
    await session.model.send_event(RealtimeModelSendRawMessage(message=message))


async def test_openai_agents_for_python(server: EmbeddedServer, turn: list[bytes]) -> None:
    """Text, a tool, speech, and an interruption."""
    async with running(server, type="server_vad", interrupt_response=True) as (session, listening):
        await session.send_message("How is the weather?")
        ended = await listening.until(lambda event: isinstance(event, RealtimeToolEnd))
        assert (asked, ended.output) == (["Oslo"], "clear")
        done = await listening.raw("response.done", number=3)
        assert "clear" in done["response"]["output"][0]["content"][0]["transcript"]

        for piece in turn:
            await session.send_audio(piece)
        await listening.raw("input_audio_buffer.speech_stopped")
        await listening.raw("response.done", number=4)
        assert any(isinstance(event, RealtimeAudio) for event in listening.events)

        deltas = len([one for one in listening.events if isinstance(one, RealtimeAudio)])
        await session.send_message("Now a story.")
        await listening.until(
            lambda _: sum(isinstance(one, RealtimeAudio) for one in listening.events) > deltas
        )
        for piece in turn:
            await session.send_audio(piece)
        await listening.until(lambda event: isinstance(event, RealtimeAudioInterrupted))
        cut = await listening.raw("response.done", number=5)
        assert cut["response"]["status"] == "cancelled"
        # It tells what it believes to have been heard.
        item_id = cut["response"]["output"][0]["id"]
        truncated = {"type": "conversation.item.truncated", "item_id": item_id}
        await listening.until(lambda event: truncated.items() <= _raw(event).items())
        await listening.raw("response.done", number=6)


async def test_openai_agents_for_python_by_hand(server: EmbeddedServer, turn: list[bytes]) -> None:
    """Nobody detects turns: what was said is committed, and a response asked for."""
    async with running(server) as (session, listening):
        shown = await listening.raw("session.updated")
        assert shown["session"]["audio"]["input"]["turn_detection"] is None
        for piece in turn[:-1]:
            await session.send_audio(piece)
        await session.send_audio(turn[-1], commit=True)
        await listening.raw("input_audio_buffer.committed")
        await tell(session, "response.create")
        done = await listening.raw("response.done", number=2)
        assert done["response"]["status"] == "completed"


def test_openai_agents_for_javascript(
    server: EmbeddedServer, turn: list[bytes], tmp_path: Path
) -> None:
    """Text, a tool, speech, an interruption, and a turn by hand."""
    need_node()
    files = authority.make(tmp_path)
    spoken = [b64encode(piece).decode() for piece in turn]
    with (
        TLSFront(server, files.certificate, files.key),
        NodeApplication("agents_session.mjs", server, files.authority) as agents,
    ):
        agents.do("connect", config={})
        created = agents.event("session.created", anywhere=True)
        assert created["session"]["type"] == "realtime"
        agents.do("respond", response=None)
        agents.event("response.done")

        agents.do("say", text="How is the weather?")
        assert agents.next("tool") == "Oslo"
        assert agents.next("tool_end") == "get_weather"
        assert "clear" in str(agents.event("response.output_audio_transcript.done")["transcript"])
        agents.event("response.done")

        before = agents.do("heard")
        agents.do("speak", pieces=spoken)
        agents.event("input_audio_buffer.speech_stopped")
        agents.event("response.done")
        assert eventually(lambda: agents.do("heard") > before, 5)

        story = begun(agents)
        agents.do("speak", pieces=spoken)
        agents.next("interrupted")
        details = outcome(agents, story)["status_details"]
        assert details == {"type": "cancelled", "reason": "turn_detected"}
        agents.event("conversation.item.truncated", anywhere=True)
        agents.do("close")
        roles = [item.get("role") for item in agents.said("history")[-1]]
        assert {"user", "assistant"} <= set(roles)

        agents.do("connect", config={"audio": {"input": {"turnDetection": None}}})
        while agents.event("session.updated")["session"]["audio"]["input"]["turn_detection"]:
            pass  # it configures in several steps
        agents.do("speak", pieces=spoken)
        agents.do("commit")
        agents.event("input_audio_buffer.committed")
        agents.do("respond", response=None)
        answer = agents.event("response.output_audio_transcript.done")
        assert "of speech" in answer["transcript"]
        assert outcome(agents, answer["response_id"])["status"] == "completed"

        story = begun(agents)
        agents.do("interrupt")
        agents.next("interrupted")
        details = outcome(agents, story)["status_details"]
        assert details == {"type": "cancelled", "reason": "client_cancelled"}
        agents.do("close")
        assert not agents.said("session_error")


def begun(agents: NodeApplication) -> str:
    """Ask for the story; returns the response, once something of it is heard."""
    agents.do("say", text="Now a story.")
    response_id: str = agents.event("response.output_audio.delta")["response_id"]
    return response_id


def outcome(agents: NodeApplication, response_id: str) -> dict[str, Any]:
    """A response that has ended."""

    def ended() -> list[dict[str, Any]]:
        done = [one["response"] for one in agents.said("event") if one["type"] == "response.done"]
        return [response for response in done if response["id"] == response_id]

    assert eventually(ended, 10)
    return ended()[0]
