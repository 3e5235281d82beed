"""The unmodified `openai` package for Python runs the calls of telephones that are not ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI
from openai.types.realtime import RealtimeFunctionToolParam

from tests.peers import pcap
from tests.peers.audio import voiced
from tests.peers.baresip import Baresip, need_baresip
from tests.peers.gateway import HOST, eventually
from tests.peers.sipp import need_sipp
from tests.sdk.sideband import AsyncSideband, Sideband, returned, user_text
from tests.sdk.site import KEY, SECRET, Site
from tests.sdk.telephones import REFERRED, baresip, sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

TOOL: RealtimeFunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
NUMBER = "tel:+15557654321"
KEYS = "1598*#"


@pytest.fixture(scope="module", autouse=True)
def with_sipp() -> None:
    need_sipp()


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=site.base_url, webhook_secret=SECRET) as client:
        yield client


@pytest.fixture
async def async_client(site: Site) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=KEY, base_url=site.base_url, webhook_secret=SECRET) as client:
        yield client


def incoming(site: Site, client: OpenAI | AsyncOpenAI) -> str:
    """The id of the call that the next webhook is about."""
    delivery = site.hooks.next()
    event = client.webhooks.unwrap(delivery.body, delivery.headers)
    assert event.type == "realtime.call.incoming"
    assert event.data.sip_media_security == "rtp"
    return event.data.call_id


def outcome(site: Site, call_id: str) -> tuple[str, int | None]:
    """How the next transfer of the call went, as the log tells it."""
    line = site.gateway.wait_for("transfer.result", 10, call_id=call_id)
    return line["result"], line["sip_status"]


def test_a_telephone_from_accept_to_transfer(site: Site, client: OpenAI, tmp_path: Path) -> None:
    need_baresip()
    with ExitStack() as stack:
        phone = stack.enter_context(baresip(site, tmp_path / "caller"))
        call_id = incoming(site, client)
        client.realtime.calls.accept(call_id, type="realtime", instructions="Be brief.")
        sideband = stack.enter_context(Sideband(client, call_id=call_id))
        assert sideband.next("session.created").session.instructions == "Be brief."
        assert eventually(lambda: "Call established" in phone.output, 5)

        sideband.connection.session.update(session={"type": "realtime", "tools": [TOOL]})
        assert sideband.next("session.updated").session.tools[0].name == "get_weather"
        assert phone.sound_s == 0
        sideband.connection.response.create()
        sideband.next("output_audio_buffer.stopped")
        assert eventually(lambda: phone.sound_s > 0.2, 5)

        use_the_tool(sideband)
        phone.press("5#")
        for key in "5#":
            assert sideband.next("input_audio_buffer.dtmf_event_received").event == key
        sideband.next("output_audio_buffer.stopped")  # the model's answer to the keys
        interrupt(sideband, phone)

        # To somebody who is busy, and back to us; then to somebody who is there.
        with sipp(None, "refusing", tmp_path, STATUS="486", ALSO="Retry-After: 5") as busy:
            client.realtime.calls.refer(call_id, target_uri=f"sip:busy@{HOST}:{busy.port}")
            assert outcome(site, call_id) == ("busy", 486)
        begun_s = phone.sound_s
        sideband.connection.response.create()
        sideband.next("output_audio_buffer.stopped")
        assert eventually(lambda: phone.sound_s > begun_s + 0.2, 5)
        mark = site.gateway.mark()
        with sipp(None, "answering", tmp_path, "-rtp_echo", THEN="hangs_up", HOLD_MS="300") as desk:
            client.realtime.calls.refer(call_id, target_uri=f"sip:desk@{HOST}:{desk.port}")
            line = site.gateway.wait_for("transfer.result", 10, mark, call_id=call_id)
            assert (line["result"], line["sip_status"]) == ("transferred", 200)
            assert sideband.closed() == 1000
        ended = site.ended(call_id)
        assert (ended["reason"], ended["dtmf_count"]) == ("transferred", 2)
        assert voiced(phone.stop().heard)


def use_the_tool(sideband: Sideband) -> None:
    sideband.connection.conversation.item.create(item=user_text("How is the weather?"))
    sideband.connection.response.create()
    called = sideband.next("response.function_call_arguments.done")
    assert (called.name, json.loads(called.arguments)) == ("get_weather", {"city": "Oslo"})
    sideband.next("response.done")
    sideband.connection.conversation.item.create(item=returned(called.call_id, "clear"))
    assert sideband.next("conversation.item.done").item.type == "function_call_output"
    sideband.connection.response.create()
    sideband.next("output_audio_buffer.stopped")


def interrupt(sideband: Sideband, phone: Baresip) -> None:
    """Clear what the phone has begun to hear: it hears no more of it."""
    heard_s = phone.sound_s
    sideband.connection.response.create(response={"instructions": "A long story."})
    started = sideband.next("output_audio_buffer.started")
    assert eventually(lambda: phone.sound_s > heard_s + 0.3, 5)
    sideband.connection.output_audio_buffer.clear()
    assert sideband.next("output_audio_buffer.cleared").response_id == started.response_id
    truncated = sideband.any("conversation.item.truncated")
    assert 200 <= truncated.audio_end_ms < 10_000
    recorded_s, sound_s = phone.heard_s, phone.sound_s
    assert eventually(lambda: phone.heard_s > recorded_s + 0.6, 5)
    assert phone.sound_s < sound_s + 0.4


def test_a_telephone_is_hung_up(site: Site, client: OpenAI, tmp_path: Path) -> None:
    need_baresip()
    with baresip(site, tmp_path / "caller") as phone:
        call_id = incoming(site, client)
        client.realtime.calls.accept(call_id, type="realtime")
        assert eventually(lambda: "Call established" in phone.output, 5)
        client.realtime.calls.hangup(call_id)
        assert site.ended(call_id)["reason"] == "hangup"
        assert eventually(lambda: "session closed" in phone.output, 5), phone.output


@pytest.mark.parametrize("status", [None, 486])
def test_a_caller_is_rejected(
    site: Site, client: OpenAI, tmp_path: Path, status: int | None
) -> None:
    with sipp(site, "refused", tmp_path, STATUS=str(status or 603)):
        call_id = incoming(site, client)
        if status is None:
            client.realtime.calls.reject(call_id)
        else:
            client.realtime.calls.reject(call_id, status_code=status)
    ended = site.ended(call_id)
    assert (ended["reason"], ended["sip_status"]) == ("rejected", status or 603)


def test_a_caller_has_given_up(site: Site, client: OpenAI, tmp_path: Path) -> None:
    with sipp(site, "cancel", tmp_path):
        call_id = incoming(site, client)
    mark = site.gateway.mark()
    with pytest.raises(NotFoundError) as error:
        client.realtime.calls.accept(call_id, type="realtime")
    assert error.value.code == "call_id_not_found"
    assert site.ended(call_id)["sip_status"] == 487
    assert not site.gateway.lines("session.connected", mark)


@asynccontextmanager
async def in_thread(telephone: AbstractContextManager[Any]) -> AsyncIterator[None]:
    """The telephone, whose end is waited for without stopping the loop."""
    with telephone as run:
        yield
        await asyncio.to_thread(run.result)


async def test_keys_of_a_capture(site: Site, async_client: AsyncOpenAI, tmp_path: Path) -> None:
    """Of each key the first packet is lost. Then the caller hangs up."""
    need_sipp(raw_socket=True)
    client, capture = async_client, tmp_path / "keys.pcap"
    duration_s = pcap.write(capture, pcap.key_presses(KEYS, pcap.first_lost))
    hold_ms = f"{(duration_s + 0.4) * 1000:.0f}"
    async with in_thread(sipp(site, "replay", tmp_path, CAPTURE=str(capture), HOLD_MS=hold_ms)):
        call_id = await asyncio.to_thread(incoming, site, client)
        await client.realtime.calls.accept(call_id, type="realtime")
        async with client.realtime.connect(call_id=call_id) as connection:
            sideband = AsyncSideband(connection)
            assert (await sideband.next("session.created")).session.type == "realtime"
            pressed = [await sideband.next("input_audio_buffer.dtmf_event_received") for _ in KEYS]
            assert "".join(one.event for one in pressed) == KEYS
            assert await sideband.closed() == 1000
        assert sideband.kinds.count("input_audio_buffer.dtmf_event_received") == len(KEYS)
    ended = await asyncio.to_thread(site.ended, call_id)
    assert (ended["reason"], ended["dtmf_count"]) == ("remote_bye", len(KEYS))


@pytest.mark.parametrize(("status", "result"), [(200, "transferred"), (486, "busy")])
async def test_a_caller_is_transferred(
    site: Site, async_client: AsyncOpenAI, tmp_path: Path, status: int, result: str
) -> None:
    client = async_client
    fill = {**REFERRED, "OUTCOME": str(status), "REFER_TO": NUMBER.replace("+", r"\+")}
    async with in_thread(sipp(site, "referred", tmp_path, "-rtp_echo", **fill)):
        call_id = await asyncio.to_thread(incoming, site, client)
        await client.realtime.calls.accept(call_id, type="realtime", tools=[TOOL])
        async with client.realtime.connect(call_id=call_id) as connection:
            sideband = AsyncSideband(connection)
            await sideband.next("session.created")
            await connection.session.update(session={"type": "realtime", "instructions": "Go."})
            assert (await sideband.next("session.updated")).session.instructions == "Go."
            await connection.response.create(response={"instructions": "The weather."})
            called = await sideband.next("response.function_call_arguments.done")
            await connection.conversation.item.create(item=returned(called.call_id, "clear"))
            await connection.response.create(response={"instructions": "A long story."})
            started = await sideband.next("output_audio_buffer.started")
            await connection.output_audio_buffer.clear()
            cleared = await sideband.next("output_audio_buffer.cleared")
            assert cleared.response_id == started.response_id
            if "conversation.item.truncated" not in sideband.kinds:
                await sideband.next("conversation.item.truncated")

            await client.realtime.calls.refer(call_id, target_uri=NUMBER)
            assert await asyncio.to_thread(outcome, site, call_id) == (result, status)
            if status == 486:  # the caller is back, until we hang up
                await connection.response.create()
                await sideband.next("output_audio_buffer.stopped")
                await client.realtime.calls.hangup(call_id)
            assert await sideband.closed() == 1000
    ended = await asyncio.to_thread(site.ended, call_id)
    assert ended["reason"] == ("transferred" if status == 200 else "hangup")


async def test_who_comes_too_late(site: Site, async_client: AsyncOpenAI, tmp_path: Path) -> None:
    client = async_client
    async with in_thread(sipp(site, "cancel", tmp_path)):
        call_id = await asyncio.to_thread(incoming, site, client)
    for late in (
        client.realtime.calls.accept(call_id, type="realtime"),
        client.realtime.calls.reject(call_id),
        client.realtime.calls.hangup(call_id),
    ):
        with pytest.raises(NotFoundError) as error:
            await late
        assert error.value.code == "call_id_not_found"


def test_the_gateway_holds_nothing(site: Site) -> None:
    assert eventually(lambda: site.gateway.metrics()["gateway_calls_active"] == 0, 5)
    site.gateway.check()
