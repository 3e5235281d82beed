"""SIP by hand over a network that loses some of it: what was lost is said again, by either side.

A `PatientCaller` does as a test tells it, like any `Caller`. Below it is what each telephone has, a
transaction layer of its own (RFC 3261 section 17): requests are repeated until they are answered,
and answers and ACKs when what they are for comes again.
"""

import hashlib
import queue
import re
import threading
import time
from dataclasses import dataclass

from tests.peers.gateway import T1_S
from tests.peers.wire import Caller, Message, UdpWire, read

T2_S = 4.0
PATIENCE_S = 30.0
"""A little less than a transaction lives. What is waited for came or will not come."""

Key = tuple[str, str]
"""Branch and method: which transaction."""


@dataclass
class _Asked:
    data: bytes
    again_at_s: float
    pause_s: float


class PatientWire:
    """A UDP socket with transactions; copies of what has come are kept from the test."""

    def __init__(self, wire: UdpWire) -> None:
        self.name, self.address = wire.name, wire.address
        self.repeated = 0
        """Messages that were sent once more."""
        self._wire = wire
        self._lock = threading.Lock()
        self._arrived: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._asked: dict[Key, _Asked] = {}
        self._answers: dict[Key, bytes | None] = {}
        self._acks: dict[str, bytes] = {}
        self._seen: set[tuple[Key, int, str]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        message = read(data)
        with self._lock:
            if message.status:
                self._answers[_key(message)] = data
            elif message.method == "ACK":
                self._acks[message.header("cseq").split()[0]] = data
            else:
                self._asked[_key(message)] = _Asked(data, time.monotonic() + T1_S, T1_S)
        self._wire.send(data)

    def receive(self, timeout_s: float) -> Message | None:
        try:
            return self._arrived.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            return None

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._wire.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._wire.receive(0.05)
            with self._lock:
                if message is not None and self._is_new(message):
                    self._arrived.put(message)
                now = time.monotonic()
                for asked in self._asked.values():
                    if now >= asked.again_at_s:
                        self._again(asked.data)
                        asked.pause_s = min(2 * asked.pause_s, T2_S)
                        asked.again_at_s = now + asked.pause_s

    def _is_new(self, message: Message) -> bool:
        key, status = _key(message), message.status
        if 0 < status < 200 and message.method == "INVITE" or status >= 200:
            self._asked.pop(key, None)
        if self._is_first(key, message):
            return True
        number = message.header("cseq").split()[0]
        if not status:
            self._again(self._answers.get(key))
        elif status >= 200 and message.method == "INVITE":
            self._again(self._acks.get(number))
        return False

    def _is_first(self, key: Key, message: Message) -> bool:
        seen = (key, message.status, message.header("rseq"))
        if seen in self._seen:
            return False
        self._seen.add(seen)
        return True

    def _again(self, data: bytes | None) -> None:
        if data is not None:
            self.repeated += 1
            self._wire.send(data)


class PatientCaller(Caller):
    """One call over a `PatientWire`, whose answers may take a while."""

    def wait(self, method: str, *statuses: int, timeout_s: float = PATIENCE_S) -> Message:
        return super().wait(method, *statuses, timeout_s=max(timeout_s, PATIENCE_S))

    def invite_as(self, user: str, password: str, sdp: str, *headers: str) -> None:
        """Call, be asked who calls, and call again with the proof (RFC 7616, by MD5)."""
        callee = self._to
        self.invite(sdp, headers)
        asked = self.final()
        assert asked.status == 401, asked.start
        self.ack(asked)
        self._to = callee  # no call has come of that one
        said = dict(re.findall(r'(\w+)="([^"]*)"', asked.header("www-authenticate")))
        who = _md5(f"{user}:{said['realm']}:{password}")
        what = _md5(f"INVITE:{self.uri}")
        response = _md5(f"{who}:{said['nonce']}:00000001:own:auth:{what}")
        proof = (
            f'Authorization: Digest username="{user}", realm="{said["realm"]}", '
            f'nonce="{said["nonce"]}", opaque="{said["opaque"]}", uri="{self.uri}", '
            f'algorithm=MD5, qop=auth, nc=00000001, cnonce="own", response="{response}"'
        )
        self.invite(sdp, (proof, *headers))

    def tell(self, refer: Message, state: str, status_line: str) -> None:
        """Say how it goes with what the gateway has asked for (RFC 3515), and see that heard."""
        number = refer.header("cseq").split()[0]
        headers = (f"Event: refer;id={number}", f"Subscription-State: {state}")
        body = f"SIP/2.0 {status_line}\r\n"
        self.cseq += 1
        kind = "message/sipfrag;version=2.0"
        self.wire.send(self.request("NOTIFY", body, headers, content_type=kind))
        assert self.final("NOTIFY").status == 200

    def prack(self, progress: Message) -> None:
        """Acknowledge a reliable answer, and see that confirmed."""
        self._to, self.target = progress.header("to"), progress.contact_uri
        self.cseq += 1
        acknowledged = f"RAck: {progress.header('rseq')} {progress.header('cseq')}"
        self.wire.send(self.request("PRACK", headers=[acknowledged]))
        assert self.final("PRACK").status == 200


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _key(message: Message) -> Key:
    branch = message.header("via").partition("branch=")[2].partition(";")[0]
    return branch, message.method
