"""The yardstick: RTP echoed by the plainest Python program, `python -m bench.echo --calls N`.

One socket per call, no event loop library, no parsing. What it costs on this machine is the price
of the packets themselves, so a gateway's cost divided by it can be compared between machines.
It prints its ports as a JSON list and ends by itself after `--life` seconds.
"""

import argparse
import json
import select
import socket
import time


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.echo", description=__doc__)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--life", type=float, default=60.0, help="seconds")
    options = parser.parse_args()
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    for _ in range(options.calls):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
        sockets[one.fileno()] = one
        poll.register(one.fileno(), select.EPOLLIN)
    print(json.dumps([one.getsockname()[1] for one in sockets.values()]), flush=True)
    end = time.monotonic() + options.life
    while time.monotonic() < end:
        for number, _ in poll.poll(1.0):
            one = sockets[number]
            try:
                data, source = one.recvfrom(2048)
                one.sendto(data, source)
            except OSError:
                continue  # the other side has gone: its port is closed


if __name__ == "__main__":
    main()
