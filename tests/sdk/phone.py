"""A caller with a mind of its own, for tests that wait for the API meanwhile.

It is `tests.peers.wire.Caller` on a thread: what a phone does by itself is done here, so that a
test says only what the person at the phone does.
"""

import queue
import struct
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.peers.gateway import eventually
from tests.peers.media import Phone, rtp
from tests.peers.wire import Caller, Message, UdpWire, offer

_KEYS = "0123456789*#ABCD"
_TELEPHONE_EVENT = 101
_STEP = struct.Struct("!BBH")


class CallingPhone:
    """One call. Use as a context manager; leaving it hangs up what is left.

    Args:
        gateway: where the gateway's SIP listens.
        headers: further headers of the INVITE.
        transfer: what becomes of a REFER: 0, it is refused with `refer_status`; else, it is
            accepted, and a NOTIFY reports this final status of the call to its target.
    """

    def __init__(
        self,
        gateway: tuple[str, int],
        headers: Sequence[str] = (),
        *,
        transfer: int = 200,
        refer_status: int = 202,
    ) -> None:
        self.media = Phone()
        self.statuses: list[int] = []
        """Of all responses to the INVITE, in order."""
        self.answered = threading.Event()
        self.over = threading.Event()
        """Set when the call is refused, or ended by either side."""
        self.ended_by_gateway = False
        self.refers: list[Message] = []
        self.notified: list[Message] = []
        """The gateway's answers to NOTIFYs."""
        self._wire = UdpWire(gateway)
        self._caller = Caller(self._wire, gateway)
        self._headers = headers
        self._transfer = transfer
        self._refer_status = refer_status
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self.media.__enter__()
        self._caller.invite(offer(self.media.port), self._headers)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.over.is_set():
            self.hang_up()
            self.over.wait(2)
        self._stop.set()
        self._thread.join()
        self._wire.close()
        self.media.__exit__(None, None, None)

    @property
    def status(self) -> int:
        """The final status of the INVITE; 0 while there is none."""
        return next((status for status in self.statuses if status >= 200), 0)

    @property
    def ringing(self) -> bool:
        return not self.status and 180 in self.statuses

    def wait_for_status(self, *statuses: int, timeout_s: float = 10.0) -> None:
        """Wait until one of the INVITE's responses has one of these statuses."""
        came = eventually(lambda: bool(set(statuses) & set(self.statuses)), timeout_s, 0.01)
        assert came, f"no {statuses}, but {self.statuses}"

    # What the person does.

    def hang_up(self) -> None:
        """End the call, or give it up while it rings."""
        self._wanted.put("hang up")

    def press(self, key: str) -> None:
        """One key for 100 ms, as RFC 4733 has it."""
        self._wanted.put(key)

    # What the phone does.

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._wire.receive(0.02)
            if message is not None:
                self._take(message)
            try:
                wanted = self._wanted.get_nowait()
            except queue.Empty:
                continue
            if wanted == "hang up":
                if self.answered.is_set():
                    self._caller.bye()
                else:
                    self._caller.cancel()
            else:
                self._press(wanted)

    def _take(self, message: Message) -> None:
        if message.status and message.method == "INVITE":
            self._progress(message)
        elif message.status and message.method == "BYE":
            self.over.set()
        elif message.status and message.method == "NOTIFY":
            self.notified.append(message)
        elif message.start.startswith("BYE "):
            self._caller.answer(message)
            self.ended_by_gateway = not self.over.is_set()
            self.over.set()
        elif message.start.startswith("REFER "):
            self._follow(message)
        elif not message.status and message.method != "ACK":
            self._caller.answer(message)

    def _progress(self, response: Message) -> None:
        self.statuses.append(response.status)
        if response.status < 200:
            return
        self._caller.ack(response)
        if response.status >= 300:
            self.over.set()
        elif not self.answered.is_set():
            self.media.talk_to(response.media)
            self.answered.set()

    def _follow(self, refer: Message) -> None:
        """Answer a REFER and report how the call to its target went (RFC 3515 section 2.4)."""
        if any(one.header("cseq") == refer.header("cseq") for one in self.refers):
            return  # the same, sent again
        self.refers.append(refer)
        self._caller.answer(refer, self._refer_status, "As it is")
        if self._refer_status >= 300:
            return
        self._notify("100 Trying", "active;expires=60")
        self._notify(f"{self._transfer} Final", "terminated;reason=noresource")

    def _notify(self, outcome: str, state: str) -> None:
        self._caller.cseq += 1
        body = f"SIP/2.0 {outcome}\r\n"
        headers = ["Event: refer", f"Subscription-State: {state}"]
        self._wire.send(
            self._caller.request(
                "NOTIFY", body, headers, content_type="message/sipfrag;version=2.0"
            )
        )

    def _press(self, key: str) -> None:
        remote = self.media._remote
        assert remote is not None, "there is nobody to press a key for"
        timestamp = time.monotonic_ns() // 125_000
        for number in range(8):
            ended = number >= 5  # the end is sent three times
            duration = 160 * min(number + 1, 5)
            payload = _STEP.pack(_KEYS.index(key), 0x80 * ended | 10, duration)
            sequence, self.media._sequence = self.media._sequence, self.media._sequence + 1
            packet = rtp(
                payload,
                sequence,
                timestamp,
                self.media._ssrc,
                _TELEPHONE_EVENT,
                marker=number == 0,
            )
            self.media.socket.sendto(packet, remote)
            time.sleep(0.02)
