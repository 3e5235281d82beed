"""The gateway as a program under test: started with an environment, watched from outside.

Nothing of `gateway` is imported. What the tests know is what an operator knows: the log, the HTTP
pages, the signals, and what the kernel says about the process.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

from tests.beside import half

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
T1_S = 0.5
FREED_WITHIN_S = 64 * T1_S + 5
"""After the last call every transaction and dialog must be gone by then."""

LogLine = dict[str, Any]

_START_TIMEOUT_S = 40.0
_STOP_TIMEOUT_S = 15.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_choice = random.Random(os.getpid())
_NO_BROWSER_GOES_TO = {6000, 6566, 6666, 6668}
"""Of these ports, by the Fetch standard (section "Port blocking")."""
_PORTS = [port for port in half(range(5100, 9900, 2)) if port not in _NO_BROWSER_GOES_TO]
_next_port = _choice.randrange(len(_PORTS))
_RANGES = half(range(17_000, 32_000))
_next_range = _RANGES.start + 200 * _choice.randrange(10)
_choosing = threading.Lock()
_starting = threading.Lock()
"""One gateway starts at a time: that takes all of a processor, and calls go on beside it."""


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and for TCP, below the range the kernel uses.

    Ports are taken in turn, so that none is given out twice before its first owner has bound it.
    """
    global _next_port
    for _ in _PORTS:
        with _choosing:
            port, _next_port = _PORTS[_next_port], (_next_port + 1) % len(_PORTS)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        ):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                udp.bind((HOST, port))
                tcp.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def free_range(size: int) -> int:
    """The first port of a stretch in which nobody listens, and that was not used for long."""
    global _next_range
    for _ in range(200):
        with _choosing:
            if _next_range + size >= _RANGES.stop:
                _next_range = _RANGES.start
            first, _next_range = _next_range, _next_range + size
        if all(_is_free(port) for port in range(first, first + size)):
            return first
    raise RuntimeError("no free range of ports")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def eventually(condition: Callable[[], object], timeout_s: float, pause_s: float = 0.05) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a gateway holds at one moment, its embedded agent included."""

    fds: int
    udp_sockets: int
    threads: int
    calls: int
    media_ports_free: int
    sip_dialogs: int
    sip_transactions: int
    sip_connections: int

    def excess_over(self, baseline: Self) -> list[str]:
        """What is held more than at the baseline, in words; threads are pooled and may stay."""
        found = []
        for name in (
            "fds",
            "udp_sockets",
            "calls",
            "sip_dialogs",
            "sip_transactions",
            "sip_connections",
        ):
            now, before = getattr(self, name), getattr(baseline, name)
            if now > before:
                found.append(f"{name}: {now}, was {before}")
        if self.media_ports_free < baseline.media_ports_free:
            found.append(
                f"media_ports_free: {self.media_ports_free}, was {baseline.media_ports_free}"
            )
        if self.threads > baseline.threads + 8:
            found.append(f"threads: {self.threads}, was {baseline.threads}")
        return found


@dataclass
class GatewayProcess:
    """`python -m gateway serve`, as a context manager.

    Args:
        realtime_url: where sessions are opened; "" for the embedded agent.
        env: further `GATEWAY_` variables.
        host: of its SIP and media.

    Leaving the context stops the process in good order and checks that it never complained.
    """

    realtime_url: str = ""
    env: dict[str, str] = field(default_factory=dict)
    media_ports: int = 300
    host: str = HOST

    def __post_init__(self) -> None:
        self.sip_port = free_port()
        self.http_port = free_port()
        self.rtp_first = free_range(self.media_ports)
        self.rtp_last = self.rtp_first + self.media_ports - 1
        self.logs: list[LogLine] = []
        self.noise: list[str] = []
        """What the process printed that is not a log line."""
        self.status: int | None = None
        self.stopped_in_s = 0.0
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    # Its life.

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.terminate()
        status = self.wait()
        if exc_type is None:
            assert status == 0, f"exit status {status}: {self.noise[-20:]}"
            self.check()

    def start(self) -> None:
        """Returns when it takes calls."""
        with _starting:
            self._start()

    def _start(self) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        settings = {
            "GATEWAY_SIP_HOST": self.host,
            "GATEWAY_SIP_UDP_PORT": str(self.sip_port),
            "GATEWAY_SIP_TCP_PORT": str(self.sip_port),
            "GATEWAY_HTTP_PORT": str(self.http_port),
            "GATEWAY_RTP_PORT_MIN": str(self.rtp_first),
            "GATEWAY_RTP_PORT_MAX": str(self.rtp_last),
            "GATEWAY_REALTIME_URL": self.realtime_url,
            "GATEWAY_LOG_FORMAT": "json",
            "GATEWAY_LOG_LEVEL": "debug",
            "GATEWAY_DRAIN_S": "0",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            cwd=ROOT,
            env=own | {"PYTHONUNBUFFERED": "1"} | settings | self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._process = process
        assert process.stdout is not None and process.stderr is not None
        for stream in (process.stdout, process.stderr):
            reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
            reader.start()
            self._readers.append(reader)
        try:
            self.wait_for("gateway.started", _START_TIMEOUT_S)
        except AssertionError:
            process.kill()
            self.wait()
            raise

    def terminate(self) -> None:
        """Ask it to stop, as an operator would."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = _STOP_TIMEOUT_S) -> int:
        """Its exit status; it is killed when it does not end in time."""
        process = self._process
        assert process is not None
        began = time.monotonic()
        try:
            self.status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            self.status = process.wait()
            self.noise.append(f"did not end within {timeout_s} s of SIGTERM")
        self.stopped_in_s = time.monotonic() - began
        for reader in self._readers:
            reader.join(5)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        return self.status

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def sip(self) -> tuple[str, int]:
        return (self.host, self.sip_port)

    # Its log.

    def mark(self) -> int:
        """A place in the log, to look only at what comes after it."""
        with self._news:
            return len(self.logs)

    def wait_for(
        self, event: str, timeout_s: float = 5.0, since: int = 0, **fields: object
    ) -> LogLine:
        """The first line with this event and these fields, as soon as it is there."""
        return self.wait_for_lines(event, 1, timeout_s, since, **fields)[0]

    def wait_for_lines(
        self, event: str, count: int, timeout_s: float = 5.0, since: int = 0, **fields: object
    ) -> list[LogLine]:
        """The first `count` such lines."""
        with self._news:
            found = self._find(event, since, fields)
            deadline = time.monotonic() + timeout_s
            while len(found) < count:
                left = deadline - time.monotonic()
                if left <= 0 or not self.running and not self._news.wait(0.2):
                    raise AssertionError(
                        f"{len(found)} of {count} times {event} {fields} within {timeout_s} s; "
                        f"the end of the log: {self.logs[-12:]} {self.noise[-20:]}"
                    )
                self._news.wait(min(left, 0.5))
                found = self._find(event, since, fields)
            return found[:count]

    def lines(self, event: str, since: int = 0, **fields: object) -> list[LogLine]:
        """All lines so far with this event and these fields."""
        with self._news:
            return self._find(event, since, fields)

    def ended_calls(self, since: int = 0) -> list[LogLine]:
        """The records of the calls that have ended."""
        return self.lines("call.ended", since)

    def call_ended(self, since: int, timeout_s: float = 5.0) -> LogLine:
        """The record of the one call that came in after the mark."""
        call_id = self.wait_for("call.incoming", timeout_s, since)["call_id"]
        return self.wait_for("call.ended", timeout_s, since, call_id=call_id)

    def complaints(self) -> list[object]:
        """Everything it said that a healthy gateway does not say."""
        with self._news:
            bad: list[object] = [
                line
                for line in self.logs
                if line.get("level") in ("error", "critical")
                or line.get("event") == "call.failed"
                or "exception" in line
            ]
            return bad + [text for text in self.noise if text.strip()]

    def check(self) -> None:
        """No complaint, and exactly one `call.ended` for each call that came in or was made."""
        assert not self.complaints(), self.complaints()[:5]
        begun = [*self.lines("call.incoming"), *self.lines("call.outgoing")]
        incoming = sorted(line["call_id"] for line in begun)
        ended = sorted(line["call_id"] for line in self.lines("call.ended"))
        if self.running:
            assert len(set(ended)) == len(ended), "a call ended twice"
            assert set(ended) <= set(incoming)
        else:
            assert incoming == ended

    # Its outside.

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        url = f"http://{HOST}:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`; those with labels as `name{labels}`."""
        status, text = self.get("/metrics")
        assert status == 200
        samples = {}
        for line in text.splitlines():
            if match := _SAMPLE.match(line):
                name, labels, value = match.groups()
                samples[f"{name}{{{labels}}}" if labels else name] = float(value)
        return samples

    def footprint(self) -> Footprint:
        samples = self.metrics()
        own = psutil.Process(self.pid)
        family = [own, *own.children(recursive=True)]
        # Our own scrape is a connection too, which may be closed meanwhile.
        http = {
            one.fd
            for one in own.net_connections("tcp")
            if one.laddr and one.laddr.port == self.http_port
        }
        others = set(map(int, os.listdir(f"/proc/{self.pid}/fd"))) - http
        return Footprint(
            fds=len(others) + sum(child.num_fds() for child in family[1:]),
            udp_sockets=sum(len(process.net_connections("udp")) for process in family),
            threads=sum(process.num_threads() for process in family),
            calls=int(samples["gateway_calls_active"]),
            media_ports_free=int(samples["gateway_media_ports_free"]),
            sip_dialogs=int(samples["gateway_sip_dialogs"]),
            sip_transactions=int(samples["gateway_sip_transactions"]),
            sip_connections=int(samples["gateway_sip_connections"]),
        )

    def wait_for_footprint(
        self, baseline: Footprint, timeout_s: float, *ignoring: str
    ) -> Footprint:
        """Wait until no more is held than at the baseline; returns what is held then."""
        last: list[str] = []

        def back() -> bool:
            nonlocal last
            last = [
                text
                for text in self.footprint().excess_over(baseline)
                if text.split(":")[0] not in ignoring
            ]
            return not last

        held = not eventually(back, timeout_s, 0.25)
        assert not held, f"after {timeout_s} s still held: {last}; open: {self._open()}"
        return self.footprint()

    def _open(self) -> list[str]:
        """What its descriptors are of."""
        own = psutil.Process(self.pid)
        found = []
        for process in (own, *own.children(recursive=True)):
            at = {one.fd: one for one in process.net_connections("all")}
            for name in os.listdir(f"/proc/{process.pid}/fd"):
                with suppress(OSError):
                    what = at.get(int(name)) or os.readlink(f"/proc/{process.pid}/fd/{name}")
                    found.append(f"{process.pid} {name}: {what}")
        return found

    # Parts of the above.

    def _find(self, event: str, since: int, fields: dict[str, object]) -> list[LogLine]:
        return [
            line
            for line in self.logs[since:]
            if line.get("event") == event
            and all(line.get(name) == value for name, value in fields.items())
        ]

    def _read(self, stream: IO[str]) -> None:
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            with self._news:
                if isinstance(line, dict) and "event" in line:
                    self.logs.append(line)
                else:
                    self.noise.append(text.rstrip())
                self._news.notify_all()
