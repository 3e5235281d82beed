"""Delivery of webhooks, to receivers on loopback that take, refuse, stall and lie."""

import asyncio
import base64
import hmac
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohappyeyeballs
import psutil
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.testing import capture_logs

from gateway.upstream import webhook
from gateway.upstream.webhook import Delivered, WebhookConfig, WebhookError, WebhookSender
from tests.upstream.deaf import CERTIFICATE
from tests.upstream.receiver import RawReceiver, Receiver

pytestmark = pytest.mark.loop

BODY = b'{"type":"realtime.call.incoming"}'
KEYS = (b"old key", b"new key")
SECRETS = tuple("whsec_" + base64.b64encode(key).decode() for key in KEYS)


def config(url: str, **changes: Any) -> WebhookConfig:
    base: dict[str, Any] = {"attempt_timeout_s": 10.0, "backoff_s": (0.0,), "secrets": SECRETS}
    return WebhookConfig(url, **base | changes)


def after(wait_s: float) -> float:
    """A deadline."""
    return asyncio.get_running_loop().time() + wait_s


async def carry(
    sender: WebhookSender,
    body: bytes,
    *,
    deadline: float | None,
    wanted: Callable[[], bool] = lambda: True,
) -> Delivered:
    """What `send` does, awaited."""
    return await sender._carry(webhook._Message(body, deadline, wanted))


async def deliver(url: str, deadline_s: float = 30.0, **changes: Any) -> Delivered:
    async with WebhookSender(config(url, **changes)) as sender:
        return await carry(sender, BODY, deadline=after(deadline_s))


async def failure(url: str, deadline_s: float = 30.0, **changes: Any) -> WebhookError:
    with pytest.raises(WebhookError) as caught:
        await deliver(url, deadline_s, **changes)
    return caught.value


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


class Names(AbstractResolver):
    """Knows for each lookup what it turns into; the last answer is for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.lookups = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.lookups += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


# What is sent.


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_2xx_takes_it(status: int) -> None:
    async with Receiver(status) as receiver:
        assert await deliver(receiver.url) == Delivered(attempts=1, status=status)
        (seen,) = receiver.seen
        assert (seen.path, seen.body) == ("/hook", BODY)


async def test_headers_of_a_request() -> None:
    async with Receiver(200) as receiver:
        await deliver(receiver.url, user_agent="gateway/1", secrets=())
        headers = receiver.seen[0].headers
        assert headers["user-agent"] == "gateway/1"
        assert headers["content-type"] == "application/json"
        assert headers["webhook-id"].startswith("wh_")
        assert "webhook-signature" not in headers
        assert "accept-encoding" not in headers


async def test_retries_keep_the_id_and_renew_time_and_signatures() -> None:
    clock = iter([1000.9, 1001.2, 1003.0])
    async with Receiver(500, 503, 200) as receiver:
        sending = config(receiver.url)
        async with WebhookSender(sending, wall_clock=lambda: next(clock)) as sender:
            assert await carry(sender, BODY, deadline=None) == Delivered(3, 200)
            assert len({seen.headers["webhook-id"] for seen in receiver.seen}) == 1
        for seen, timestamp in zip(receiver.seen, ["1000", "1001", "1003"], strict=True):
            headers = seen.headers
            assert headers["webhook-timestamp"] == timestamp
            signed = f"{headers['webhook-id']}.{timestamp}.".encode() + seen.body
            assert headers["webhook-signature"].split(" ") == [
                "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
                for key in KEYS
            ]


async def test_each_message_has_an_id_of_its_own() -> None:
    async with Receiver(200) as receiver, WebhookSender(config(receiver.url)) as sender:
        for _ in range(3):
            await carry(sender, BODY, deadline=None)
        assert len({seen.headers["webhook-id"] for seen in receiver.seen}) == 3


# What is tried again, and for how long.


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 425, 429, 499])
async def test_4xx_ends_it(status: int) -> None:
    async with Receiver(status, 200) as receiver:
        error = await failure(receiver.url)
        assert (error.attempts, error.status, str(error)) == (1, status, f"answered {status}")
        assert len(receiver.seen) == 1


@pytest.mark.parametrize("status", [300, 304, 500, 502, 503, 504, 599, 700])
async def test_other_statuses_are_tried_again(status: int) -> None:
    async with Receiver(status, status, 200) as receiver:
        assert await deliver(receiver.url) == Delivered(3, 200)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with Receiver(redirect, 204) as receiver:
        assert await deliver(receiver.url) == Delivered(2, 204)
        assert [seen.path for seen in receiver.seen] == ["/hook", "/hook"]


async def test_pauses_grow_and_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    chances = iter([0.5, 0.0, 1.0, 0.5, 0.5, 0.5])
    async with Receiver(500, 500, 500, 500, 500, 200) as receiver:
        tried = WebhookConfig(receiver.url)
        async with WebhookSender(tried, chance=lambda: next(chances)) as sender:
            monkeypatch.setattr(asyncio, "sleep", sleep)
            await carry(sender, BODY, deadline=None)
            monkeypatch.undo()
    assert pauses == [0, 0.375, 1.25, 2, 4, 4]


async def test_no_attempt_after_the_deadline() -> None:
    async with Receiver(503) as receiver:
        async with asyncio.timeout(5):
            error = await failure(receiver.url, deadline_s=10, backoff_s=(60.0,))
        assert (error.attempts, error.status) == (1, 503)
        error = await failure(receiver.url, deadline_s=0)
        assert (error.attempts, error.status) == (0, None)
        assert len(receiver.seen) == 1


async def test_an_attempt_ends_at_the_deadline() -> None:
    async with RawReceiver(silent) as receiver, asyncio.timeout(5):
        error = await failure(
            receiver.url(), deadline_s=0.1, attempt_timeout_s=60.0, backoff_s=(0.05,)
        )
        assert (error.attempts, error.status) == (1, None)
        await receiver.until(lambda: receiver.gone == 1)


async def test_what_is_not_wanted_any_more_is_not_tried_again() -> None:
    """The application may have decided on the call before it answered the webhook."""
    decided = False

    async def decide(request: web.Request) -> web.Response:
        nonlocal decided
        decided = True
        await asyncio.sleep(0.01)
        return web.Response(status=500)

    async with Receiver(decide) as receiver, WebhookSender(config(receiver.url)) as sender:
        with pytest.raises(WebhookError) as caught:
            await carry(sender, BODY, deadline=after(30), wanted=lambda: not decided)
        error = caught.value
        assert (error.attempts, error.status) == (1, 500)
        assert len(receiver.seen) == 1


async def test_the_first_attempt_is_made_whether_it_is_wanted_or_not() -> None:
    """It was wanted when it was asked for, and a receiver that misses it misses the call."""
    async with Receiver(404) as receiver, WebhookSender(config(receiver.url)) as sender:
        with pytest.raises(WebhookError) as caught:
            await carry(sender, BODY, deadline=after(30), wanted=lambda: False)
        assert caught.value.attempts == 1


async def test_one_that_runs_is_not_cut_short_by_a_decision() -> None:
    decided = False

    async def decide(request: web.Request) -> web.Response:
        nonlocal decided
        decided = True
        await asyncio.sleep(0.01)
        return web.Response()

    async with Receiver(decide) as receiver, WebhookSender(config(receiver.url)) as sender:
        delivered = await carry(sender, BODY, deadline=after(30), wanted=lambda: not decided)
        assert delivered == Delivered(1, 200)


# Receivers that fail.


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads and says nothing."""


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.transport.abort()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")


async def long_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")


async def endless_100(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.01)


async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X: x\r\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("serve", "scheme", "reason", "timeout_s"),
    [
        (silent, "http", "no answer in time", 0.1),
        (silent, "https", "no answer in time", 0.1),
        (endless_100, "http", "no answer in time", 0.1),
        (dribble, "http", "no answer in time", 0.1),
        (reset, "http", "the connection broke before an answer", 10),
        (reset, "https", "connection: ", 10),
        (nonsense, "http", "the answer is not HTTP", 10),
        (nonsense, "https", "TLS: ", 10),
        (long_head, "http", "the answer is not HTTP", 10),
    ],
)
async def test_a_failed_exchange_is_tried_again(
    serve: Callable[..., Awaitable[None]], scheme: str, reason: str, timeout_s: float
) -> None:
    async with RawReceiver(serve) as receiver:
        error = await failure(
            receiver.url(scheme) + "?token=canary",
            attempt_timeout_s=timeout_s,
            backoff_s=(0.0, 60.0),
        )
        assert (error.attempts, error.status) == (2, None)
        assert str(error).startswith(reason)
        assert "canary" not in str(error)
        await receiver.until(lambda: receiver.gone == 2)


async def test_a_refused_connection_is_tried_again() -> None:
    url = f"http://127.0.0.1:{free_port()}/?token=canary"
    error = await failure(url, backoff_s=(0.0, 60.0))
    assert (error.attempts, error.status) == (2, None)
    assert str(error) == "connection: Connection refused"


async def test_a_certificate_that_nobody_vouches_for() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    server = await asyncio.start_server(silent, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    error = await failure(f"https://127.0.0.1:{port}/", 5, backoff_s=(60.0,))
    assert str(error).startswith("certificate: self")
    server.close()
    await server.wait_closed()


async def test_the_status_decides_even_when_the_body_never_ends() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = 500 if receiver.connections == 1 else 200
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\nabc" % status)

    async with RawReceiver(half) as receiver:
        assert await deliver(receiver.url(), attempt_timeout_s=0.15) == Delivered(2, 200)
        await receiver.until(lambda: receiver.gone == 2)


async def test_a_huge_answer_is_not_read() -> None:
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(bytes(65536))
            written += 65536
            await writer.drain()

    async with RawReceiver(flood) as receiver:
        assert await deliver(receiver.url()) == Delivered(1, 200)
        await receiver.until(lambda: receiver.gone == 1)
    assert written < 50_000_000


async def test_a_receiver_that_never_reads_keeps_no_connection_open() -> None:
    """What it does not take must not hold our socket after the message was given up."""

    async def until_ours(are_open: bool) -> None:
        async with asyncio.timeout(10):
            while are_open != any(  # noqa: ASYNC110 (nobody tells us)
                one.raddr and one.raddr[1] == port
                for one in psutil.Process().net_connections("tcp")
            ):
                await asyncio.sleep(0.01)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # The kernel takes more from us the larger the segments are, and on loopback they are huge.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        async with WebhookSender(config(f"http://127.0.0.1:{port}/")) as sender:
            sending = asyncio.create_task(carry(sender, bytes(160 << 10), deadline=None))
            await until_ours(True)
            await asyncio.sleep(0.05)  # it writes
            sending.cancel()
            await until_ours(False)
            with pytest.raises(asyncio.CancelledError):
                await sending


# Deliveries that the sender owns.


class Outcome:
    """What `done` was told; more than one word is a fault."""

    def __init__(self) -> None:
        self._told: asyncio.Future[Delivered | WebhookError] = asyncio.Future()

    def __call__(self, outcome: Delivered | WebhookError) -> None:
        self._told.set_result(outcome)

    @property
    def known(self) -> bool:
        return self._told.done()

    async def get(self) -> Delivered | WebhookError:
        return await asyncio.wait_for(self._told, 10)

    async def error(self) -> tuple[str, int]:
        outcome = await self.get()
        assert isinstance(outcome, WebhookError)
        return str(outcome), outcome.attempts


def send(sender: WebhookSender, *, wanted: bool = True) -> Outcome:
    outcome = Outcome()
    sender.send(BODY, deadline=None, wanted=lambda: wanted, done=outcome)
    assert not outcome.known
    return outcome


async def test_what_is_sent_is_delivered_or_not_and_told() -> None:
    async with Receiver(500, 200, 410) as receiver, WebhookSender(config(receiver.url)) as sender:
        assert await send(sender).get() == Delivered(2, 200)
        assert await send(sender).error() == ("answered 410", 1)


async def test_the_end_of_who_asked_does_not_cut_it_off() -> None:
    """A receiver that rejects the call, and only then answers, gets its answer through."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.Response()

    async with Receiver(slow) as receiver, WebhookSender(config(receiver.url)) as sender:
        outcomes: list[Outcome] = []

        async def call() -> None:
            outcomes.append(send(sender, wanted=False))
            await asyncio.Event().wait()

        task = asyncio.create_task(call())
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert not outcomes[0].known
        go.set()
        assert await outcomes[0].get() == Delivered(1, 200)


async def test_not_wanted_any_more_is_told_as_that() -> None:
    async with Receiver(500) as receiver, WebhookSender(config(receiver.url)) as sender:
        outcome = await send(sender, wanted=False).get()
        assert isinstance(outcome, WebhookError)
        assert outcome.attempts == 1
        assert len(receiver.seen) == 1


async def test_the_end_of_the_sender_ends_and_tells_all() -> None:
    before = asyncio.all_tasks()
    async with RawReceiver(silent) as receiver:
        async with WebhookSender(config(receiver.url())) as sender:
            running = [send(sender) for _ in range(3)]
            await receiver.until(lambda: receiver.connections == 3)
            running.append(send(sender))  # has not begun
        assert all(outcome.known for outcome in running)
        told = [await outcome.error() for outcome in running]
        assert told == [("the gateway stops", 1)] * 3 + [("the gateway stops", 0)]
        assert await send(sender).error() == ("the gateway stops", 0)
        await receiver.until(lambda: receiver.gone == 3)
    assert asyncio.all_tasks() == before


async def test_so_many_at_once_and_no_more() -> None:
    async with RawReceiver(silent) as receiver:
        sending = config(receiver.url(), most_waiting=2)
        async with WebhookSender(sending) as sender:
            running = [send(sender) for _ in range(2)]
            assert await send(sender).error() == ("too many messages are on their way", 0)
            assert not any(outcome.known for outcome in running)


async def test_a_place_is_free_again() -> None:
    async with Receiver(200) as receiver:
        async with WebhookSender(config(receiver.url, most_waiting=1)) as sender:
            for _ in range(3):
                assert await send(sender).get() == Delivered(1, 200)


async def test_a_defect_is_logged_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with WebhookSender(config("http://127.0.0.1:9/")) as sender:
        monkeypatch.setattr(sender, "_headers", broken)
        with capture_logs() as lines:
            assert await send(sender).error() == ("a defect of the gateway", 1)
        assert [line["event"] for line in lines] == ["webhook.defect"]


async def test_sending_needs_the_context() -> None:
    with pytest.raises(RuntimeError):
        send(WebhookSender(config("http://127.0.0.1/")))


# One sender, many calls.


async def test_no_attempt_is_lost_on_a_connection_of_the_last_one() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read(65536)  # a keep-alive that ends just when it is used
        writer.transport.abort()

    async with RawReceiver(once) as receiver, WebhookSender(config(receiver.url())) as sender:
        for _ in range(2):
            assert await carry(sender, BODY, deadline=after(30)) == Delivered(1, 200)


async def test_a_stalled_message_holds_up_no_other() -> None:
    released = asyncio.Event()

    async def stall(request: web.Request) -> web.Response:
        if b"slow" in await request.read():
            await released.wait()
        return web.Response()

    async with Receiver(stall) as receiver, WebhookSender(config(receiver.url)) as sender:
        slow = [asyncio.create_task(carry(sender, b"slow", deadline=None)) for _ in range(120)]
        await receiver.until_seen(120)
        for _ in range(20):
            await carry(sender, b"fast", deadline=None)
        assert not any(one.done() for one in slow)
        released.set()
        assert await asyncio.gather(*slow) == [Delivered(1, 200)] * 120


async def test_a_caller_who_hangs_up_closes_the_connection() -> None:
    before = asyncio.all_tasks()
    async with (
        RawReceiver(silent) as receiver,
        WebhookSender(config(receiver.url())) as sender,
    ):
        sending = asyncio.create_task(carry(sender, BODY, deadline=None))
        await receiver.until(lambda: receiver.connections == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await receiver.until(lambda: receiver.gone == 1)
    assert asyncio.all_tasks() == before


async def test_nothing_outlives_the_context() -> None:
    """Not even a lookup that never comes back."""

    class Stalled(Names):
        async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
            self.lookups += 1
            await asyncio.Event().wait()
            return []

    before = asyncio.all_tasks()
    names = Stalled([])
    tried = config("http://agent.example/", attempt_timeout_s=0.05)
    async with WebhookSender(tried, resolver=names) as sender:
        for _ in range(2):
            with pytest.raises(WebhookError, match="no answer in time"):
                await carry(sender, BODY, deadline=after(0.2))
        assert names.lookups == 1  # shared by all attempts
    assert asyncio.all_tasks() == before


async def test_it_needs_its_context() -> None:
    sender = WebhookSender(config("http://127.0.0.1/"))
    with pytest.raises(RuntimeError):
        await carry(sender, BODY, deadline=None)
    async with sender:
        pass
    with pytest.raises(RuntimeError):
        await carry(sender, BODY, deadline=None)


async def test_neither_proxies_nor_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)

    async def cookie(request: web.Request) -> web.Response:
        return web.Response(status=500, headers={"Set-Cookie": "a=b"})

    async with Receiver(cookie, 200) as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")
        tried = config(url)
        async with WebhookSender(tried, resolver=Names(["127.0.0.1"])) as sender:
            assert await carry(sender, BODY, deadline=after(2)) == Delivered(2, 200)
        assert "cookie" not in receiver.seen[1].headers


# Where it goes.


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://2130706433/", "http://u:canary@a.example/", "x"]
)
def test_a_url_that_may_not_be_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="the URL") as caught:
        WebhookSender(config(url))
    assert "canary" not in str(caught.value)


def test_a_secret_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="base64"):
        WebhookSender(config("http://127.0.0.1/", secrets=("whsec_canar-",)))


def test_a_config_shows_no_secret() -> None:
    shown = repr(config("http://a.example/?t=canary", secrets=("whsec_canary",)))
    assert "canary" not in shown


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that were connected to; those that are not loopback refuse without a packet."""
    addresses: list[str] = []
    start = aiohappyeyeballs.start_connection

    async def start_connection(addr_infos: list[Any], **kwargs: Any) -> socket.socket:
        addresses.extend(info[4][0] for info in addr_infos)
        if all(info[4][0].startswith("127.") for info in addr_infos):
            return await start(addr_infos, **kwargs)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start_connection)
    return addresses


async def to_name(name: str, port: int, names: Names, attempts: int = 3) -> str:
    """Try to deliver to a name; why it failed."""
    tried = config(f"http://{name}:{port}/", backoff_s=(0.0,) * (attempts - 1) + (60.0,))
    async with WebhookSender(tried, resolver=names) as sender:
        with pytest.raises(WebhookError) as caught:
            await carry(sender, BODY, deadline=after(30))
    assert caught.value.attempts == attempts
    return str(caught.value)


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        (["127.0.0.1"], "a loopback address"),
        (["::1"], "a loopback address"),
        (["::ffff:127.0.0.1", "127.0.0.1"], "a loopback address in IPv6 clothes"),
        (["64:ff9b::7f00:1"], "a loopback address in IPv6 clothes"),
        (["0.0.0.0"], "an unspecified address"),
        (["169.254.169.254"], "a link-local address"),
        (["fe80::1"], "a link-local address"),
        ([], "no address"),
    ],
)
async def test_a_name_does_not_lead_to_the_gateway_itself(
    addresses: list[str], words: str, dialled: list[str]
) -> None:
    async with Receiver(200) as receiver:
        reason = await to_name("agent.example", receiver.port, Names(addresses), attempts=1)
        assert reason == f"host name: resolves to {words}"
        assert (receiver.seen, dialled) == ([], [])


async def test_a_name_that_turns_into_loopback_later(
    dialled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "_DNS_TTL_S", 0)
    names = Names(["203.0.113.7"], ["127.0.0.1"])
    async with Receiver(200) as receiver:
        reason = await to_name("agent.example", receiver.port, names)
        assert "loopback" in reason
        assert names.lookups == 3
        assert (receiver.seen, dialled) == ([], ["203.0.113.7"])


async def test_only_the_good_addresses_of_a_name_are_dialled(dialled: list[str]) -> None:
    async with Receiver(200) as receiver:
        names = Names(["127.0.0.1", "10.0.0.7", "fe80::1", "0.0.0.0"])
        reason = await to_name("agent.example", receiver.port, names, attempts=1)
        assert "refused" in reason
        assert (receiver.seen, dialled) == ([], ["10.0.0.7"])


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "localhost."])
async def test_localhost_is_what_it_says(name: str, dialled: list[str]) -> None:
    async with Receiver(200) as receiver:
        tried = config(f"http://{name}:{receiver.port}/")
        async with WebhookSender(tried, resolver=Names(["127.0.0.1"])) as sender:
            assert await carry(sender, BODY, deadline=None) == Delivered(1, 200)
        assert dialled == ["127.0.0.1"]


async def test_even_localhost_is_nowhere_else() -> None:
    names = Names(["169.254.169.254"])
    assert "link-local" in await to_name("localhost", 80, names, attempts=1)


async def test_the_systems_own_lookup_finds_localhost() -> None:
    async with Receiver(200) as receiver:
        assert await deliver(receiver.url.replace("127.0.0.1", "localhost")) == Delivered(1, 200)


async def test_a_name_that_is_not_found_is_tried_again() -> None:
    class Unknown(Names):
        async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    reason = await to_name("agent.example", 80, Unknown([]), attempts=2)
    assert reason == "host name: Name or service not known"
