"""UDP sockets of the load generator."""

import socket

HOST = "127.0.0.1"
_RECEIVE_BUFFER_BYTES = 8 << 20
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
_SO_RCVBUFFORCE = 33


def bound(host: str = HOST, port: int = 0) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        one.bind((host, port))
    except OSError:
        one.close()
        raise
    one.setblocking(False)
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    except PermissionError:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    return one


def stamped(one: socket.socket) -> socket.socket:
    """The same socket; the kernel says of each packet when it came."""
    one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return one


def media_pair() -> tuple[socket.socket, socket.socket]:
    """RTP on an even port, RTCP on the next one.

    Raises:
        OSError: none is free.
    """
    for _ in range(100):
        audio = bound()
        port = audio.getsockname()[1]
        if port % 2 == 0:
            try:
                control = bound(port=port + 1)
            except OSError:
                pass
            else:
                return stamped(audio), control
        audio.close()
    raise OSError("no free pair of UDP ports")


def dropped_datagrams(ports: set[int]) -> int:
    """How many datagrams the kernel dropped at the UDP sockets bound to these ports."""
    dropped = 0
    with open("/proc/net/udp", encoding="ascii") as table:
        next(table)
        for line in table:
            words = line.split()
            if int(words[1].rpartition(":")[2], 16) in ports:
                dropped += int(words[-1])
    return dropped
