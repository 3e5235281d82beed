"""`gateway backend` as a Realtime server that is killed, comes back, and fails by plan.

It has no voice: what it says is a tone, known to the last byte, so that a capture shows whether
any of it is missing.
"""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.audio.formats import PCMU
from gateway.backend.voice import tone
from tests.peers.gateway import HOST, ROOT, eventually, free_port

VOICELESS = {"PATH": ""}
"""The environment of a server that finds no program to speak with."""

Fault = dict[str, Any]


def sound(line: str) -> bytes:
    """What the caller hears of a line of one phrase, in mu-law."""
    return tone(line, PCMU)


class BackendProcess:
    """Use as a context manager, which has it start. It keeps its port when it starts anew.

    Args:
        directory: for its dialogue and its log.
        dialogue: in TOML.
        options: further ones of the command.
    """

    def __init__(self, directory: Path, dialogue: str, *options: str) -> None:
        self.port = _odd_port()
        self._log = directory / f"backend-{self.port}.log"
        self._dialogue = directory / f"dialogue-{self.port}.toml"
        self._dialogue.write_text(dialogue)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._process
        if process is not None:
            process.terminate()
            status = process.wait(10)
            assert exc_type is not None or status == 0, f"exit status {status}"

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}/v1/realtime"

    def start(self) -> None:
        """Returns when it takes connections."""
        command = [sys.executable, "-m", "gateway", "backend", "--port", str(self.port)]
        own = {name: one for name, one in os.environ.items() if not name.startswith("GATEWAY_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--dialogue", str(self._dialogue), *self._options],
                cwd=ROOT,
                env=own | VOICELESS,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        assert eventually(self._listens, 20, 0.02), self._log.read_text()

    def kill(self) -> None:
        """Without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def plan(self, *faults: Fault) -> None:
        """Put this plan in force; it needs the option `--test`."""
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}/control/faults",
            data=json.dumps(faults).encode(),
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            assert json.load(response) == {"faults": len(faults)}

    def complaints(self) -> str:
        """Everything it said that a healthy server does not say."""
        lines = self._log.read_text().splitlines()
        marks = ("Traceback", '"exception"', '"level": "error"')
        return "\n".join(line for line in lines if any(mark in line for mark in marks))

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


def _odd_port() -> int:
    """A port that stays free while its server is dead: others look for even ones."""
    while True:
        port = free_port() + 1
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)):
                return port
