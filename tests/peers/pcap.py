"""Captures for SIPp to replay: one RTP stream with silence and key presses in it.

Packets are numbered first and left out or doubled afterwards, as on a network that loses them.
"""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from tests.peers.media import SILENCE, rtp

KEYS = "0123456789*#ABCD"
DTMF_PAYLOAD_TYPE = 101

_SSRC = 0x51505050
_PORT = 6000
_UPDATES = 5
"""Packets that a held key repeats, before the three that end it."""


class Timed(NamedTuple):
    """A packet and when it is sent, in seconds."""

    at_s: float
    data: bytes


KeyPackets = list[Timed]
Fate = Callable[[KeyPackets, int], KeyPackets]
"""What the network does to the packets of a key press; the number counts the presses from 0."""


def whole(packets: KeyPackets, _: int) -> KeyPackets:
    return packets


def first_lost(packets: KeyPackets, _: int) -> KeyPackets:
    return packets[1:]


def ends_lost(packets: KeyPackets, _: int) -> KeyPackets:
    return packets[:_UPDATES]


def all_but_one_lost(packets: KeyPackets, number: int) -> KeyPackets:
    """Another one survives each time, an end packet now and then."""
    return [packets[number % len(packets)]]


def doubled(packets: KeyPackets, _: int) -> KeyPackets:
    return [
        copy for packet in packets for copy in (packet, packet._replace(at_s=packet.at_s + 1e-3))
    ]


def shuffled_ends(packets: KeyPackets, _: int) -> KeyPackets:
    """The end overtakes the last updates."""
    late = [packet._replace(at_s=packet.at_s + 0.05) for packet in packets[_UPDATES - 2 : _UPDATES]]
    return sorted(packets[: _UPDATES - 2] + late + packets[_UPDATES:])


def key_presses(keys: str, fate: Fate) -> list[Timed]:
    """A second of silence, then each key for 100 ms with 100 ms between them, and silence again."""
    packets: list[Timed] = []
    at_s, sequence, timestamp = 0.0, 1000, 160_000

    def be_silent(frames: int) -> None:
        nonlocal at_s, sequence, timestamp
        for _ in range(frames):
            packets.append(Timed(at_s, rtp(SILENCE, sequence, timestamp, _SSRC)))
            at_s, sequence, timestamp = at_s + 0.02, sequence + 1, timestamp + 160

    be_silent(25)
    for number, key in enumerate(keys):
        press: KeyPackets = []
        durations = [160 * (step + 1) for step in range(_UPDATES)]
        durations += [durations[-1]] * 3
        for step, duration in enumerate(durations):
            ends = step >= _UPDATES
            event = struct.pack("!BBH", KEYS.index(key), ends << 7 | 10, duration)
            data = rtp(event, sequence, timestamp, _SSRC, DTMF_PAYLOAD_TYPE, marker=step == 0)
            press.append(Timed(at_s + (step - _UPDATES) * 1e-3 if ends else at_s, data))
            sequence += 1
            at_s += 0 if ends else 0.02
        packets += fate(press, number)
        timestamp += 160 * _UPDATES
        be_silent(5)
    be_silent(20)
    return packets


def write(path: Path, packets: Iterable[Timed]) -> float:
    """Write a capture of Ethernet frames; returns how many seconds it lasts."""
    last_s = 0.0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for at_s, data in packets:
            frame = _ethernet(data)
            seconds, microseconds = divmod(round((1000 + at_s) * 1e6), 1_000_000)
            file.write(struct.pack("<IIII", seconds, microseconds, len(frame), len(frame)))
            file.write(frame)
            last_s = max(last_s, at_s)
    return last_s


def _ethernet(payload: bytes) -> bytes:
    loopback = bytes((127, 0, 0, 1))
    udp = struct.pack("!HHHH", _PORT, _PORT, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + 2 * loopback
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~total & 0xFFFF
    head = head[:10] + struct.pack("!H", checksum) + head[12:]
    return bytes(12) + b"\x08\x00" + head + udp
