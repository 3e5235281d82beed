"""The process in the middle of a `Wan`: two hosts, each a network namespace of its own with one TUN
device, and every IP packet between them passes through here.

`python -m tests.peers.wan_relay ADDRESS ADDRESS SEED LINK LINK`, where a link is JSON of
`tests.peers.wan.Link`, of the packets that leave the first and the second host. It prints one line
of JSON, with the file descriptors of the two namespaces, when packets can flow, and one with what
it did to them when its standard input ends. The namespaces live as long as this process, and
whoever is in.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN_WITHOUT_HEADER = 0x400454CA, 0x0001 | 0x1000
_SET_FLAGS, _SET_ADDRESS, _SET_NETMASK, _SET_QUEUE = 0x8914, 0x8916, 0x891C, 0x8943
_QUEUE_PACKETS = 10_000
"""A busy machine may let us wait for a moment, and that is no loss."""
_UP = 0x1 | 0x40
_DEVICE = b"wan0"
_AT_ONCE = 64


def new_host(address: str) -> tuple[int, int]:
    """Enter a namespace of its own; returns descriptors of it and of its device."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", _DEVICE, _IFF_TUN_WITHOUT_HEADER))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, request, of_it in (
            (_DEVICE, _SET_ADDRESS, _inet(address)),
            (_DEVICE, _SET_NETMASK, _inet("255.255.255.0")),
            (_DEVICE, _SET_QUEUE, struct.pack("i20x", _QUEUE_PACKETS)),
            (_DEVICE, _SET_FLAGS, struct.pack("H22x", _UP)),
            (b"lo", _SET_FLAGS, struct.pack("H22x", _UP)),
        ):
            fcntl.ioctl(control, request, struct.pack("16s", name) + of_it)
    return namespace, device


def _inet(address: str) -> bytes:
    return struct.pack("HH4s16x", socket.AF_INET, 0, socket.inet_aton(address))


class Direction:
    """What happens to the packets of one host."""

    def __init__(self, link: dict[str, float], seed: int) -> None:
        self._link = link
        self._random = random.Random(seed)
        self.counts = {"sent": 0, "lost": 0, "overtaken": 0}

    def arrivals(self, now: float) -> list[float]:
        """When the packet that is sent now arrives; [] if it is lost."""
        link, chance = self._link, self._random.random
        self.counts["sent"] += 1
        if chance() < link["loss"]:
            self.counts["lost"] += 1
            return []
        delay_s = link["delay_s"] + chance() * link["jitter_s"]
        if chance() < link["reorder"]:
            self.counts["overtaken"] += 1
            delay_s += link["reorder_s"]
        return [now + delay_s]


def main() -> None:
    first, second, seed, *links = sys.argv[1:]
    hosts = [new_host(first), new_host(second)]
    directions = [
        Direction(json.loads(link), int(seed) + number) for number, link in enumerate(links)
    ]
    print(json.dumps([namespace for namespace, _ in hosts]), flush=True)
    devices = [device for _, device in hosts]
    order = 0
    waiting: list[tuple[float, int, int, bytes]] = []
    while True:
        pause = max(waiting[0][0] - time.monotonic(), 0.0) if waiting else None
        readable = select.select([0, *devices], [], [], pause)[0]
        if 0 in readable:
            break
        now = time.monotonic()
        for number, device in enumerate(devices):
            if device in readable:
                for packet in _read(device):
                    for arrival in directions[number].arrivals(now):
                        order += 1
                        heapq.heappush(waiting, (arrival, order, devices[1 - number], packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, device, packet = heapq.heappop(waiting)
            os.write(device, packet)
    print(json.dumps([direction.counts for direction in directions]), flush=True)


def _read(device: int) -> list[bytes]:
    packets = []
    for _ in range(_AT_ONCE):
        try:
            packets.append(os.read(device, 65_536))
        except BlockingIOError:
            break
    return packets


if __name__ == "__main__":
    main()
