"""Kamailio as a peer, with the configurations of `deploy/kamailio`, which are run as they are."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.peers.gateway import HOST, ROOT, eventually, free_port
from tests.sdk.authority import Files

CONFIGURATIONS = ROOT / "deploy" / "kamailio"
REALM = "pbx.example.org"
_MODULES = ("tls.so", "websocket.so")


def need_kamailio() -> None:
    """Skips the test when it, or a module of it, is not installed."""
    places = Path("/usr/lib").glob("*/kamailio/modules")
    if shutil.which("kamailio") is None or not any(
        all((place / name).exists() for name in _MODULES) for place in places
    ):
        pytest.skip(
            "Kamailio is not installed (packages kamailio, kamailio-tls-modules, "
            "kamailio-websocket-modules)"
        )


@dataclass(frozen=True, slots=True)
class Ports:
    """Where it listens."""

    plain: int
    """UDP and TCP."""
    tls: int
    wss: int


class Kamailio:
    """The program with one of the configurations, ready when the context begins.

    Args:
        configuration: the name of a file without `.cfg`.
        directory: for what it prints; there may be others of it.
        files: its certificate.
        defines: of the configuration, but for the ports; a value is a string there.
        ports: where it listens, if it is to be the same again.
    """

    def __init__(
        self,
        configuration: str,
        directory: Path,
        files: Files,
        defines: Mapping[str, str],
        ports: Ports | None = None,
    ) -> None:
        need_kamailio()
        self.ports = ports or Ports(free_port(), free_port(), free_port())
        plain, tls, wss = self.ports.plain, self.ports.tls, self.ports.wss
        told = {
            "LISTEN_UDP": f"udp:{HOST}:{plain}",
            "LISTEN_TCP": f"tcp:{HOST}:{plain}",
            "LISTEN_TLS": f"tls:{HOST}:{tls}",
            "LISTEN_WSS": f"tls:{HOST}:{wss}",
            "CERTIFICATE": f'"{files.certificate}"',
            "KEY": f'"{files.key}"',
            **{name: f'"{value}"' for name, value in defines.items()},
        }
        self._output = directory / f"{configuration}-{plain}-{time.monotonic_ns()}.out"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [
                    *("kamailio", "-DD", "-E", "-f", str(CONFIGURATIONS / f"{configuration}.cfg")),
                    *("-m", "64", "-M", "8", "-Y", str(directory)),
                    *(word for name, value in told.items() for word in ("-A", f"{name}={value}")),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        ready = eventually(self._listens, 15)
        assert ready, f"Kamailio did not start:\n{self.output[-3000:]}"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and its processes."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def plain(self) -> tuple[str, int]:
        return HOST, self.ports.plain

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(errors="replace")

    def said(self, pattern: str) -> bool:
        return re.search(pattern, self.output) is not None

    def _listens(self) -> bool:
        assert self._process.poll() is None, f"Kamailio ended:\n{self.output[-3000:]}"
        for port in (self.ports.plain, self.ports.tls):
            try:
                socket.create_connection((HOST, port), 0.2).close()
            except OSError:
                return False
        return True


def write_accounts(directory: Path, accounts: Mapping[str, str]) -> str:
    """The accounts of `registrar.cfg`, names and passwords; returns what ACCOUNTS is set to."""
    folder = directory / "accounts"
    folder.mkdir(exist_ok=True)
    shutil.copy(CONFIGURATIONS / "accounts" / "version", folder)
    head = (CONFIGURATIONS / "accounts" / "subscriber").read_text().splitlines()[0]
    lines = [
        f"{name}:{REALM}:{password.replace(':', chr(92) + ':')}"
        for name, password in accounts.items()
    ]
    (folder / "subscriber").write_text("\n".join([head, *lines, ""]))
    return f"text://{folder}"
