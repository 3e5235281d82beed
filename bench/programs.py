"""The gateway that is measured, and the Realtime server that it talks to."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import (
    ROOT,
    BenchError,
    Cores,
    free_port,
    running,
    tool,
    wait_for_event,
)

START_TIMEOUT_S = 30.0
WARM_UP_CALLS = 2
RTP_PORTS = range(10000, 20000)
"""Below the system's own choice of ports, beside the gateway's default range."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured, and how the calls come."""

    cores: Cores
    folder: Path
    """For the gateway's log; it also works there, away from any `.env` file."""
    mode: str
    rate: float
    keys: bool
    pid: int | None
    sip_port: int
    http_port: int
    model_port: int
    """These three count when `pid` names a gateway that runs already."""


@dataclass(frozen=True, slots=True)
class Server:
    """Which audio the gateway is told that the Realtime server takes and sends."""

    name: str
    input_format: str
    output_format: str
    """As in `GATEWAY_REALTIME_INPUT_FORMAT` and its sister."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that takes calls."""

    pid: int
    sip_port: int
    http_port: int
    log: Path | None

    @property
    def offers_url(self) -> str:
        """Where WebRTC callers post."""
        return f"http://127.0.0.1:{self.http_port}/v1/realtime/calls"


@dataclass(frozen=True, slots=True)
class Model:
    """The fake Realtime server."""

    pid: int
    port: int


@contextmanager
def running_model(target: Target) -> Iterator[Model]:
    port = target.model_port if target.pid else 0
    command = tool("model", "--port", port, "--mode", target.mode)
    with running(command, target.cores.tools) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchError(f"the fake Realtime server did not start on port {port or 'any'}")
        yield Model(process.pid, int(line))


@contextmanager
def running_gateway(
    target: Target, model_port: int, server: Server, calls: int, what: str
) -> Iterator[Gateway]:
    """A gateway for so many calls. `what` is measured, and names its log."""
    if target.pid:
        yield Gateway(target.pid, target.sip_port, target.http_port, None)
        return
    sip_port, http_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    log = target.folder / f"{what.replace('/', '-')} {calls}.log"
    needed = 2 * (calls + WARM_UP_CALLS) + 100  # freed ports are used again last
    # Somewhere else for each run, so that two of them seldom want the same ports.
    first_rtp_port = RTP_PORTS.start + os.getpid() * 98 % (len(RTP_PORTS) - needed)
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    env |= {
        "PYTHONPATH": str(ROOT),
        "GATEWAY_REALTIME_URL": f"ws://127.0.0.1:{model_port}/v1/realtime?model={{model}}",
        "GATEWAY_REALTIME_INPUT_FORMAT": server.input_format,
        "GATEWAY_REALTIME_OUTPUT_FORMAT": server.output_format,
        "GATEWAY_SIP_UDP_PORT": str(sip_port),
        "GATEWAY_SIP_TCP_PORT": str(free_port(socket.SOCK_STREAM)),
        "GATEWAY_HTTP_PORT": str(http_port),
        "GATEWAY_RTP_PORT_MIN": str(first_rtp_port),
        "GATEWAY_RTP_PORT_MAX": str(first_rtp_port + needed),
        "GATEWAY_CALLS_MAX": str(calls + WARM_UP_CALLS),
        "GATEWAY_LOG_FORMAT": "json",
        "GATEWAY_DRAIN_S": "1",
    }
    command = [sys.executable, "-m", "gateway", "serve"]
    with running(command, target.cores.gateway, env=env, cwd=target.folder, output=log) as process:
        try:
            wait_for_event(process, log, "gateway.started", START_TIMEOUT_S)
        except BenchError as error:
            raise BenchError(f"the gateway did not start: {error}") from None
        yield Gateway(process.pid, sip_port, http_port, log)
