"""The whole gateway in one process, with real sockets: start, calls, drain, stop."""

import asyncio
import json
import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from gateway import logs
from gateway.app import Gateway, StartError
from gateway.phone.options import CallOptions
from gateway.phone.phone import place_call
from gateway.phone.plan import Plan
from gateway.settings import PREFIX, Settings
from tests.circles import circles
from tests.legs.browser import Browser, until
from tests.legs.office import Phone
from tests.legs.test_sip_leg import sdp
from tests.peers.fake_realtime import FakeRealtime
from tests.sdk import authority

pytestmark = pytest.mark.loop

VOICE = bytes(range(128)) * 10  # 160 ms that are not silence


def free_ports(count: int) -> list[int]:
    """Ports that are free for both UDP and TCP, as far as one can tell beforehand."""
    sockets = [(socket.socket(), socket.socket(type=socket.SOCK_DGRAM)) for _ in range(count)]
    ports = []
    for tcp, udp in sockets:
        tcp.bind(("127.0.0.1", 0))
        ports.append(tcp.getsockname()[1])
        udp.bind(("127.0.0.1", ports[-1]))
    for pair in sockets:
        for one in pair:
            one.close()
    return ports


class Service:
    """A gateway and the Realtime server behind it."""

    def __init__(self, model: FakeRealtime, settings: Settings) -> None:
        self.model = model
        self.settings = settings
        self.gateway = Gateway(settings, logs.get_log())
        self.stopped = False

    async def call(self, **plan: Any) -> Any:
        options = CallOptions(
            uri=f"sip:agent@127.0.0.1:{self.settings.sip_udp_port}",
            plan=Plan(**({"duration_s": 0.5} | plan)),
            answer_timeout_s=5.0,
        )
        return await place_call(options)

    async def get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.gateway.http_port}{path}"
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            return response.status, await response.text()

    async def stop(self, drain_s: float = 0.0) -> None:
        self.stopped = True
        await self.gateway.stop(drain_s)


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (port,) = free_ports(1)
    found = {
        "SIP_UDP_PORT": str(port),
        "SIP_TCP_PORT": str(port),
        "HTTP_PORT": "0",
        "RTP_PORT_MIN": "33000",
        "RTP_PORT_MAX": "33999",
    }
    for name, value in found.items():
        monkeypatch.setenv(PREFIX + name, value)
    return found


@pytest.fixture(params=["off", "ringback"])
def early_media(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SIP_EARLY_MEDIA", request.param)


@pytest.fixture
async def service(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    async with FakeRealtime() as model:
        monkeypatch.setenv("GATEWAY_REALTIME_URL", model.url)
        service = Service(model, Settings.load())
        await service.gateway.start()
        yield service
        if not service.stopped:
            await service.stop()


async def speak_when_asked(model: FakeRealtime, index: int = 0) -> None:
    connection = await model.connection(index)
    await connection.expect("response.create")
    await connection.speak("item_1", "resp_1", VOICE)


async def test_a_call_is_greeted_and_recorded(service: Service) -> None:
    with capture_logs() as lines:
        result, _ = await asyncio.gather(
            service.call(duration_s=0.6), speak_when_asked(service.model)
        )
        await service.stop()
    assert result.ok
    events = [line["event"] for line in lines]
    assert events == [
        "call.incoming",
        "call.ringing",
        "session.connected",
        "call.accepted",
        "call.answered",
        "call.ended",
        "gateway.draining",
        "gateway.stopped",
    ]
    record = lines[5]
    assert record["reason"] == "remote_bye"
    assert (record["turns"], record["codec"]) == (1, "pcmu")
    assert len({line["call_id"] for line in lines[:6]}) == 1


async def test_a_call_leaves_nothing_to_the_collector(
    variables: dict[str, str], early_media: None, service: Service
) -> None:
    async def call() -> int:
        """From another process: the telephone is not to be counted."""
        uri = f"sip:agent@127.0.0.1:{service.settings.sip_udp_port}"
        command = [sys.executable, "-m", "gateway", "call", uri, "--duration", "0.5"]
        caller = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        return await caller.wait()

    with circles() as left:
        for number in range(2):
            status, _ = await asyncio.gather(call(), speak_when_asked(service.model, number))
            assert status == 0
        assert (await service.get("/v1/realtime/calls/rtc_none"))[0] == 404
        assert "gateway_calls_active 0.0" in (await service.get("/metrics"))[1]
    assert not left


async def test_nor_does_a_call_of_a_browser(service: Service) -> None:
    calls = f"http://127.0.0.1:{service.gateway.http_port}/v1/realtime/calls"

    async def call() -> None:
        async with Browser(440.0) as browser, aiohttp.ClientSession() as client:
            offer, headers = await browser.offer(), {"Content-Type": "application/sdp"}
            async with client.post(calls, data=offer, headers=headers) as response:
                await browser.take(await response.read())
                location = response.headers["Location"]
            await until(lambda: bool(browser.events))
            call_id = location.rpartition("/")[2]
            async with client.post(f"{calls}/{call_id}/hangup") as response:
                assert response.status == 200

    with circles() as left:
        await call()
        await asyncio.sleep(1.0)  # its sockets are closed a moment later
        assert "gateway_calls_active 0.0" in (await service.get("/metrics"))[1]
    assert not left


async def test_nor_does_one_who_is_joined_to_a_telephone(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in {"BRIDGE": "leave", "HEAR_EARLY": "true"}.items():
        monkeypatch.setenv(f"GATEWAY_CALLS_{name}", value)
    async with FakeRealtime() as model:
        monkeypatch.setenv("GATEWAY_REALTIME_URL", model.url)
        service = Service(model, Settings.load())
        await service.gateway.start()
        calls = f"http://127.0.0.1:{service.gateway.http_port}/v1/realtime/calls"

        async def call() -> None:
            phone = await Phone.open()
            async with Browser(440.0) as browser, aiohttp.ClientSession() as client:
                offer, headers = await browser.offer(), {"Content-Type": "application/sdp"}
                async with client.post(calls, data=offer, headers=headers) as response:
                    await browser.take(await response.read())
                    call_id = response.headers["Location"].rpartition("/")[2]
                await until(lambda: bool(browser.events))
                order = {"target_uri": phone.uri}
                async with client.post(f"{calls}/{call_id}/refer", json=order) as response:
                    assert response.status == 200
                invite = await phone.until("INVITE")
                phone.answer(invite, 180, body=sdp())
                await asyncio.sleep(0.1)
                phone.answer(invite, 200, body=sdp())
                await phone.until("ACK")
                async with client.get(f"{calls}/{call_id}") as response:
                    assert (await response.json())["state"] == "bridged"
                phone.request("BYE", invite, 7)
                await phone.until("SIP/2.0 200")
            phone.close()

        with circles() as left:
            await call()
            await asyncio.sleep(1.0)
            assert "gateway_calls_active 0.0" in (await service.get("/metrics"))[1]
        await service.stop()
    assert not left


async def test_without_a_backend_the_caller_gets_503(service: Service) -> None:
    service.model.refuse = 500
    with capture_logs() as lines:
        result = await service.call()
        await service.stop()
    assert (result.status, result.end_reason) == (503, "refused")
    (record,) = (line for line in lines if line["event"] == "call.ended")
    assert (record["reason"], record["sip_status"]) == ("backend_unavailable", 503)


async def test_health_and_metrics(service: Service) -> None:
    assert await service.get("/healthz") == (200, '{"status": "ok"}')
    assert await service.get("/readyz") == (200, '{"status": "ready"}')
    await asyncio.gather(service.call(), speak_when_asked(service.model))
    await asyncio.sleep(0.05)
    status, text = await service.get("/metrics")
    assert status == 200
    assert 'gateway_calls_total{leg="sip",reason="remote_bye"} 1.0' in text
    assert "gateway_calls_active 0.0" in text
    status, told = await service.get("/v1/realtime/softphone")
    assert json.loads(told)["dial"] == f"sip:agent@127.0.0.1:{service.settings.sip_udp_port}"
    assert (await service.get("/nothing"))[0] == 404


async def test_a_drain_refuses_new_calls_and_ends_old_ones(service: Service) -> None:
    talking = asyncio.create_task(service.call(duration_s=10.0))
    await speak_when_asked(service.model)
    stopping = asyncio.create_task(service.stop(drain_s=0.4))
    await asyncio.sleep(0.05)
    status, text = await service.get("/readyz")
    assert (status, json.loads(text)["reason"]) == (503, "draining")
    late = await service.call()
    assert late.status == 503
    result = await talking
    assert result.end_reason == "remote_bye"
    await stopping


async def test_more_calls_than_allowed_get_503(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.gateway._registry, "_limit", 1)
    talking = asyncio.create_task(service.call(duration_s=0.6))
    await speak_when_asked(service.model)
    assert (await service.get("/readyz"))[0] == 503
    assert (await service.call()).status == 503
    assert (await talking).ok


async def test_calls_can_be_rejected_as_a_rule(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_CALLS_ON_INCOMING", "reject")
    async with FakeRealtime() as model:
        monkeypatch.setenv("GATEWAY_REALTIME_URL", model.url)
        service = Service(model, Settings.load())
        await service.gateway.start()
        assert (await service.call()).status == 603
        await service.stop()
        assert model.connections == []


async def test_a_taken_port_is_one_clear_line(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime")
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", int(variables["SIP_UDP_PORT"])))
        with pytest.raises(StartError) as caught:
            await Gateway(Settings.load(), logs.get_log()).start()
    port = variables["SIP_UDP_PORT"]
    assert str(caught.value) == (
        f"SIP cannot be served: Address already in use: UDP 127.0.0.1 port {port}; "
        "see GATEWAY_SIP_HOST and GATEWAY_SIP_UDP_PORT, _TCP, _TLS and _WS_PORT"
    )


async def shown(port: int, ca: Path) -> int:
    """The number of the certificate that the web server shows."""
    context = ssl.create_default_context(cafile=ca)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


def two_certificates(directory: Path) -> tuple[authority.Files, authority.Files]:
    """Each with a key of its own."""
    other = directory / "other"
    other.mkdir()
    return authority.make(directory), authority.make(other)


async def test_a_key_that_does_not_fit_is_one_clear_line(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files, other = two_certificates(tmp_path)
    monkeypatch.setenv("GATEWAY_HTTP_TLS_CERT", str(files.certificate))
    monkeypatch.setenv("GATEWAY_HTTP_TLS_KEY", str(other.key))
    monkeypatch.setenv("GATEWAY_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime")
    with pytest.raises(StartError) as caught:
        await Gateway(Settings.load(), logs.get_log()).start()
    assert str(caught.value) == (
        f"HTTP cannot be served: the key in {other.key} does not fit the certificate in "
        f"{files.certificate}; see GATEWAY_HTTP_HOST, _PORT, _TLS_CERT and _TLS_KEY"
    )


def certificate_ends(gateway: Gateway) -> float:
    """As the metrics say it of the web server's."""
    name = 'gateway_certificate_expires_seconds{of="http"} '
    (line,) = [one for one in gateway._metrics.text().decode().splitlines() if name in one]
    return float(line.removeprefix(name))


async def test_the_certificate_of_the_web_server_is_renewed(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files, renewed = two_certificates(tmp_path)
    monkeypatch.setenv("GATEWAY_HTTP_TLS_CERT", str(files.certificate))
    monkeypatch.setenv("GATEWAY_HTTP_TLS_KEY", str(files.key))
    monkeypatch.setenv("GATEWAY_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime")
    monkeypatch.setattr("gateway.legs.tls_watch.LOOK_AGAIN_S", 0.05)
    gateway = Gateway(Settings.load(), logs.get_log())
    await gateway.start()
    try:
        first = await shown(gateway.http_port, files.authority)
        with capture_logs() as lines:
            shutil.copyfile(renewed.certificate, files.certificate)  # the key is still the old one
            gateway.renew_certificates()
            (line,) = [one for one in lines if one["event"] == "http.certificate_unusable"]
            assert line["why"].startswith(f"the key in {files.key} does not fit ")
            assert await shown(gateway.http_port, files.authority) == first
            lines.clear()
            shutil.copyfile(renewed.key, files.key)
            async with asyncio.timeout(3):
                while not lines:  # noqa: ASYNC110 - nobody tells us
                    await asyncio.sleep(0.01)
        events = ["http.certificate_renewed", "http.certificate_expires"]  # in a day
        assert [line["event"] for line in lines] == events
        assert certificate_ends(gateway) == pytest.approx(time.time() + 86400, abs=300)
        assert await shown(gateway.http_port, renewed.authority) != first
    finally:
        await gateway.stop(0.0)


async def test_the_embedded_agent_comes_and_goes_with_the_gateway(
    variables: dict[str, str],
) -> None:
    service = Gateway(Settings.load(), logs.get_log())
    await service.start()
    options = CallOptions(
        uri=f"sip:agent@127.0.0.1:{variables['SIP_UDP_PORT']};transport=tcp",
        plan=Plan(duration_s=2.5, digits="2#", digits_after_s=0.5),
        voice=b"",
    )
    with capture_logs() as lines:
        result = await place_call(options)
    await service.stop(0.0)
    assert result.ok
    # The first key silences the greeting.
    assert "bargein.cleared" in [line["event"] for line in lines]
    pressed = max(moment.at_s for moment in result.timeline if moment.event == "digit")
    assert any(stretch.start_s > pressed for stretch in result.voice)  # and the keys are answered
