"""Sidebands against a real server and a real client; the call is the test's."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.api.auth import Caller
from gateway.api.realtime import RealtimeConfig
from gateway.api.sideband import SidebandConfig
from gateway.audio.formats import PCMU
from gateway.upstream.backend import Backend
from gateway.upstream.target import BackendConfig
from tests.api.sockets import SESSION, Api, closed_with, event_of, serving, types_of
from tests.upstream.deaf import ThrottledServer

pytestmark = pytest.mark.loop

MIB = 1 << 20


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as api:
        yield api


async def test_it_is_shown_the_session_and_then_everything_in_order(api: Api) -> None:
    async with api.connect() as socket:
        created = await event_of(socket)
        assert created["type"] == "session.created"
        assert created["session"] == SESSION
        assert created["event_id"].startswith("event_")
        for number in range(200):
            api.call.show("x", number=number)
        assert [(await event_of(socket))["number"] for _ in range(200)] == list(range(200))


async def test_what_happens_while_it_attaches_comes_once(api: Api) -> None:
    """The config of the snapshot and the events after it fit together."""

    def attach(control: Any) -> None:
        type(api.call).attach(api.call, control)
        api.call.show("session.updated", session={"changed": True})

    api.call.attach = attach  # type: ignore[method-assign]
    async with api.connect() as socket:
        assert await types_of(socket, 2) == ["session.created", "session.updated"]


async def test_two_clients_see_the_same_and_act_on_the_same_call(api: Api) -> None:
    async with api.connect() as one, api.connect() as other:
        await api.call.until(attached=2)
        await types_of(one, 1)
        await types_of(other, 1)
        for number in range(50):
            await one.send_json({"type": "from.one", "number": number})
        await api.call.until(received=50)
        await other.send_json({"type": "from.other"})
        await api.call.until(received=51)
        assert [event.get("number") for event in api.call.received[:50]] == list(range(50))
        assert api.call.received[50] == {"type": "from.other"}
        api.call.show("a")
        api.call.show("b")
        assert await types_of(one, 2) == await types_of(other, 2) == ["a", "b"]


async def test_one_that_leaves_is_forgotten_and_the_call_goes_on(api: Api) -> None:
    async with api.connect() as stays:
        async with api.connect():
            await api.call.until(attached=2)
        await api.call.until(attached=1)
        api.call.show("x")
        assert await types_of(stays, 2) == ["session.created", "x"]


async def test_one_that_breaks_off_is_forgotten(api: Api) -> None:
    async with api.connect() as socket:
        await api.call.until(attached=1)
        socket._writer.transport.abort()
        await api.call.until(attached=0)


async def test_when_the_call_ends_the_rest_goes_out_and_the_code_is_1000(api: Api) -> None:
    async with api.connect() as socket:
        await api.call.until(attached=1)
        for number in range(500):
            api.call.show("x", number=number, text="x" * 1000)
        api.call.controls.close()
        api.call.show("too.late")
        assert (await types_of(socket, 501))[1:] == ["x"] * 500
        assert await closed_with(socket) == 1000


async def test_the_code_is_1000_for_a_client_that_is_sending_too(api: Api) -> None:
    async with api.connect() as socket:

        async def send() -> None:
            while not socket.closed:
                await socket.send_json({"type": "x", "text": "x" * 1000})
                await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        await api.call.until(received=20)
        api.call.controls.close()
        assert await types_of(socket, 1) == ["session.created"]
        assert await closed_with(socket) == 1000
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_client_that_does_not_close_is_not_waited_for_long() -> None:
    config = RealtimeConfig(sideband=SidebandConfig(last_words_s=0.2))
    async with serving(config=config) as api:
        socket = await api.connect(autoclose=False)
        await api.call.until(attached=1)
        api.call.controls.close()
        await api.call.until(attached=0)
        await types_of(socket, 1)
        assert await closed_with(socket) == 1000
        with pytest.raises((aiohttp.EofStream, aiohttp.ClientError)):  # the connection has ended
            await asyncio.wait_for(socket._reader.read(), 5)
        socket._response.close()


SMALL = SidebandConfig(max_waiting_bytes=256 << 10, slow_close_s=0.1, last_words_s=0.2)


@pytest.mark.parametrize("config", [SMALL, SidebandConfig(max_waiting_events=20, slow_close_s=0.1)])
async def test_a_slow_reader_loses_its_socket_and_nobody_else(config: SidebandConfig) -> None:
    async with serving(config=RealtimeConfig(sideband=config)) as api:
        async with api.connect() as slow, api.connect() as quick:
            await api.call.until(attached=2)
            slow._writer.transport.pause_reading()
            number = 0
            await types_of(quick, 1)
            async with asyncio.timeout(20):
                while api.call.attached == 2:
                    api.call.show("x", number=number, text="x" * 60_000)
                    assert (await event_of(quick))["number"] == number
                    number += 1
            assert number > 2
            slow._writer.transport.resume_reading()
            while (message := await slow.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            api.call.show("still.here")
            assert await types_of(quick, 1) == ["still.here"]


async def test_a_reader_that_comes_round_is_told_why() -> None:
    """1008, and not what it has missed."""
    config = SidebandConfig(max_waiting_events=2, slow_close_s=5)
    async with serving(config=RealtimeConfig(sideband=config)) as api, api.connect() as socket:
        await types_of(socket, 1)
        for _ in range(10):
            api.call.show("x")
        assert await closed_with(socket) == 1008
        await api.call.until(attached=0)


async def test_an_event_larger_than_the_bound_passes() -> None:
    async with serving(config=RealtimeConfig(sideband=SMALL)) as api, api.connect() as socket:
        await api.call.until(attached=1)
        await types_of(socket, 1)
        api.call.show("conversation.item.retrieved", audio="x" * (8 * MIB))
        assert len((await event_of(socket))["audio"]) == 8 * MIB


async def test_five_mebibytes_come_in(api: Api) -> None:
    async with api.connect() as socket:
        await socket.send_json({"type": "input_audio_buffer.append", "audio": "x" * (5 * MIB)})
        await api.call.until(received=1)
        assert len(api.call.received[0]["audio"]) == 5 * MIB


async def test_more_than_sixteen_do_not(api: Api) -> None:
    async with api.connect() as socket:
        await types_of(socket, 1)
        await socket.send_str("x" * (16 * MIB + 1))
        assert await closed_with(socket) == 1009
    assert not api.call.received


@pytest.mark.parametrize(
    "event",
    [
        {"type": "input_audio_buffer.append", "event_id": "mine", "audio": "a+/=" * (2 * MIB)},
        {"audio": "a+/=" * (2 * MIB), "event_id": "mine", "type": "input_audio_buffer.append"},
        {"type": "conversation.item.create", "text": "x" * (MIB - 100)},
    ],
)
async def test_large_is_what_is_audio(api: Api, event: Any) -> None:
    """Wherever the type stands, and with slashes written as some do."""
    async with api.connect() as socket:
        await socket.send_str(json.dumps(event).replace("/", "\\/"))
        await api.call.until(received=1)
        assert api.call.received == [event]


APPEND = '"type": "input_audio_buffer.append"'


@pytest.mark.parametrize(
    "text",
    [
        '{"event_id": "mine", "type": "x", "text": "' + "x" * MIB + '"}',
        '{"event_id": "mine", "text": "' + "x" * MIB + '", "type": "x"}',
        '{"event_id": "mine", ' + APPEND + ', "a": [' + "[]," * MIB + "0]}",
        '{"event_id": "mine", ' + APPEND + ', "audio": "' + "\x7f" * MIB + '"}',
        '{"event_id": "mine", ' + APPEND + ', "audio": "' + "ä" * MIB + '"}',
        '{"event_id": "mine", "a": {' + APPEND + '}, "audio": "' + "x" * MIB + '", "type": "x"}',
    ],
)
async def test_large_is_nothing_else(api: Api, text: str) -> None:
    async with api.connect() as socket:
        await types_of(socket, 1)
        await socket.send_str(text)
        error = (await event_of(socket))["error"]
        assert (error["code"], error["event_id"]) == ("invalid_event", "mine")
        assert error["message"] == "The event is larger than 1 MiB."
        await socket.send_json({"type": "good"})
        await api.call.until(received=1)
        assert api.call.received == [{"type": "good"}]


async def test_while_the_server_is_behind_events_wait_with_their_sender(api: Api) -> None:
    async with api.connect() as socket, api.connect() as other:
        await types_of(other, 1)
        await api.call.until(attached=2)
        api.call.behind = lambda: True
        for number in range(3):
            await socket.send_json({"type": "x", "number": number})
        api.call.show("shown")
        assert await types_of(socket, 2) == ["session.created", "shown"]
        assert await types_of(other, 1) == ["shown"]
        assert not api.call.received
        api.call.behind = lambda: False
        await api.call.until(received=3)
        assert [event["number"] for event in api.call.received] == [0, 1, 2]


@pytest.mark.parametrize("how", ["the call ends", "the client breaks off"])
async def test_waiting_ends_with_the_call_and_with_the_client(api: Api, how: str) -> None:
    async with api.connect() as socket:
        await types_of(socket, 1)
        await api.call.until(attached=1)
        api.call.behind = lambda: True
        await socket.send_json({"type": "x"})
        if how == "the call ends":
            api.call.controls.close()
            assert await closed_with(socket) == 1000
        else:
            socket._writer.transport.abort()
        await api.call.until(attached=0)
        assert not api.call.received


async def test_four_large_appends_at_once_do_not_kill_the_session() -> None:
    """Together they are more than may wait for a server."""
    count, audio = 4, "x" * (8 * MIB)
    with ThrottledServer(bytes_per_s=32 * MIB) as server:
        async with serving() as api, Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open({"type": "realtime"}, PCMU)
            ended = asyncio.create_task(session.receive())

            def control(event: Any) -> None:
                session.send(event)
                type(api.call).control(api.call, event)

            api.call.control = control  # type: ignore[method-assign]
            api.call.behind = lambda: session.congested
            async with api.connect() as socket:
                for _ in range(count):
                    await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})
                await api.call.until(received=count)
            session.send({"type": "x"})
            async with asyncio.timeout(20):
                while server.read_bytes < count * 8 * MIB:
                    assert not ended.done(), session.close_reason
                    await asyncio.sleep(0.01)
            await session.close()
            await ended


@pytest.mark.parametrize(
    ("text", "event_id"),
    [
        ("", None),
        ('{"type":"x","event_id":"mine","a":NaN}', "mine"),
        ('{"type":"x","event_id":"mine","a":[-Infinity]}', "mine"),
        ('{"type":"x","event_id":"mine","a":1e999}', "mine"),
        ('{"type":"x","event_id":"mine","a":"\\ud800"}', "mine"),
        ('{"type":"x","event_id":"mine","\\udfff":1}', "mine"),
        ('{"type":"x","event_id":"\\ud800"}', "\ud800"),
        ("hello", None),
        ("[]", None),
        ('"session.update"', None),
        ('{"event_id":"mine"}', "mine"),
        ('{"event_id":7}', None),
        ('{"type":7,"event_id":"mine"}', "mine"),
        ("[" * 50_000, None),
        ('{"type":"x","event_id":"mine","a":' + "[" * 200 + "]" * 200 + "}", "mine"),
        ('{"a":' + "9" * 5000 + "}", None),
    ],
)
async def test_what_is_no_event_is_answered_to_its_sender_only(
    api: Api, text: str, event_id: str | None
) -> None:
    async with api.connect() as other, api.connect() as socket:
        await types_of(socket, 1)
        await types_of(other, 1)
        await socket.send_str(text)
        event = await event_of(socket)
        assert event["type"] == "error"
        assert event["error"]["code"] == "invalid_event"
        assert event["error"]["event_id"] == event_id
        await socket.send_json({"type": "good"})
        await api.call.until(received=1)
        assert api.call.received == [{"type": "good"}]
        api.call.show("next")
        assert await types_of(other, 1) == ["next"]


async def test_binary_is_answered_by_an_error(api: Api) -> None:
    async with api.connect() as socket:
        await types_of(socket, 1)
        await socket.send_bytes(b'{"type":"response.create"}')
        event = await event_of(socket)
        assert (event["type"], event["error"]["code"]) == ("error", "invalid_event")
        assert not api.call.received


async def test_what_media_has_fixed_is_taken_out_of_updates(api: Api) -> None:
    async with api.connect() as socket:
        session = {
            "type": "realtime",
            "model": "another",
            "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 1}},
        }
        await socket.send_json({"type": "session.update", "event_id": "e", "session": session})
        await api.call.until(received=1)
        assert api.call.received == [
            {
                "type": "session.update",
                "event_id": "e",
                "session": {"type": "realtime", "audio": {"output": {"speed": 1}}},
            }
        ]


@pytest.mark.parametrize(
    ("extensions", "seen"),
    [
        ("", ["x"]),
        ("&extensions=", ["x"]),
        ("&extensions=audio", ["response.output_audio.delta", "x"]),
        ("&extensions=events", ["gateway.x", "x"]),
        ("&extensions=events,audio", ["response.output_audio.delta", "gateway.x", "x"]),
    ],
)
async def test_extensions_come_when_asked_for(api: Api, extensions: str, seen: list[str]) -> None:
    async with api.connect(f"?call_id=rtc_1{extensions}") as socket:
        await api.call.until(attached=1)
        api.call.controls.show_audio(b'{"type":"response.output_audio.delta","delta":""}')
        api.call.show("gateway.x", extension=True)
        api.call.show("x")
        assert (await types_of(socket, 1 + len(seen)))[1:] == seen


async def test_an_unknown_extension_is_named(api: Api) -> None:
    status, error = await api.refused("?call_id=rtc_1&extensions=audio,video")
    assert (status, error["param"], error["code"]) == (400, "extensions", "invalid_value")
    assert "video" in error["message"]


async def test_the_model_beside_a_call_is_ignored(api: Api) -> None:
    async with api.connect("?model=gpt-realtime&call_id=rtc_1") as socket:
        assert await types_of(socket, 1) == ["session.created"]


@pytest.mark.parametrize("call_id", ["rtc_2", "", "..%2frtc_1", "rtc_1%00", "%ff"])
async def test_an_unknown_call_is_404(api: Api, call_id: str) -> None:
    status, error = await api.refused(f"?call_id={call_id}")
    assert (status, error["code"], error["param"]) == (404, "call_id_not_found", "")


async def test_the_upgrade_for_a_call_that_is_being_set_up_is_held(api: Api) -> None:
    api.line.ready.clear()
    connecting = asyncio.create_task(api.connect())
    await asyncio.sleep(0.1)
    assert not connecting.done()
    api.line.ready.set()
    async with await connecting as socket:
        assert await types_of(socket, 1) == ["session.created"]


async def test_but_not_for_ever() -> None:
    async with serving(config=RealtimeConfig(join_wait_s=0.05)) as api:
        api.line.ready.clear()
        status, error = await api.refused("?call_id=rtc_1")
        assert (status, error["code"]) == (404, "call_id_not_found")


async def test_a_call_that_ends_during_the_upgrade_is_told_so(api: Api) -> None:
    api.line.ends_when_asked = 2
    async with api.connect() as socket:
        event = await event_of(socket)
        assert (event["type"], event["error"]["code"]) == ("error", "call_id_not_found")
        assert await closed_with(socket) == 1008
    assert api.call.attached == 0


async def test_a_client_that_leaves_while_it_is_held_is_no_error(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.line.ready.clear()
    connecting = asyncio.create_task(api.connect())
    await asyncio.sleep(0.05)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    await asyncio.sleep(0.05)
    api.line.ready.set()
    async with api.connect() as socket:
        await types_of(socket, 1)
    await api.call.until(attached=0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_secret_controls_no_call(api: Api) -> None:
    api.caller = Caller("secret", {"type": "realtime"})
    status, error = await api.refused("?call_id=rtc_1")
    assert (status, error["code"]) == (404, "call_id_not_found")


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"OpenAI-Beta": "realtime=v1"}},
        {"headers": {"OpenAI-Beta": "assistants=v2, realtime=v1"}},
        {"protocols": ["realtime", "openai-beta.realtime-v1"]},
    ],
)
async def test_the_beta_shape_is_told_so_and_closed_with_4000(
    api: Api, options: dict[str, Any]
) -> None:
    async with api.connect(**options) as socket:
        event = await event_of(socket)
        assert (event["type"], event["error"]["code"]) == ("error", "beta_api_shape_disabled")
        assert await closed_with(socket) == 4000
    assert api.call.attached == 0


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        (["realtime"], "realtime"),
        (["realtime", "openai-insecure-api-key.sk-canary"], "realtime"),
        (["openai-insecure-api-key.sk-canary", "realtime"], "realtime"),
        (["openai-organization.org-1", "openai-project.p-1", "realtime"], "realtime"),
        (["openai-insecure-api-key.sk-canary"], None),
        (["openai-insecure-api-key.sk-canary", "openai-agents-sdk.1.2"], "openai-agents-sdk.1.2"),
        (["openai-organization.org-1"], None),
        (["something-else"], None),
    ],
)
async def test_the_subprotocol_that_browsers_need_is_selected_and_no_key_comes_back(
    api: Api, offered: list[str], selected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with api.connect(protocols=offered) as socket:
        assert socket.protocol == selected
        assert "canary" not in str(socket._response.headers)
        assert await types_of(socket, 1) == ["session.created"]
    assert "canary" not in caplog.text


async def test_frames_are_not_compressed(api: Api) -> None:
    async with api.connect(compress=15) as socket:
        assert socket.compress == 0


@pytest.mark.parametrize("headers", [{}, {"Upgrade": "websocket"}, {"Connection": "Upgrade"}])
async def test_without_an_upgrade_it_is_426(api: Api, headers: dict[str, str]) -> None:
    async with api.client.get(f"{api.url}?call_id=rtc_1", headers=headers) as answer:
        assert answer.status == 426
        assert answer.headers["Upgrade"] == "websocket"
        assert json.loads(await answer.read())["error"]["code"] == "upgrade_required"


async def test_another_version_of_the_protocol_is_426(api: Api) -> None:
    status, error = await api.refused("?call_id=rtc_1", **{"Sec-WebSocket-Version": "99"})
    assert status == 426
    assert error["headers"]["Sec-WebSocket-Version"] == "13"


async def test_a_dead_client_is_found_by_pings() -> None:
    async with serving(config=RealtimeConfig(heartbeat_s=0.2)) as api:
        deaf = await api.connect(autoping=False)
        await api.call.until(attached=1)
        await api.call.until(attached=0)
        await deaf.close()


async def test_a_defect_ends_the_socket_with_1011_and_is_logged() -> None:
    def control(event: Any) -> None:
        raise ZeroDivisionError

    with capture_logs() as lines:
        async with serving() as api, api.connect() as socket:
            api.call.control = control  # type: ignore[method-assign]
            await types_of(socket, 1)
            await socket.send_json({"type": "x"})
            assert await closed_with(socket) == 1011
            await api.call.until(attached=0)
    assert "realtime.failed" in [line["event"] for line in lines]
