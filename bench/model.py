"""A fake Realtime server that costs next to nothing: `python -m bench.model --port N`.

It knows as much of the protocol as a call needs, and recognises the audio appends by their
first bytes. In echo mode each append is answered by one delta with the same audio, the worst case
for the gateway, or with that audio at another rate where the session asks for another. In burst
mode it behaves like a model: the caller's audio is consumed, and every four seconds three seconds
of speech come in 200 ms deltas at three times real time.

`GET /stats` on the same port tells what arrived since it was last asked.
"""

import argparse
import asyncio
import gc
import json
import signal
import time
from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, cast

import uvloop

from bench import websocket
from bench.formats import PCMU, Format, in_format
from bench.marks import MEASURED, MarkReader, percentile

_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
_AUDIO_AT = len(_APPEND)
_DELTA = "response.output_audio.delta"
_MAX_DELAYS = 5_000_000

BURST_DELTAS, BURST_DELTA_MS = 15, 200  # 3 s of speech
BURST_DELTA_INTERVAL_S = 0.2 / 3
BURST_EVERY_S = 4.0


class Counters:
    """What all connections of this server received."""

    def __init__(self) -> None:
        self.connections = self.open = 0
        self._start()

    def _start(self) -> None:
        self.appends = self.marked = self.digits = self.other_events = self.broken = 0
        self._delays_ns = array("q")

    def arrived(self, delay_ns: int) -> None:
        """A frame with a measured mark, this long after its caller sent it."""
        self.marked += 1
        if len(self._delays_ns) < _MAX_DELAYS:
            self._delays_ns.append(delay_ns)

    def report(self) -> dict[str, float]:
        """The counts, and how long frames took to get here; then start again."""
        delays_ms = sorted(delay / 1e6 for delay in self._delays_ns)
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        shares = {"uplink_p50_ms": 0.5, "uplink_p99_ms": 0.99, "uplink_max_ms": 1.0}
        self._start()
        return numbers | {name: percentile(delays_ms, share) for name, share in shares.items()}


class ModelConnection(asyncio.Protocol):
    """One Realtime session."""

    def __init__(self, counters: Counters, mode: str) -> None:
        self._counters = counters
        self._mode = mode
        self._loop = asyncio.get_running_loop()
        self._request = b""
        self._reader: websocket.FrameReader | None = None
        self._transport: asyncio.Transport
        self._session: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_bench",
            "output_modalities": ["audio"],
            "audio": {
                # Not 24 kHz as elsewhere: the relay asks for nothing.
                "input": {"format": {"type": "audio/pcmu"}},
                "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
            },
        }
        self._input = self._output = PCMU
        self._marks = MarkReader(PCMU)
        self._responses = 0
        self._speaking = False
        self._delta_start = b""
        self._timer: asyncio.TimerHandle | None = None

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._counters.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._counters.open -= 1
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            if self._reader is None:
                self._handshake(data)
            else:
                for opcode, payload in self._reader.feed(data):
                    self._message(opcode, payload)
        except (websocket.WebSocketError, ValueError, KeyError):
            self._counters.broken += 1
            self._transport.close()

    def _handshake(self, data: bytes) -> None:
        self._request += data
        if len(self._request) > 16384:
            raise websocket.WebSocketError("request too long")
        head, found, rest = self._request.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        if first.startswith("GET /stats "):
            body = json.dumps(self._counters.report()).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            self._transport.close()
            return
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self._transport.write(websocket.handshake(headers))
        self._counters.connections += 1
        self._reader = websocket.FrameReader()
        self._send({"type": "session.created", "session": self._session})
        if rest:
            self.data_received(rest)

    def _message(self, opcode: int, payload: bytes) -> None:
        if opcode == websocket.TEXT:
            if payload.startswith(_APPEND):
                self._append(payload)
            else:
                self._event(json.loads(payload))
        elif opcode == websocket.PING:
            self._transport.write(websocket.frame(payload, websocket.PONG))
        elif opcode == websocket.CLOSE:
            self._transport.write(websocket.frame(payload[:2], websocket.CLOSE))
            self._transport.close()

    def _send(self, event: dict[str, Any]) -> None:
        event["event_id"] = "event_bench"
        self._transport.write(websocket.frame(json.dumps(event, separators=(",", ":")).encode()))

    # The session.

    def _append(self, message: bytes) -> None:
        counters = self._counters
        counters.appends += 1
        audio = a2b_base64(message[_AUDIO_AT:-2])
        for mark in self._marks.read(audio, time.time_ns()):
            if mark.flags & MEASURED and not mark.repeated:
                counters.arrived(mark.delay_ns)
        if self._mode == "echo":
            if not self._speaking:
                self._begin()
            if self._input == self._output:
                self._delta(message[_AUDIO_AT:])
            else:
                audio = in_format(audio, self._input, self._output)
                self._delta(b2a_base64(audio, newline=False) + b'"}')

    def _take_formats(self) -> None:
        """Those of the session from now on."""
        sides = self._session["audio"]
        self._output = Format.from_session(sides["output"]["format"])
        before, self._input = self._input, Format.from_session(sides["input"]["format"])
        if self._input != before:
            self._marks = MarkReader(self._input)

    def _event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "session.update":
            _merge(self._session, event["session"])
            self._take_formats()
            self._send({"type": "session.updated", "session": self._session})
            if self._mode == "burst" and self._timer is None:
                first = self._counters.connections * 0.37 % BURST_EVERY_S  # not all at once
                self._timer = self._loop.call_later(first, self._burst)
        elif kind == "response.create":
            # An echo never ends, so one that runs already is the answer to this as well.
            if self._mode == "echo" and not self._speaking:
                self._begin()
        elif kind == "response.cancel":
            if self._speaking:
                self._end("cancelled")
        elif kind == "conversation.item.create" and "DTMF" in json.dumps(event):
            self._counters.digits += 1
        elif kind == "input_audio_buffer.append":
            message = _APPEND + str(event["audio"]).encode() + b'"}'
            self._append(message)  # formatted in some other way than usual
        else:
            self._counters.other_events += 1

    def _place(self) -> dict[str, Any]:
        return {"response_id": f"resp_{self._responses}", "output_index": 0}

    def _ids(self) -> dict[str, Any]:
        return self._place() | {"item_id": f"item_{self._responses}", "content_index": 0}

    def _item(self, status: str) -> dict[str, Any]:
        return {
            "id": f"item_{self._responses}",
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [],
        }

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": f"resp_{self._responses}",
            "object": "realtime.response",
            "status": status,
            "status_details": None,
            "output": [],
            "conversation_id": "conv_bench",
        }

    def _begin(self) -> None:
        self._responses += 1
        self._speaking = True
        ids, part = self._ids(), {"type": "audio", "transcript": ""}
        start = {"type": _DELTA, "event_id": "event_bench", **ids, "delta": ""}
        self._delta_start = json.dumps(start, separators=(",", ":")).encode()[:-2]
        item = self._item("in_progress")
        self._send({"type": "response.created", "response": self._response("in_progress")})
        self._send({"type": "response.output_item.added", **self._place(), "item": item})
        self._send({"type": "conversation.item.added", "previous_item_id": None, "item": item})
        self._send({"type": "response.content_part.added", **ids, "part": part})

    def _delta(self, audio_and_end: bytes) -> None:
        """Send audio, given as base64 with the quote and brace that close the event."""
        self._transport.write(websocket.frame(self._delta_start + audio_and_end))

    def _end(self, status: str) -> None:
        self._speaking = False
        ids, part = self._ids(), {"type": "audio", "transcript": ""}
        item = self._item("completed" if status == "completed" else "incomplete")
        self._send({"type": "response.output_audio.done", **ids})
        self._send({"type": "response.content_part.done", **ids, "part": part})
        self._send({"type": "conversation.item.done", "previous_item_id": None, "item": item})
        self._send({"type": "response.output_item.done", **self._place(), "item": item})
        self._send({"type": "response.done", "response": self._response(status)})

    def _burst(self) -> None:
        self._begin()
        self._timer = self._loop.call_later(0, self._burst_delta, self._loop.time(), 0)

    def _burst_delta(self, began: float, sent: int) -> None:
        if self._speaking and sent < BURST_DELTAS:
            self._delta(_speech(self._output) + b'"}')
            due, then = began + (sent + 1) * BURST_DELTA_INTERVAL_S, sent + 1
            self._timer = self._loop.call_at(due, self._burst_delta, began, then)
            return
        if self._speaking:
            self._end("completed")
        self._timer = self._loop.call_at(began + BURST_EVERY_S, self._burst)


@cache
def _speech(format: Format) -> bytes:
    audio = Random(4733).randbytes(format.bytes_per_ms * BURST_DELTA_MS)
    return b2a_base64(audio, newline=False)


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


async def serve(port: int, mode: str, started: Callable[[int], None]) -> None:
    """Serve on loopback until SIGTERM or SIGINT; `started` is told the bound port."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    counters = Counters()
    server = await loop.create_server(
        lambda: ModelConnection(counters, mode), "127.0.0.1", port, backlog=1024
    )
    gc.freeze()
    started(server.sockets[0].getsockname()[1])
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=("echo", "burst"), default="echo")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.mode, lambda port: print(port, flush=True)))


if __name__ == "__main__":
    main()
