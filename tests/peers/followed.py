"""A call with somebody at the phone and an application that follows it, from answer to end."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from gateway.audio.comfort import TONE
from gateway.audio.formats import PCMU
from tests.peers.calls_api import CallsApi, PlainSideband
from tests.peers.gateway import GatewayProcess, LogLine, eventually
from tests.peers.media import FRAME_BYTES, SILENCE, Packet, frames
from tests.sdk.phone import CallingPhone

Event = dict[str, Any]

_NOTES = frozenset(frames(TONE.in_format(PCMU)))
"""The soft notes of the gateway itself, frame by frame."""
_answering = threading.Lock()


class FollowedCall:
    """Use as a context manager: entering it is the answer, leaving it hangs up what is left.

    Args:
        transfer, refer_status: what becomes of a REFER, see `CallingPhone`.
    """

    def __init__(
        self, gateway: GatewayProcess, *, transfer: int = 200, refer_status: int = 202
    ) -> None:
        self.gateway = gateway
        self.phone = CallingPhone(gateway.sip, transfer=transfer, refer_status=refer_status)
        self.call_id = ""
        self._sideband: PlainSideband
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with _answering:  # so that it is known which call of the log is this one
            mark = self.gateway.mark()
            self._stack.enter_context(self.phone)
            self.phone.wait_for_status(200)
            answered = self.gateway.wait_for("call.answered", since=mark)
        self.call_id = str(answered["call_id"])
        self._sideband = CallsApi(self.gateway).sideband(self.call_id, "events")
        self._stack.enter_context(self._sideband)
        reader = threading.Thread(target=self._sideband.until_closed, args=(3600,), daemon=True)
        reader.start()
        self._stack.callback(reader.join, 10)
        self.until("session.created")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.phone.over.is_set():
            self.phone.hang_up()
            self.phone.over.wait(5)
        self._stack.close()

    # What the application does.

    def send(self, kind: str, **fields: Any) -> None:
        self._sideband.send({"type": kind, **fields})

    def write(self, item_id: str, text: str) -> None:
        """Put a text of the user into the conversation."""
        content = [{"type": "input_text", "text": text}]
        item = {"id": item_id, "type": "message", "role": "user", "content": content}
        self.send("conversation.item.create", item=item)

    def retrieve(self, item_id: str) -> Event:
        """The item as the session that the call has now knows it."""
        seen = len(self.events("conversation.item.retrieved"))
        self.send("conversation.item.retrieve", item_id=item_id)
        item: Event = self.until("conversation.item.retrieved", seen + 1)["item"]
        assert item["id"] == item_id
        return item

    # What it sees.

    def events(self, kind: str = "", **fields: object) -> list[Event]:
        """All events so far, or those of this type with these fields."""
        return [
            event
            for event in list(self._sideband.events)
            if kind in ("", event["type"]) and fields.items() <= event.items()
        ]

    def until(self, kind: str, count: int = 1, timeout_s: float = 10.0, **fields: object) -> Event:
        """The event that is the how manieth of its kind, when it has come."""
        self.wait(lambda: len(self.events(kind, **fields)) >= count, f"{count} {kind}", timeout_s)
        return self.events(kind, **fields)[count - 1]

    def transcripts(self) -> list[str]:
        """What the agent has said, response by response."""
        done = self.events("response.output_audio_transcript.done")
        return [str(event["transcript"]) for event in done]

    def says(self, line: str) -> None:
        """Wait until this is what the agent has said last."""
        self.wait(lambda: self.transcripts()[-1:] == [line], f"{line!r}")

    def wait(self, fulfilled: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        came = eventually(fulfilled, timeout_s, 0.01)
        kinds = [event["type"] for event in self.events()][-25:]
        assert came, f"no {what}; last came {kinds}, logged {self.log()[-8:]}"

    # What is in the log.

    def log(self, event: str = "") -> list[LogLine]:
        """The lines about this call."""
        lines = list(self.gateway.logs)
        mine = [line for line in lines if line.get("call_id") == self.call_id]
        return [line for line in mine if event in ("", line["event"])]

    def ended(self, timeout_s: float = 10.0) -> LogLine:
        """Its record, of which there is one."""
        self.gateway.wait_for("call.ended", timeout_s, call_id=self.call_id)
        (record,) = self.log("call.ended")
        return record

    def hang_up(self) -> LogLine:
        self.phone.hang_up()
        return self.ended()

    def is_hung_up_on(self, timeout_s: float = 15.0) -> bool:
        """Whether the gateway ends the call; all that was sent before is here then."""
        if not self.phone.over.wait(timeout_s):
            return False
        media = self.phone.media
        eventually(lambda: not media.behind and time.time() - media.packets[-1].at_s > 0.1, 2, 0.01)
        return self.phone.ended_by_gateway

    # What is heard at the phone.

    @property
    def heard(self) -> list[Packet]:
        return self.phone.media.heard()

    def mark(self) -> int:
        """A place in what is heard, to look only at what comes after it: all that was sent before
        is in front of it, also what the phone had no time to look at."""
        media = self.phone.media
        eventually(lambda: not media.behind, 2, 0.001)
        return len(media.packets)

    def sounds(self, since: int = 0) -> list[Packet]:
        """All packets so far with sound in them."""
        return [packet for packet in self.phone.media.heard(since) if not packet.silent]

    def voice(self, since: int = 0) -> list[Packet]:
        """Those that are no part of the gateway's own soft notes, which nobody speaks."""
        return [packet for packet in self.sounds(since) if packet.payload not in _NOTES]

    def hears(self, frames: int, since: int = 0, timeout_s: float = 10.0) -> list[Packet]:
        """The next so many packets with sound in them."""
        self.wait(lambda: len(self.sounds(since)) >= frames, f"{frames} frames of sound", timeout_s)
        return self.sounds(since)[:frames]

    def hears_out(self, at_s: float) -> None:
        """Wait until what was sent by then, as Unix time, is here."""
        self.wait(lambda: self.phone.media.packets[-1].at_s > at_s, "audio")

    def press(self, keys: str) -> None:
        for key in keys:
            self.phone.press(key)

    def say(self, audio: bytes) -> None:
        """Speak, in mu-law."""
        self.phone.media.say(frames(audio))


def logged_s(line: LogLine) -> float:
    """When a line was logged, as Unix time."""
    return datetime.fromisoformat(str(line["timestamp"]).replace("Z", "+00:00")).timestamp()


def stretches(packets: list[Packet], pause_frames: int = 1) -> list[list[Packet]]:
    """What was heard, cut where there was silence for so many frames, by the packets' timestamps;
    silence at the ends of a stretch is left out."""
    found: list[list[Packet]] = []
    quiet = pause_frames
    for packet in packets:
        if packet.payload == SILENCE:
            quiet += 1
            if found and quiet < pause_frames:
                found[-1].append(packet)
            continue
        if quiet >= pause_frames:
            found.append([])
        quiet = 0
        found[-1].append(packet)
    for stretch in found:
        while stretch[-1].payload == SILENCE:
            stretch.pop()
    return found


def audio_of(packets: list[Packet]) -> bytes:
    return b"".join(packet.payload for packet in packets)


def assert_rtp_never_stopped(packets: list[Packet]) -> float:
    """Returns the longest pause between two packets, in milliseconds."""
    pairs = list(pairwise(packets))
    assert {b.sequence - a.sequence & 0xFFFF for a, b in pairs} == {1}
    assert {b.timestamp - a.timestamp & 0xFFFFFFFF for a, b in pairs} == {FRAME_BYTES}
    longest_s = max(b.at_s - a.at_s for a, b in pairs)
    assert longest_s < 0.2  # the media clock makes up for less
    return longest_s * 1000
