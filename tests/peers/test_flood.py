"""Floods and scans: whoever is in a call hears nothing of them (reliability R4, threat T8)."""

import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from tests.peers.gateway import HOST, GatewayProcess, eventually
from tests.peers.line import Line
from tests.peers.media import Phone
from tests.peers.wire import Caller, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

STRANGER = "127.0.0.66"
MAX_ANSWERS = 1_000_000
RATE, SECONDS = 1000, int(os.environ.get("FLOOD_S", "4"))
CALLS_MAX = 3
GUARDED = {
    "GATEWAY_SIP_ALLOW": f"{HOST}/32",
    "GATEWAY_SIP_USERS": "100:s3cret,200:other",
    "GATEWAY_SIP_REALM": "line",
}


class Stranger:
    """A socket that asks without end and acknowledges nothing, and counts what it is told."""

    def __init__(self, gateway: tuple[str, int]) -> None:
        self._gateway = gateway
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((STRANGER, 0))
        self.socket.settimeout(0.5)
        self.sent = 0
        self._answers: list[str] = []

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, method: str, user: str, body: str = "") -> None:
        self.sent += 1
        port, number = self.socket.getsockname()[1], self.sent
        lines = (
            f"{method} sip:{user}@{HOST} SIP/2.0",
            f"Via: SIP/2.0/UDP {STRANGER}:{port};rport;branch=z9hG4bKflood{number}",
            f"From: <sip:{user}@{STRANGER}>;tag={number}",
            f"To: <sip:{user}@{HOST}>",
            f"Call-ID: flood-{number}",
            f"CSeq: 1 {method}",
            f"Contact: <sip:{user}@{STRANGER}:{port}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        )
        self.socket.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self._gateway)

    def flood(self) -> None:
        """INVITEs at a steady rate."""
        began, body = time.monotonic(), offer(9000, host=STRANGER)
        for number in range(RATE * SECONDS):
            time.sleep(max(began + number / RATE - time.monotonic(), 0))
            self.ask("INVITE", "agent", body)
            if not number % 1000:
                self._read(socket.MSG_DONTWAIT)

    def answers(self) -> list[str]:
        """What has come, and comes until there is silence."""
        self._read()
        return self._answers

    def _read(self, flags: int = 0) -> None:
        with suppress(TimeoutError, BlockingIOError):
            while len(self._answers) < MAX_ANSWERS:
                self._answers.append(self.socket.recv(65536, flags).decode())


def uss(gateway: GatewayProcess) -> int:
    return int(psutil.Process(gateway.pid).memory_full_info().uss)


def while_somebody_talks(gateway: GatewayProcess, nuisance: Callable[[], None]) -> None:
    """One call from before the nuisance until after it; nothing of its audio is lost by us."""
    mark = gateway.mark()
    with Phone() as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        answer = caller.call(offer(phone.port))
        phone.talk_to(answer.media)
        assert eventually(lambda: len(phone.packets) > 10, 3)
        call_id = gateway.wait_for("call.incoming", since=mark)["call_id"]
        thread = threading.Thread(target=nuisance)
        began, packets = time.monotonic(), len(phone.packets)
        thread.start()
        thread.join()
        time.sleep(0.3)
        expected = (time.monotonic() - began) * 50
        assert len(phone.packets) - packets > 0.9 * expected
        caller.hang_up()
        sent = phone.sent
    record = gateway.wait_for("call.ended", since=mark, call_id=call_id)
    assert record["reason"] == "remote_bye"
    assert abs(record["rtp_received"] - sent) <= 5
    assert record["rtp_lost"] == 0


def test_a_flood_of_somebody_who_may_call(line: Line) -> None:
    """All lines are taken, the rest is told so at once, and what is held of it is bounded."""
    env = {"GATEWAY_CALLS_MAX": str(CALLS_MAX), "GATEWAY_SIP_RATE": "0"}
    with (
        GatewayProcess(line.realtime.url, env, media_ports=40) as gateway,
        Stranger(gateway.sip) as stranger,
    ):
        before = uss(gateway)
        while_somebody_talks(gateway, stranger.flood)
        assert uss(gateway) - before < 100 << 20
        # Two lines are taken by the flood itself, whose calls nobody acknowledges.
        bound = 2 * CALLS_MAX + 100
        assert gateway.footprint().sip_transactions <= bound + 10
        answers = stranger.answers()
        first = [one for one in answers if one.startswith("SIP/2.0 503")]
        assert len({re.search(r"Call-ID: (\S+)", one)[1] for one in first}) >= 0.95 * stranger.sent  # type: ignore[index]
        assert all("\r\nRetry-After: " in one for one in first)
        with Caller(UdpWire(gateway.sip), gateway.sip) as caller:
            caller.wire.send(caller.request("OPTIONS"))
            assert caller.wait("OPTIONS").status in (200, 503)


def test_a_flood_of_a_stranger_is_soon_not_heard(line: Line) -> None:
    with (
        GatewayProcess(line.realtime.url, GUARDED, media_ports=40) as gateway,
        Stranger(gateway.sip) as stranger,
    ):
        while_somebody_talks(gateway, stranger.flood)
        told = gateway.wait_for("sip.source_dropped")
        assert (told["source"], told["why"]) == (STRANGER, "no_password")
        assert len(gateway.lines("sip.source_slowed")) == 1
        assert gateway.lines("sip.refused") == []  # it was asked, and brought nothing
        time.sleep(4)
        assert len(stranger.answers()) <= 60  # of 4000
        samples = gateway.metrics()
        assert samples['gateway_sip_strangers_total{what="unread"}'] > 0.9 * stranger.sent
        assert samples['gateway_sip_strangers_total{what="dropped"}'] == 1
        assert gateway.footprint().sip_transactions <= 10


def test_a_scan_finds_no_extension(line: Line) -> None:
    """Two of the names are real; all of them are answered alike, and none at all in the end."""
    with (
        GatewayProcess(line.realtime.url, GUARDED, media_ports=40) as gateway,
        Stranger(gateway.sip) as stranger,
    ):
        kinds: Counter[str] = Counter()
        for number in range(100, 220):
            for method in ("REGISTER", "INVITE", "OPTIONS"):
                stranger.ask(method, str(number))
            time.sleep(0.02)
        for answer in stranger.answers():
            told = re.sub(r'(nonce|opaque)="[^"]*"|tag=\w+|flood-?\d+|\b[12]\d\d@', "", answer)
            told = re.sub(r"CSeq: 1 \w+", "", told)
            kinds[told] += 1
        assert len(kinds) == 1 and next(iter(kinds)).startswith("SIP/2.0 401")
        gateway.wait_for("sip.source_dropped", source=STRANGER)
        with Caller(UdpWire(gateway.sip), gateway.sip) as caller:
            caller.wire.send(caller.request("OPTIONS"))
            assert caller.wait("OPTIONS").status == 200  # who is listed is heard as before
