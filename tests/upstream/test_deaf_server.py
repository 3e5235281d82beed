"""A Realtime server that stopped reading: audio is dropped, memory is bounded, the call ends."""

import asyncio
import errno
import functools
import os
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
import uvloop

from gateway.audio.formats import PCM24K, PCMU, AudioFormat
from gateway.upstream import session as session_module
from gateway.upstream.backend import Backend
from gateway.upstream.session import RealtimeSession
from gateway.upstream.target import BackendConfig
from tests.upstream.deaf import CERTIFICATE, DeafServer, ThrottledServer

pytestmark = pytest.mark.loop

SESSION = {"type": "realtime"}
Run = Callable[[Coroutine[Any, Any, None]], None]


async def frames_accepted(session: RealtimeSession, audio_format: AudioFormat) -> int:
    """How many frames of 20 ms were taken before one was dropped."""
    frame = audio_format.silence(audio_format.rate_hz // 50)
    accepted = 0
    while not session.dropped_appends and accepted < 20_000:
        session.append_audio(frame)
        accepted += 1
        await asyncio.sleep(0)  # the transport may pass it on
    return accepted - 1


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("audio_format", [PCMU, PCM24K, AudioFormat("pcm16", 48_000)])
def test_about_two_seconds_of_audio_wait(
    run: Run, tls: bool, audio_format: AudioFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tls:
        trusting = ssl.create_default_context(cafile=CERTIFICATE)
        connector = functools.partial(aiohttp.TCPConnector, ssl=trusting)
        monkeypatch.setattr(aiohttp, "TCPConnector", connector)
    monkeypatch.setattr(session_module, "CLOSE_TIMEOUT_S", 0.01)

    async def check() -> None:
        with DeafServer(tls) as server:
            async with Backend(BackendConfig(url=server.url)) as backend:
                session = await backend.open(SESSION, audio_format)
                accepted = await frames_accepted(session, audio_format)
                assert 75 <= accepted <= 150
                frame = audio_format.silence(audio_format.rate_hz // 50)
                for _ in range(1000):
                    session.append_audio(frame)
                assert session.dropped_appends == 1001
                await session.close()

    run(check())


async def end_of(session: RealtimeSession) -> str:
    assert await asyncio.wait_for(session.receive(), 5) is None
    await session.close()
    return session.close_reason


async def test_a_server_that_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_PING_EVERY_S", 0.1)
    with DeafServer() as server:
        async with Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open(SESSION, PCMU)
            assert await end_of(session) == "the server was silent for 0.2 s"


async def test_a_server_that_takes_no_audio_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_BLOCKED_S", 0.2)
    with DeafServer() as server:
        async with Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open(SESSION, PCMU)
            ended = asyncio.create_task(end_of(session))
            while not ended.done():
                session.append_audio(bytes(160))
                await asyncio.sleep(0)
            assert await ended == "the server took no audio for 0.2 s"


async def test_a_server_behind_a_large_event_is_not_taken_for_deaf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For longer than a deaf one is borne, audio is dropped and no ping is answered."""
    monkeypatch.setattr(session_module, "_BLOCKED_S", 0.2)
    monkeypatch.setattr(session_module, "_PING_EVERY_S", 0.2)
    with ThrottledServer(bytes_per_s=4 << 20) as server:
        async with Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open(SESSION, PCMU)
            ended = asyncio.create_task(end_of(session))
            session.send({"type": "x", "text": "x" * (4 << 20)})
            assert session.congested
            behind = True
            while behind:
                session.append_audio(bytes(160))
                await asyncio.sleep(0.01)
                assert not ended.done(), session.close_reason
                dropped = session.dropped_appends
                behind = session._socket.backlog() > session._audio_backlog_bytes
            assert not session.congested
            assert dropped > 20
            session.append_audio(bytes(160))
            assert session.dropped_appends == dropped
            # From here on it is only silent, and for that it is given up.
            assert await asyncio.wait_for(ended, 10) == "the server was silent for 0.4 s"


async def test_more_events_while_it_reads_do_not_hide_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it grows all the time, and it reads all the time."""
    monkeypatch.setattr(session_module, "_BLOCKED_S", 0.2)
    monkeypatch.setattr(session_module, "_PING_EVERY_S", 0.2)
    with ThrottledServer(bytes_per_s=4 << 20) as server:
        async with Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open(SESSION, PCMU)
            ended = asyncio.create_task(end_of(session))
            session.send({"type": "x", "text": "x" * (2 << 20)})
            for _ in range(100):
                session.send({"type": "x", "text": "x" * (80 << 10)})
                session.append_audio(bytes(160))
                await asyncio.sleep(0.01)
                assert not ended.done(), session.close_reason
            assert session.congested
            await session.close()
            await ended


async def test_a_server_that_goes_deaf_in_a_large_event_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "_BLOCKED_S", 0.2)
    with DeafServer() as server:
        async with Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open(SESSION, PCMU)
            ended = asyncio.create_task(end_of(session))
            session.send({"type": "x", "text": "x" * (4 << 20)})
            while not ended.done():
                session.append_audio(bytes(160))
                await asyncio.sleep(0)
            assert await ended == "the server took no audio for 0.2 s"


async def test_a_server_that_takes_no_events_is_given_up() -> None:
    with DeafServer() as server:
        async with Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open(SESSION, PCMU)
            session.send({"type": "x", "text": "x" * (15 << 20)})  # as large as an append may be
            session.send({"type": "x", "text": "x" * (5 << 20)})
            assert not session.close_reason
            for _ in range(2):
                session.send({"type": "x", "text": "x" * (1 << 20)})
            assert await end_of(session) == "the server does not read"


async def test_closing_does_not_wait_for_a_deaf_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did not take is not kept for it either."""
    monkeypatch.setattr(session_module, "CLOSE_TIMEOUT_S", 0.1)
    with DeafServer() as server:
        async with Backend(BackendConfig(url=server.url)) as backend:
            session = await backend.open(SESSION, PCMU)
            session.send({"type": "x", "text": "x" * (2 << 20)})
            await session.close()
            await asyncio.sleep(0.2)
            with pytest.raises(OSError) as caught:
                os.fstat(session._socket._descriptor)
            assert caught.value.errno == errno.EBADF
