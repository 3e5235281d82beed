"""Somebody sprays RTP at the gateway while others talk: nothing leaks out, nothing gets in."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers.gateway import HOST, eventually
from tests.peers.line import Line
from tests.peers.media import FRAME_BYTES, Phone, frames, rtp
from tests.peers.wire import Caller, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

NEIGHBOUR = "127.0.0.66"


class Attacker:
    """A socket that sends good RTP where it has no business, and counts what it gets for it."""

    def __init__(self, host: str, seed: int) -> None:
        self._random = random.Random(seed)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.sent = 0
        self._sequence = seed
        self._ports: list[int] = []
        self._ssrcs = [0xBAD00000 + seed]
        self._payload_types = (0,)

    def aim(self, ports: list[int], ssrc: int | None = None) -> None:
        """Spray these ports from now on, also with the SSRC of the victim if it is known."""
        self._ports = ports
        if ssrc is not None:
            self._ssrcs.append(ssrc)

    def spray(self) -> None:
        """One packet to each port: in sequence, of a codec that is in use."""
        self._sequence += 1
        noise = self._random.randbytes(FRAME_BYTES)
        for port in self._ports:
            for ssrc in self._ssrcs:
                data = rtp(noise, self._sequence, 160 * self._sequence, ssrc)
                self.socket.sendto(data, (HOST, port))
                self.sent += 1

    def received(self) -> int:
        count = 0
        while True:
            try:
                self.socket.recv(2048)
            except BlockingIOError:
                return count
            count += 1


@contextmanager
def spraying(attackers: list[Attacker], pause_s: float) -> Iterator[None]:
    """Keep them at it in a thread."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(pause_s):
            for attacker in attackers:
                attacker.spray()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_media_neither_leaks_nor_is_injected(line: Line) -> None:
    gateway = line.gateway
    golden = random.Random(7).randbytes(100 * FRAME_BYTES)
    attackers = [Attacker(HOST, 1), Attacker(NEIGHBOUR, 2)]
    sessions = len(line.realtime.server.connections)
    mark = gateway.mark()
    every_port = list(range(gateway.rtp_first, gateway.rtp_last + 1))
    try:
        with Phone() as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
            for attacker in attackers:
                attacker.aim(every_port)
            with spraying(attackers, 0.05):
                time.sleep(0.3)  # the whole range, before and while the call comes up
                answer = caller.call(offer(phone.port))
                phone.talk_to(answer.media)
                assert eventually(lambda: phone.sent >= 3, 2)
            for attacker in attackers:
                attacker.aim([answer.media[1], answer.media[1] + 1], ssrc=0x1234ABCD)
            session = line.realtime.connection(sessions)
            with spraying(attackers, 0.002):
                phone.say(frames(golden))
                line.realtime.run(session.speak("item_1", "resp_1", golden))
                assert eventually(
                    lambda: golden in b"".join(packet.payload for packet in phone.packets), 5
                )
                assert eventually(lambda: not phone.talking, 3)
                time.sleep(0.1)
            caller.hang_up()
            heard = list(phone.packets)
        record = gateway.call_ended(mark)
        assert sum(attacker.sent for attacker in attackers) > 10_000
        assert [attacker.received() for attacker in attackers] == [0, 0]
        assert golden in session.audio  # bit for bit
        assert abs(record["rtp_received"] - phone.sent) <= 2
        assert record["rtp_lost"] == 0
        assert {packet.source for packet in heard} == {answer.media}
    finally:
        for attacker in attackers:
            attacker.socket.close()


def test_a_caller_behind_nat_is_found_and_kept(line: Line) -> None:
    """The SDP names an address where nobody is: the packets themselves say where the caller is."""
    gateway = line.gateway
    mark = gateway.mark()
    attacker = Attacker(NEIGHBOUR, 3)
    with (
        Phone(NEIGHBOUR) as hidden,
        Phone() as announced,
        Caller(UdpWire(gateway.sip), gateway.sip) as caller,
    ):
        answer = caller.call(offer(announced.port))
        hidden.talk_to(answer.media)
        assert eventually(lambda: len(hidden.packets) > 20, 3)
        packets = len(announced.packets)
        attacker.aim([answer.media[1]])
        with spraying([attacker], 0.01):
            time.sleep(0.7)
        assert len(announced.packets) <= packets + 1
        received = len(hidden.packets)
        assert eventually(lambda: len(hidden.packets) > received + 10, 2)
        assert attacker.received() == 0
        caller.hang_up()
    attacker.socket.close()
    assert gateway.call_ended(mark)["reason"] == "remote_bye"


def test_a_goodbye_over_rtcp_ends_no_call(line: Line) -> None:
    gateway = line.gateway
    mark = gateway.mark()
    with Phone() as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        answer = caller.call(offer(phone.port))
        phone.talk_to(answer.media)
        goodbye = bytes((0x81, 203, 0, 1)) + 0x1234ABCD.to_bytes(4)
        report = bytes((0x80, 201, 0, 1)) + 0x1234ABCD.to_bytes(4)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            for _ in range(500):
                forger.sendto(report + goodbye, (HOST, answer.media[1] + 1))
                forger.sendto(report + goodbye, answer.media)
        packets = len(phone.packets)
        assert eventually(lambda: len(phone.packets) > packets + 20, 2)
        caller.hang_up()
    assert gateway.call_ended(mark)["reason"] == "remote_bye"
