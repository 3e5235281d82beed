"""The composition root: settings in, a running gateway out, and its end in good order."""

import asyncio
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from gateway import collector, logs
from gateway.api.auth import Keys
from gateway.api.connection import Runner
from gateway.api.limits import Limits
from gateway.api.pages import Softphone
from gateway.api.realtime import RealtimeConfig, RealtimeSockets
from gateway.api.secrets import SecretStore
from gateway.api.server import application
from gateway.backends import fallback_backend, first_backend
from gateway.calls.line import Line
from gateway.calls.registry import Registry
from gateway.calls.sessions import Sources
from gateway.embedded import EmbeddedAgent, EmbeddedAgentError
from gateway.legs.dialler import Dialler
from gateway.legs.leg import CallOrder, OutgoingLeg, PeerLeg
from gateway.legs.leg_media import MediaConfig
from gateway.legs.pacer import Pacer
from gateway.legs.ports import PortPool
from gateway.legs.sip_endpoint import SipEndpoint
from gateway.legs.sip_incoming import SipIncomingLeg
from gateway.legs.tls_watch import TlsWatch
from gateway.legs.webrtc_leg import WebRtcLeg
from gateway.media import host_addresses, media_config, opus_missing
from gateway.metrics import Metrics
from gateway.policies import line_config, prompt_of
from gateway.settings import Settings, SettingsError, split
from gateway.signalling import (
    accounts,
    add_sip_gauges,
    dial_rules,
    dns,
    sip_config,
    sip_sockets,
    tls_files,
    web_tls_files,
)
from gateway.sip.agent import SipAgent
from gateway.upstream.backend import Backend
from gateway.upstream.webhook import WebhookConfig, WebhookSender
from gateway.webrtc.peer import check_aiortc
from gateway.webrtc.servers import parse_ice_servers

_FAST_DRAIN_S = 5.0
_CONNECTIONS = 256
"""Of one HTTP client, besides those for its calls."""
_WEBHOOK_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
"""What receivers of these webhooks know; our own name stands behind it."""
_PROGRAM = f"voice-agent-gateway/{version('voice-agent-gateway')}"


class StartError(Exception):
    """The gateway cannot start; the text says why in one line."""


class Gateway:
    """Everything that serves calls in this process.

    `async with Gateway(settings):` has it listening; leaving the context drains and stops it.
    """

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._log = log
        self._stack = AsyncExitStack()
        self._metrics = Metrics()
        self._registry = Registry(settings.calls_max, self._metrics.call_ended, self._changed)
        self._ports = PortPool(settings.rtp_port_min, settings.rtp_port_max)
        self._sip = sip_config(settings, _PROGRAM)
        self._agent = SipAgent(self._sip, token=lambda: secrets.token_hex(8))
        self._line: Line
        self._media: MediaConfig
        self._endpoint: SipEndpoint
        self._dialler: Dialler
        self._sockets: RealtimeSockets
        self._https: TlsWatch | None = None
        self.http_port = 0

    @property
    def dial(self) -> str:
        """The URI that reaches the agent."""
        settings = self._settings
        host = settings.sip_names[0]
        host = f"[{host}]" if ":" in host else host
        if settings.sip_udp_port:
            return f"sip:agent@{host}:{settings.sip_udp_port}"
        if settings.sip_tcp_port:
            return f"sip:agent@{host}:{settings.sip_tcp_port};transport=tcp"
        if settings.sip_tls_port:
            return f"sip:agent@{host}:{settings.sip_tls_port};transport=tls"
        return f"sip:agent@{host}:{settings.sip_ws_port};transport=ws"

    async def start(self) -> None:
        """Listen.

        Raises:
            StartError: a port is taken, a file cannot be read, the embedded agent does not start.
        """
        settings = self._settings
        try:
            _check_libraries()
            backend, fallback = await self._backends()
            pacer = Pacer()
            with _naming("WebRTC", "GATEWAY_WEBRTC_HOST"):
                self._media = media_config(
                    settings,
                    self._ports,
                    pacer,
                    backend.config,
                    self._peer_faults,
                    prompt_of("sip_early_media", settings.sip_early_media),
                    self._metrics.media_dropped,
                )
            wanted = "opus" in split(settings.webrtc_codecs)
            if wanted and (reason := opus_missing()) is not None:
                self._log.warning("webrtc.no_opus", reason=reason)
            self._line = Line(
                line_config(settings),
                self._registry,
                Sources(backend, fallback),
                self._dial,
                self._meet,
                await self._webhook(),
                self._log,
            )
            await self._open_sip()
            self._gauges(pacer)
            with _naming("HTTP", "GATEWAY_HTTP_HOST, _PORT, _TLS_CERT and _TLS_KEY"):
                await self._serve_http(backend)
            self._register()
        except (StartError, EmbeddedAgentError, SettingsError) as error:
            await self._stack.aclose()
            raise StartError(str(error)) from None
        collector.settle()
        self._log.info(
            "gateway.started",
            version=version("voice-agent-gateway"),
            http_port=self.http_port,
            sip_udp_port=settings.sip_udp_port,
            sip_tcp_port=settings.sip_tcp_port,
            sip_tls_port=settings.sip_tls_port,
            sip_ws_port=settings.sip_ws_port,
            dial=self.dial,
            page=self.page,
            agent="configured" if settings.has_server else "embedded",
        )
        if settings.sip_admits == () and not settings.sip_users and not settings.sip_register:
            self._log.warning("sip.nobody_allowed", hint="set GATEWAY_SIP_ALLOW")

    @property
    def page(self) -> str:
        """The URL of the softphone."""
        settings = self._settings
        scheme = "https" if settings.http_tls_cert else "http"
        host = settings.http_host
        if host in ("0.0.0.0", "::"):
            host = host_addresses()[0]
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{self.http_port}/"

    async def stop(self, drain_s: float) -> None:
        """Take no more calls, let the rest finish for `drain_s`, hang up, free everything."""
        self._log.info("gateway.draining", calls=len(self._registry), drain_s=drain_s)
        self._agent.available = False
        self._endpoint.registrations.leave()
        await self._registry.drain(drain_s)
        self._sockets.stop()
        await self._sockets.finished()
        await self._stack.aclose()
        self._log.info("gateway.stopped")

    def renew_certificates(self) -> None:
        """Read them again; they are read anyway when they have changed, but not at once."""
        self._endpoint.renew_certificates()
        if self._https is not None:
            self._https.renew()

    def hasten(self) -> None:
        """End a drain in progress soon."""
        for call in self._registry:
            call.hang_up("drain")

    def _take_call(self, leg: SipIncomingLeg) -> None:
        self._line.take(leg, leg.fault)

    def _dial(self, order: CallOrder) -> OutgoingLeg:
        return self._dialler.dial(order)

    def _meet(self, offer: bytes) -> PeerLeg:
        return WebRtcLeg(offer, self._media)

    def _peer_faults(self, faults: Mapping[str, int]) -> None:
        self._metrics.peer_faults(faults)
        if faults.get("silent_servers"):
            self._log.warning("webrtc.server_silent", hint="see GATEWAY_WEBRTC_ICE_SERVERS")

    def _changed(self) -> None:
        self._agent.available = self._readiness() is None

    def _readiness(self) -> str | None:
        refusal = self._registry.refusal()
        if refusal is not None:
            return refusal.reason
        return None if len(self._ports) else "no_media_port"

    async def _backends(self) -> tuple[Backend, Backend | None]:
        """The Realtime server and, if there is one, its stand-in."""
        settings = self._settings
        embedded_url = ""
        if not settings.has_server:
            agent = EmbeddedAgent(
                self._log,
                dialogue=Path(settings.agent_dialogue) if settings.agent_dialogue else None,
                seed=int(settings.agent_seed) if settings.agent_seed else None,
                session_limit_s=settings.agent_session_limit_s,
            )
            embedded_url = (await self._stack.enter_async_context(agent)).url
        first = Backend(first_backend(settings, embedded_url))
        await self._stack.enter_async_context(first)
        config = fallback_backend(settings)
        if config is None:
            return first, None
        return first, await self._stack.enter_async_context(Backend(config))

    async def _webhook(self) -> WebhookSender | None:
        settings = self._settings
        if not settings.webhook_url:
            return None
        if not settings.webhook_secret:
            self._log.warning("webhook.unsigned", hint="set GATEWAY_WEBHOOK_SECRET")
        config = WebhookConfig(
            url=settings.webhook_url,
            secrets=tuple(split(settings.webhook_secret)),
            user_agent=f"{_WEBHOOK_AGENT} {_PROGRAM}",
            most_waiting=2 * settings.calls_max,
        )
        return await self._stack.enter_async_context(WebhookSender(config))

    async def _open_sip(self) -> None:
        settings = self._settings
        with _naming("TLS", "GATEWAY_SIP_TLS_CERT, _KEY, _CA and _TRUST"):
            self._endpoint = SipEndpoint(
                self._agent,
                self._media,
                self._take_call,
                self._log,
                tls_files(settings),
                dns(settings),
            )
        rules, clock = dial_rules(settings), asyncio.get_running_loop().time
        self._dialler = Dialler(rules, self._endpoint.dial, clock)
        for load in self._dialler.loads:
            read = partial(getattr, load)
            self._metrics.trunk(load.name, partial(read, "calls"), partial(read, "refused"))
        self._stack.push_async_callback(self._endpoint.close)
        with _naming("SIP", "GATEWAY_SIP_HOST and GATEWAY_SIP_UDP_PORT, _TCP, _TLS and _WS_PORT"):
            await self._endpoint.open(sip_sockets(settings))

    async def _serve_http(self, backend: Backend) -> None:
        settings = self._settings
        store = SecretStore()
        self._sockets = RealtimeSockets(
            self._line, backend, RealtimeConfig(max_relays=settings.calls_max)
        )
        runner = Runner(
            application(
                keys=Keys(split(settings.api_keys), store),
                store=store,
                line=self._line,
                readiness=self._readiness,
                metrics=self._metrics.text,
                providers=self._providers,
                softphone=Softphone(
                    dial=self.dial,
                    version=version("voice-agent-gateway"),
                    model=backend.config.default_model,
                    webrtc=self._media.webrtc is not None,
                    ice_servers=parse_ice_servers(settings.webrtc_ice_servers).told,
                ),
                log=self._log,
                extra=self._sockets.routes(),
                # An application may hold a sideband for each of its calls.
                limits=Limits(connections=_CONNECTIONS + 4 * settings.calls_max),
            )
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        context = None
        if settings.http_tls_cert:
            self._https = TlsWatch("http", web_tls_files(settings), self._log)
            self._https.start()
            self._stack.callback(self._https.close)
            context = self._https.contexts.web
            self._metrics.certificate("http", partial(getattr, self._https, "expires_at"))
        await web.TCPSite(
            runner, settings.http_host, settings.http_port, ssl_context=context
        ).start()
        self.http_port = runner.addresses[0][1]

    def _register(self) -> None:
        endpoint, metrics = self._endpoint, self._metrics
        endpoint.registrations.keep(accounts(self._settings), metrics.registration)
        for standing in endpoint.registrations.standings:
            metrics.registered(standing.name, partial(getattr, standing, "is_up"))
        endpoint.probes.keep(self._dialler.trunks)
        for asked in endpoint.probes.standings:
            metrics.probed(asked.name, partial(getattr, asked, "is_up"))

    def _providers(self) -> dict[str, list[dict[str, str]]]:
        """How each of them stands; what there is none of is left out."""
        endpoint = self._endpoint
        standings = {
            "registrations": [standing.told for standing in endpoint.registrations.standings],
            "trunks": [standing.told for standing in endpoint.probes.standings],
        }
        return {kind: told for kind, told in standings.items() if told}

    def _gauges(self, pacer: Pacer) -> None:
        gauge = self._metrics.gauge
        gauge("gateway_calls_active", "Calls in progress.", lambda: len(self._registry))
        gauge("gateway_media_ports_free", "Pairs of media ports.", lambda: len(self._ports))
        gauge(
            "gateway_pacer_late_seconds",
            "How late the latest tick of the media clock was.",
            lambda: pacer.late_s,
        )
        gauge("gateway_pacer_stalls", "Times frames were skipped.", lambda: pacer.stalls)
        self._metrics.watch_sip(lambda: self._agent.counters)
        add_sip_gauges(gauge, self._agent, self._endpoint)
        if self._settings.sip_tls_cert:
            certificates = self._endpoint.certificates
            self._metrics.certificate("sip", partial(getattr, certificates, "expires_at"))


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    logs.configure(settings.log_format, settings.log_level)
    gateway = Gateway(settings, logs.get_log())
    stop = asyncio.Event()

    def signalled() -> None:
        if stop.is_set():
            loop.call_later(_FAST_DRAIN_S, gateway.hasten)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    try:
        await gateway.start()
    except StartError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    loop.add_signal_handler(signal.SIGHUP, gateway.renew_certificates)
    if sys.stdout.isatty():
        print(f"\n  Dial {gateway.dial}\n  or open {gateway.page}\n", file=sys.stderr)
    await stop.wait()
    await gateway.stop(settings.drain_s)
    return 0


@contextmanager
def _naming(what: str, settings: str) -> Iterator[None]:
    """Turn what the system says of a port or a file into a line that names the settings."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"{what} cannot be served: {reason}; see {settings}") from None


def _check_libraries() -> None:
    """Raises StartError: what is installed is not what was locked."""
    try:
        check_aiortc()
    except RuntimeError as error:
        raise StartError(str(error)) from None
