"""The embedded agent alone, `gateway backend`, as a server of official clients."""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from openai.types.realtime import RealtimeFunctionToolParam

from tests.peers.audio import RATE_HZ, Signal, silence, spoken
from tests.peers.gateway import HOST, ROOT, eventually, free_port

KEY = "sk-nobody-looks-at-it"
TOOL: RealtimeFunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
DIALOGUE = '''
start = "menu"
otherwise = "I have nothing new to say. Speak, or press a key."

[states.menu]
say = "I am listening."

[[on]]
result = "any"
say = "You pressed {result}."

[[on]]
text = "weather"
call = {name = "get_weather", arguments = {city = "Oslo"}}

[[on]]
text = "story"
say = """
One night a storm tore down the line, and the lighthouse rang, and nobody could answer.
That is the end of the story. Thank you for listening to all of it.
"""

[[on]]
text = "any"
say = "You sent me a text. I can see it, but I do not understand it."

[[on]]
any_speech = true
say = "That was {duration} of speech. I am listening."
'''
"""Its sentences are those of the built-in dialogue, so that they are spoken without a voice."""


class EmbeddedServer:
    """Use as a context manager.

    Args:
        folder: for its dialogue.
        options: further ones of the command.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.secure_port = 0
        self._dialogue = folder / "dialogue.toml"
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._dialogue.write_text(DIALOGUE)
        command = [sys.executable, "-m", "gateway", "backend", "--port", str(self.port)]
        pace = ("--first-audio-ms", "10", "--jitter-ms", "0", "--speedup", "20", "--seed", "4")
        self._process = subprocess.Popen(
            [*command, "--dialogue", str(self._dialogue), *pace, *self._options],
            cwd=ROOT,
            env={name: one for name, one in os.environ.items() if not name.startswith("GATEWAY_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert eventually(self._listens, 20), "it does not listen"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None and self._process.stderr is not None
        self._process.terminate()
        _, said = self._process.communicate(timeout=10)
        if exc_type is None:
            assert self._process.returncode == 0 and "Traceback" not in said, said

    @property
    def socket_url(self) -> str:
        return f"ws://{HOST}:{self.port}/v1"

    @property
    def base_url(self) -> str:
        """What `NodeApplication` hands to a client: TLS where there is a front."""
        if self.secure_port:
            return f"https://{HOST}:{self.secure_port}/v1"
        return f"http://{HOST}:{self.port}/v1"

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


class TLSFront:
    """Takes TLS connections and hands their bytes to a server on this machine that has none."""

    def __init__(self, server: EmbeddedServer, certificate: Path, key: Path) -> None:
        self._server = server
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._relays: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.start_server(self._take, HOST, 0, ssl=self._context)
        self._listener = asyncio.run_coroutine_threadsafe(opening, self._loop).result(5)
        self._server.secure_port = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._listener.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(HOST, self._server.port)
        for source, sink in ((reader, inner_writer), (inner_reader, writer)):
            relay = asyncio.create_task(_relay(source, sink))
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)


async def _relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()


def speech(folder: Path, text: str = "I have a question about my order.") -> bytes:
    """Somebody who speaks, and is silent long enough for the turn to end; PCM at 24 kHz."""
    signal = np.concatenate([silence(0.3), spoken(text, folder), silence(0.9)])
    return pcm24k(signal)


def pcm24k(signal: Signal) -> bytes:
    at = np.arange(len(signal) * 3) / 3
    smooth = np.interp(at, np.arange(len(signal)), signal)
    return (np.clip(smooth, -1, 1) * 32767).astype("<i2").tobytes()


def pieces(audio: bytes, duration_s: float = 0.1) -> list[bytes]:
    """Audio cut as clients send it."""
    step = int(RATE_HZ * 3 * duration_s) * 2
    return [audio[at : at + step] for at in range(0, len(audio), step)]
