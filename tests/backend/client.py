"""A client of a running server, which checks the form of every event that it is sent."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

from gateway.audio.formats import AudioFormat
from gateway.backend.config import Pacing
from gateway.backend.server import BackendServer
from tests.backend.virtual import AUDIO, TRANSCRIPT, check

Event = dict[str, Any]
FAST = Pacing(first_audio_ms=20, jitter_ms=0, speedup=200)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
"""Headers with which any HTTP client asks for a WebSocket."""


class Client:
    """A connection. `log` is all that was received."""

    def __init__(
        self, socket: ClientWebSocketResponse, check: Callable[[Event], object] = check
    ) -> None:
        self.socket = socket
        self.log: list[Event] = []
        self._check = check

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_json({"type": kind, **fields})

    async def append(self, audio: bytes, step: int = 160) -> None:
        for at in range(0, len(audio), step):
            encoded = b64encode(audio[at : at + step])
            message = b'{"type":"input_audio_buffer.append","audio":"%s"}' % encoded
            await self.socket.send_frame(message, WSMsgType.TEXT)

    async def until(self, kind: str) -> list[Event]:
        """Everything up to an event of this type."""
        events: list[Event] = []
        async with asyncio.timeout(30):
            while not events or events[-1]["type"] != kind:
                event = json.loads(await self.socket.receive_str())
                self._check(event)
                events.append(event)
        self.log += events
        return events

    async def configure(self, audio_format: AudioFormat, **session: Any) -> None:
        both = {"format": audio_format.to_session()}
        audio = {"input": both, "output": both}
        await self.send("session.update", session={"type": "realtime", "audio": audio, **session})
        await self.until("session.updated")

    async def say(self, words: str) -> None:
        """Ask for a response that says exactly this."""
        await self.send("response.create", response={"instructions": f"say: {words}"})

    async def write(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await self.send("conversation.item.create", item=item)

    async def closing(self) -> tuple[list[str], int | None, str | None]:
        """Types of what is still received, and how the connection then ends: the close code and
        reason, or None and None when it just ends."""
        kinds = []
        async with asyncio.timeout(30):
            while (message := await self.socket.receive()).type is WSMsgType.TEXT:
                kinds.append(json.loads(message.data)["type"])
        if message.type is WSMsgType.CLOSE:
            return kinds, message.data, message.extra
        return kinds, None, None


async def until_alone(server: BackendServer) -> None:
    """Wait until the server has no connection any more."""
    async with asyncio.timeout(10):
        while server._connections:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def spoken(events: list[Event]) -> tuple[bytes, str]:
    audio = b"".join(b64decode(event["delta"]) for event in events if event["type"] == AUDIO)
    return audio, "".join(e["delta"] for e in events if e["type"] == TRANSCRIPT)
