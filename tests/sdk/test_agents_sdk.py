"""The unmodified `openai-agents` and the asynchronous `openai` for Python run calls."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agents import function_tool
from agents.realtime import (
    OpenAIRealtimeSIPModel,
    RealtimeAgent,
    RealtimeError,
    RealtimeModelConfig,
    RealtimeRawModelEvent,
    RealtimeRunner,
    RealtimeSession,
    RealtimeSessionEvent,
    RealtimeToolEnd,
)
from agents.realtime.model_inputs import RealtimeModelRawClientMessage, RealtimeModelSendRawMessage
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types.realtime import RealtimeSessionCreateRequestParam

from tests.peers.audio import silence, spoken, voiced
from tests.peers.baresip import need_baresip
from tests.peers.record import EVENTS, record
from tests.sdk.sideband import AsyncSideband, user_text
from tests.sdk.site import KEY, SECRET, Site, running
from tests.sdk.telephones import baresip

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture(scope="module")
def agent_site() -> Iterator[Site]:
    """A gateway whose model is the embedded agent."""
    with running(embedded=True) as site:
        yield site


def client_of(site: Site) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=KEY, base_url=site.base_url, webhook_secret=SECRET)


async def incoming(site: Site, client: AsyncOpenAI) -> str:
    """The id of the call that the next webhook is about."""
    delivery = await asyncio.to_thread(site.hooks.next)
    event = client.webhooks.unwrap(delivery.body, delivery.headers)
    assert event.type == "realtime.call.incoming"
    return event.data.call_id


class Listening:
    """A session of `openai-agents`, with all that it has reported."""

    def __init__(self, session: RealtimeSession) -> None:
        self.events: list[RealtimeSessionEvent] = []
        self._session = session
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._listen())

    async def until(self, fits: Any, timeout_s: float = 10.0) -> Any:
        """The first event for which `fits` is true; wait for it."""
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: any(map(fits, self.events)))
        except TimeoutError:
            raise AssertionError(f"came: {[event.type for event in self.events]}") from None
        return next(filter(fits, self.events))

    async def raw(self, kind: str, timeout_s: float = 10.0, number: int = 1) -> dict[str, Any]:
        """The first server event of this type, or the one with this number, as it came."""

        def come() -> list[dict[str, Any]]:
            return [raw for raw in map(_raw, self.events) if raw.get("type") == kind]

        await self.until(lambda _: len(come()) >= number, timeout_s)
        return come()[number - 1]

    def errors(self) -> list[RealtimeSessionEvent]:
        return [event for event in self.events if isinstance(event, RealtimeError)]

    async def ended(self, timeout_s: float = 10.0) -> None:
        """Wait until the session reports no more."""
        await asyncio.wait_for(self._task, timeout_s)

    async def _listen(self) -> None:
        async for event in self._session:
            async with self._news:
                self.events.append(event)
                if _raw(event):
                    EVENTS.append(_raw(event))
                self._news.notify_all()


def _raw(event: RealtimeSessionEvent) -> dict[str, Any]:
    if isinstance(event, RealtimeRawModelEvent) and event.data.type == "raw_server_event":
        data: dict[str, Any] = event.data.data
        return data
    return {}


async def test_agents_session_runs_a_call(site: Site, tmp_path: Path) -> None:
    need_baresip()
    asked: list[str] = []

    @function_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "clear"

    agent = RealtimeAgent(name="Agent", instructions="Tell the weather.", tools=[get_weather])
    async with client_of(site) as client:
        with baresip(site, tmp_path / "caller") as phone:
            call_id = await incoming(site, client)
            initial = await OpenAIRealtimeSIPModel.build_initial_session_payload(agent)
            await client.realtime.calls.accept(
                call_id, **initial.model_dump(exclude_none=True, by_alias=True)
            )
            config: RealtimeModelConfig = {
                "call_id": call_id,
                "api_key": KEY,
                "url": f"{site.socket_url}?call_id={call_id}",
            }
            runner = RealtimeRunner(agent, model=OpenAIRealtimeSIPModel())
            async with await runner.run(model_config=config) as session:
                listening = Listening(session)
                created = await listening.raw("session.created")
                assert created["session"]["instructions"] == "Tell the weather."
                await listening.raw("session.updated")

                await session.send_message("How is the weather?")
                ended = await listening.until(lambda event: isinstance(event, RealtimeToolEnd))
                assert (asked, ended.output) == (["Oslo"], "clear")
                await listening.raw("output_audio_buffer.stopped")

                # It interrupts what it plays itself; what the phone hears is the server's.
                await session.send_message("Now a long story.")
                await listening.raw("output_audio_buffer.started", number=2)
                clear: RealtimeModelRawClientMessage = {"type": "output_audio_buffer.clear"}
                await session.model.send_event(RealtimeModelSendRawMessage(message=clear))
                await listening.raw("output_audio_buffer.cleared")
                await listening.raw("conversation.item.truncated")

                phone.press("7")
                pressed = await listening.raw("input_audio_buffer.dtmf_event_received")
                assert pressed["event"] == "7"
                phone.hang_up()
                ended = await asyncio.to_thread(site.ended, call_id)
                assert ended["reason"] == "remote_bye"
                await listening.ended()
                assert not listening.errors()
            assert voiced(phone.stop().heard)


async def test_a_caller_speaks_with_the_embedded_agent(agent_site: Site, tmp_path: Path) -> None:
    """The caller speaks, is answered, and interrupts the answer."""
    need_baresip()
    site = agent_site
    turn = np.concatenate([spoken("I have a question about my order.", tmp_path), silence(1.2)])
    async with client_of(site) as client:
        with baresip(site, tmp_path / "caller", np.tile(turn, 12)) as phone:
            call_id = await incoming(site, client)
            await client.realtime.calls.accept(call_id, type="realtime")
            async with client.realtime.connect(call_id=call_id) as connection:
                sideband = AsyncSideband(connection)
                await sideband.next("session.created")
                began = await sideband.next("input_audio_buffer.speech_started")
                ended = await sideband.next("input_audio_buffer.speech_stopped")
                committed = await sideband.next("input_audio_buffer.committed")
                assert began.item_id == ended.item_id == committed.item_id
                assert ended.audio_end_ms > began.audio_start_ms
                await sideband.next("output_audio_buffer.started")
                await sideband.next("input_audio_buffer.speech_started")
                await sideband.next("output_audio_buffer.cleared")
                await sideband.next("conversation.item.truncated")
                phone.hang_up()
                assert await sideband.closed() == 1000
            await asyncio.to_thread(site.ended, call_id)
            assert voiced(phone.stop().heard)


async def test_async_openai_with_the_embedded_agent(agent_site: Site) -> None:
    """The whole loop once more, without any model but our own."""
    site = agent_site
    async with client_of(site) as client:
        with site.phone() as phone:
            call_id = await incoming(site, client)
            with pytest.raises(BadRequestError) as refused:
                await client.realtime.calls.accept(
                    call_id, type="realtime", output_modalities=["text", "audio"]
                )
            assert refused.value.param == "session.output_modalities"
            await client.realtime.calls.accept(
                call_id, type="realtime", audio={"output": {"voice": "marin"}}
            )
            await asyncio.to_thread(phone.wait_for_status, 200)
            kinds: list[str] = []
            async with client.realtime.connect(call_id=call_id) as connection:

                async def until(kind: str) -> Any:
                    async with asyncio.timeout(15):
                        while True:
                            data = await connection.recv_bytes()
                            kinds.append(record(data)["type"])
                            if kinds[-1] == kind:
                                return connection.parse_event(data)

                await until("session.created")
                wrong: RealtimeSessionCreateRequestParam = {
                    "type": "realtime",
                    "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 7}}},
                }
                await connection.session.update(session=wrong, event_id="mine")
                error = (await until("error")).error
                assert error.event_id == "mine"
                assert error.param == "session.audio.input.turn_detection.threshold"
                await connection.response.create()
                started = await until("output_audio_buffer.started")
                await connection.output_audio_buffer.clear()
                cleared = await until("output_audio_buffer.cleared")
                assert cleared.response_id == started.response_id
                if "conversation.item.truncated" not in kinds:
                    await until("conversation.item.truncated")
                phone.press("3")
                assert (await until("input_audio_buffer.dtmf_event_received")).event == "3"
                await connection.conversation.item.create(
                    item={**user_text("Never mind."), "id": "mine"}
                )
                await connection.conversation.item.retrieve(item_id="mine")
                assert (await until("conversation.item.retrieved")).item.id == "mine"
                await connection.conversation.item.delete(item_id="mine")
                assert (await until("conversation.item.deleted")).item_id == "mine"
                await connection.input_audio_buffer.clear()
                await until("input_audio_buffer.cleared")
                await client.realtime.calls.hangup(call_id)
                async for event in connection:  # ends by itself when the gateway closes with 1000
                    record(event.to_json(indent=None))
            assert kinds[0] == "session.created"
        await asyncio.to_thread(site.ended, call_id)
        with pytest.raises(NotFoundError):
            await client.realtime.calls.accept(call_id, type="realtime")


async def test_extension_events_come_to_those_who_ask(site: Site) -> None:
    async with client_of(site) as client:
        with site.phone(transfer=486) as phone:
            call_id = await incoming(site, client)
            await client.realtime.calls.accept(call_id, type="realtime")
            await asyncio.to_thread(phone.wait_for_status, 200)
            asked = client.realtime.connect(
                call_id=call_id, extra_query={"extensions": "audio,events"}
            )
            async with asked as wanting, client.realtime.connect(call_id=call_id) as other:
                await client.realtime.calls.refer(call_id, target_uri="tel:+15557654321")
                told = site.gateway.wait_for
                await asyncio.to_thread(told, "transfer.result", call_id=call_id)
                await wanting.response.create()
                extensions = await _extensions_until_done(wanting)
                assert extensions and "busy" in json.dumps(extensions)
                assert not await _extensions_until_done(other)
        await asyncio.to_thread(site.ended, call_id)


async def _extensions_until_done(connection: Any) -> list[dict[str, Any]]:
    """The gateway's own events up to the end of a response."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while not events or events[-1]["type"] != "response.done":
            events.append(record(await connection.recv_bytes()))
    return [event for event in events if event["type"].startswith("gateway.")]
