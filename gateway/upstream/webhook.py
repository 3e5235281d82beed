"""Delivers a webhook: the same message again and again until it is taken, refused or too late.

Each attempt has a connection of its own, so that no attempt is lost on a connection that the
receiver had already given up, and a receiver that stalls holds up nobody else's webhook. The head
of the answer decides; its body is read a little, because servers take a client that leaves early
for one that has gone, and is thrown away.
"""

import asyncio
import errno
import os
import random
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, repeat
from types import TracebackType
from typing import Self

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from gateway.webhooks.sign import key_of, signature
from gateway.webhooks.target import address_fault, check_webhook_url

_STOPPED = "the gateway stops"
_MAX_ANSWER_BYTES = 64 << 10
_ID_BYTES = 16
_DNS_TTL_S = 10
"""Lookups are shared, so that a name server that stalls holds one thread and not one per call."""
_KERNEL_BUFFER_BYTES = 256 << 10
"""Room for a whole request. What waits in the transport would keep a closed connection open for as
long as the receiver does not read."""

_log = structlog.get_logger()


class WebhookError(Exception):
    """The message was given up; `str()` is a reason fit for a log, without secrets or the URL."""

    def __init__(self, reason: str, attempts: int, status: int | None) -> None:
        super().__init__(reason)
        self.attempts = attempts
        self.status = status
        """Of the last attempt; None when it got no answer."""


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where webhooks go and how hard it is tried."""

    url: str = field(repr=False)
    """May hold a token, so that no log shows it."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Every one signs; without any there is no signature."""
    attempt_timeout_s: float = 5.0
    """For one attempt, from the lookup of the name to the end of the answer."""
    backoff_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Pauses after the first attempts, give or take a quarter; the last one repeats. Not empty."""
    user_agent: str = "voice-agent-gateway"
    most_waiting: int = 1000
    """Messages on their way at once, each with a connection of its own."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has the message."""

    attempts: int
    status: int


Told = Callable[[Delivered | WebhookError], None]
"""Learns what became of a message."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of one attempt."""

    status: int | None
    reason: str

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """The receiver says that the same message will not do."""
        return self.status is not None and 400 <= self.status < 500


@dataclass(slots=True)
class _Message:
    """One message and how far it got."""

    body: bytes
    deadline: float | None
    wanted: Callable[[], bool]
    message_id: str = field(default_factory=lambda: f"wh_{secrets.token_hex(_ID_BYTES)}")
    attempts: int = 0


class WebhookSender:
    """Sends messages to one URL. Use as an async context; leaving it breaks off what is under way.

    Args:
        config: where and how.
        resolver: looks names up; None is the system's way.
        wall_clock: unix time in seconds, for `webhook-timestamp`.
        chance: a number from 0 to 1, for the jitter of the pauses.

    Raises:
        ValueError: no webhook may go to that URL, or a secret is none. Quotes nothing of either.
    """

    def __init__(
        self,
        config: WebhookConfig,
        *,
        resolver: AbstractResolver | None = None,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        fault = check_webhook_url(config.url)
        if fault:
            raise ValueError(f"the URL {fault}")
        self._config = config
        self._keys = [key_of(secret) for secret in config.secrets]
        self._resolver = resolver
        self._wall_clock = wall_clock
        self._chance = chance
        self._client: aiohttp.ClientSession | None = None
        self._under_way: set[asyncio.Task[Delivered]] = set()
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                force_close=True,
                resolver=_CheckedResolver(self._resolver or aiohttp.ThreadedResolver()),
                ttl_dns_cache=_DNS_TTL_S,
                socket_factory=_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is None:
            return
        self._stopping = True
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.close()

    def send(
        self,
        body: bytes,
        *,
        deadline: float | None,
        wanted: Callable[[], bool],
        done: Told,
    ) -> None:
        """Send one message until it is taken.

        It is tried again after a time-out, a failed connection and every status but 2xx and 4xx,
        with the same `webhook-id`. This returns at once: the delivery is the sender's own, and goes
        on when whoever asked for it has ended.

        Args:
            body: the JSON text.
            deadline: loop time. No attempt starts after it or lasts longer; None is no limit.
            wanted: asked before each attempt but the first; False ends it. One that runs is never
                cut short by this, because the receiver may be acting on it.
            done: called once in any case, later than this returns: with `Delivered`, or with the
                `WebhookError` that says why not, the end of the context included.
        """
        loop = asyncio.get_running_loop()
        if self._client is None:
            raise RuntimeError("WebhookSender is used outside of its context")
        if self._stopping:
            loop.call_soon(done, WebhookError(_STOPPED, 0, None))
            return
        if len(self._under_way) >= self._config.most_waiting:
            reason = "too many messages are on their way"
            loop.call_soon(done, WebhookError(reason, 0, None))
            return
        message = _Message(body, deadline, wanted)

        def ended(task: asyncio.Task[Delivered]) -> None:
            self._under_way.discard(task)
            done(_outcome(task, message))

        task = loop.create_task(self._carry(message))
        self._under_way.add(task)
        task.add_done_callback(ended)

    async def _carry(self, message: _Message) -> Delivered:
        loop = asyncio.get_running_loop()
        backoff = self._config.backoff_s
        answer = _Answer(None, "nothing was sent: too late")
        for pause_s in chain((0.0,), backoff, repeat(backoff[-1])):
            pause_s *= 0.75 + self._chance() / 2
            if message.deadline is not None and loop.time() + pause_s >= message.deadline:
                break
            await asyncio.sleep(pause_s)
            if message.attempts and not message.wanted():
                break
            message.attempts += 1
            answer = await self._attempt(message)
            if answer.taken:
                return Delivered(message.attempts, answer.status or 0)
            if answer.final:
                break
        raise WebhookError(answer.reason, message.attempts, answer.status)

    async def _attempt(self, message: _Message) -> _Answer:
        if self._client is None or self._client.closed:
            raise RuntimeError("WebhookSender is used outside of its context")
        deadline = message.deadline
        end = asyncio.get_running_loop().time() + self._config.attempt_timeout_s
        status: int | None = None
        reason = ""
        try:
            async with (
                asyncio.timeout_at(end if deadline is None else min(end, deadline)),
                self._client.post(
                    self._config.url,
                    data=message.body,
                    headers=self._headers(message.message_id, message.body),
                    allow_redirects=False,
                ) as response,
            ):
                status = response.status
                await _drain(response)
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
            reason = _reason(error)
        return _Answer(status, reason if status is None else f"answered {status}")

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        timestamp = int(self._wall_clock())
        headers = {
            "user-agent": self._config.user_agent,
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
        }
        if self._keys:
            headers["webhook-signature"] = signature(self._keys, message_id, timestamp, body)
        return headers


def _outcome(task: asyncio.Task[Delivered], message: _Message) -> Delivered | WebhookError:
    """What came of a delivery, however it ended."""
    if task.cancelled():
        return WebhookError(_STOPPED, message.attempts, None)
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, WebhookError):
        return error
    _log.error("webhook.defect", exc_info=error)
    return WebhookError("a defect of the gateway", message.attempts, None)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the body to its end or its bound; the connection is closed afterwards either way."""
    room = _MAX_ANSWER_BYTES
    while room > 0 and (chunk := await response.content.readany()):
        room -= len(chunk)


def _reason(error: aiohttp.ClientError | OSError) -> str:
    # Not the error's own text, which may name the URL.
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause):
            return f"certificate: {getattr(cause, 'verify_message', '') or type(cause).__name__}"
        case aiohttp.ClientConnectorDNSError():
            return f"host name: {error.strerror or 'not found'}"
        case aiohttp.ClientConnectorSSLError():
            return f"TLS: {error.strerror or 'failed'}"
        case aiohttp.ClientConnectorError():
            return f"connection: {os.strerror(error.errno) if error.errno else 'failed'}"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
        case _:
            return "the connection broke before an answer"


def _socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
    return made


class _CheckedResolver(AbstractResolver):
    """Leaves out where no webhook may go, after the lookup: what is connected to was checked.

    Literals never come here; `check_webhook_url` has seen them.
    """

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        resolved = host.rstrip(".") != "localhost"
        faults = [address_fault(one["host"], resolved=resolved) for one in found]
        allowed = [one for one, fault in zip(found, faults, strict=True) if not fault]
        if not allowed:
            words = next(filter(None, faults), "no address")
            raise OSError(errno.EACCES, f"resolves to {words}")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()
