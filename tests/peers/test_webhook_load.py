"""Many calls whose application hears of them badly: its receiver fails or stalls one time in five.

No call may be lost, none answered twice, and each ends with one record.
"""

import asyncio
import os
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import pytest
from aiohttp import web

from tests.ahead import early
from tests.peers.gateway import HOST, GatewayProcess, free_port
from tests.peers.line import bench_model, speech_file
from tests.peers.sipp import need_sipp, run_sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLS = int(os.environ.get("WEBHOOK_CALLS", "160"))
RATE = 20.0
HOLD_MS = 1000
STALL_S = 7.0
"""Longer than the gateway waits for one attempt."""
KEY = "sk-load"


class Application:
    """Accepts the calls that it is told of; of ten deliveries one is refused and one stalls."""

    def __init__(self) -> None:
        self.deliveries: Counter[str] = Counter()
        """By webhook id."""
        self.accepted: Counter[int] = Counter()
        """Answers to accept, by status."""
        self.calls: set[str] = set()
        self.base_url = ""
        self.port = free_port()
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._told)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        async with aiohttp.ClientSession() as self._client, asyncio.TaskGroup() as self._group:
            await runner.setup()
            await web.TCPSite(runner, HOST, self.port).start()
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _told(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.deliveries[request.headers["webhook-id"]] += 1
        self._count += 1
        if self._count % 10 == 3:
            return web.Response(status=500)
        if self._count % 10 == 8:
            await asyncio.sleep(STALL_S)
            return web.Response(status=500)
        call_id = body["data"]["call_id"]
        self.calls.add(call_id)
        self._group.create_task(self._accept(call_id))
        return web.Response()

    async def _accept(self, call_id: str) -> None:
        async with self._client.post(
            f"{self.base_url}/v1/realtime/calls/{call_id}/accept",
            json={"type": "realtime"},
            headers={"Authorization": f"Bearer {KEY}"},
        ) as response:
            self.accepted[response.status] += 1


@pytest.mark.timeout(150)
@early
def test_calls_through_a_webhook_that_fails_one_time_in_five(directory: Path) -> None:
    need_sipp()
    with Application() as application, bench_model() as model_url:
        env = {
            "GATEWAY_WEBHOOK_URL": f"http://{HOST}:{application.port}/hook",
            "GATEWAY_API_KEYS": KEY,
            "GATEWAY_CALLS_MAX": str(CALLS),
            "GATEWAY_LOG_LEVEL": "info",
        }
        with GatewayProcess(model_url, env, media_ports=2 * CALLS) as gateway:
            application.base_url = f"http://{HOST}:{gateway.http_port}"
            result = run_sipp(
                "call",
                gateway.sip,
                directory,
                calls=CALLS,
                rate=RATE,
                timeout_s=120,
                fill={"AUDIO": speech_file(directory), "HOLD_MS": str(HOLD_MS)},
            )
            assert (result.successful, result.failed) == (CALLS, 0), str(result)
            records = gateway.wait_for_lines("call.ended", CALLS, 5)
            assert {record["reason"] for record in records} == {"remote_bye"}
            assert len({record["call_id"] for record in records}) == CALLS
            for once in ("call.incoming", "call.accepted", "call.answered", "webhook.delivered"):
                calls = [line["call_id"] for line in gateway.lines(once)]
                assert len(calls) == len(set(calls)) == CALLS, once
            assert gateway.lines("webhook.failed") == []
        assert application.accepted == {200: CALLS}
        assert len(application.deliveries) == len(application.calls) == CALLS
        again = sum(application.deliveries.values()) - CALLS
        assert CALLS / 8 < again < CALLS / 2  # every failed delivery was made again
