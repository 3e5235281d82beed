"""What one packet costs: `python -m bench.rtp_path`.

Prints microseconds for each packet, the best of several rounds, without a socket.
"""

from collections.abc import Callable
from time import perf_counter

from gateway.rtp.config import RtpConfig
from gateway.rtp.packet import RtpPacket
from gateway.rtp.payload import G711, OPUS, PayloadFormat
from gateway.rtp.session import RtpSession
from gateway.rtp.srtp import Opener, Seal
from gateway.sdp.crypto import KEY_BYTES, SUITES, Suite

_PACKETS = 5000
_ROUNDS = 9
_REMOTE = ("192.0.2.7", 4000)


def _session(format: PayloadFormat = G711) -> RtpSession:
    return RtpSession(
        RtpConfig(payload_type=0, dtmf_payload_types=(101,), remote=_REMOTE),
        ssrc=1,
        first_sequence=1,
        first_timestamp=1,
        cname="bench",
        random=lambda: 0.5,
        format=format,
    )


def _datagrams(
    lost_every: int = 0, payload: bytes = bytes(160), samples: int = 160
) -> list[tuple[bytes, tuple[str, int], float]]:
    # Sources are built anew for each packet, as a socket does.
    return [
        (
            RtpPacket(0, n & 0xFFFF, n * samples, 7, payload).to_bytes(),
            (".".join(("192", "0", "2", "7")), 4000),
            n * 0.02 + (n * 7919 % 13) * 1e-4,
        )
        for n in range(_PACKETS)
        if not lost_every or n % lost_every
    ]


def _best_us(work: Callable[[], int]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        started = perf_counter()
        calls = work()
        best = min(best, (perf_counter() - started) / calls)
    return best * 1e6


def _print_suite(suite: Suite, packets: list[bytes]) -> None:
    key = bytes(KEY_BYTES[suite])
    seal = Seal(suite, key)
    sealed = [seal.protect(packet) for packet in packets]

    def send() -> int:
        protect = Seal(suite, key).protect
        for packet in packets:
            protect(packet)
        return len(packets)

    def receive() -> int:
        unprotect = Opener(suite, key).unprotect
        for packet in sealed:
            unprotect(packet)
        return len(sealed)

    print(
        f"SRTP adds {_best_us(send):5.2f} us to send, {_best_us(receive):5.2f} us to receive:",
        suite,
    )


def _print_srtp(packets: list[bytes]) -> None:
    """What each suite adds to a packet."""
    for suite in SUITES:
        _print_suite(suite, packets)


def main() -> None:
    clean, lossy = _datagrams(), _datagrams(lost_every=20)
    opus = _datagrams(payload=b"\x78" + bytes(79), samples=960)
    extension = b"\xbe\xde\x00\x01\x10\xb2\x00\x00"
    extended = [
        (b"\x90" + data[1:12] + extension + data[12:], source, now) for data, source, now in opus
    ]
    frame = bytes(160)

    def receive() -> int:
        session = _session()
        for data, source, now in clean:
            session.receive(data, source, now)
        return len(clean)

    def receive_opus() -> int:
        session = _session(OPUS)
        for data, source, now in opus:
            session.receive(data, source, now)
        return len(opus)

    def receive_extended() -> int:
        session = _session(OPUS)
        for data, source, now in extended:
            session.receive(data, source, now)
        return len(extended)

    def receive_with_loss() -> int:
        session = _session()
        for data, source, now in lossy:
            session.receive(data, source, now)
            session.tick(now + 0.01)
        return len(lossy)

    def tick_after_packet() -> int:
        session = _session()
        for data, source, now in clean:
            session.receive(data, source, now)
            session.tick(now + 0.01)
        return len(clean)

    def send() -> int:
        session = _session()
        for _ in range(_PACKETS):
            session.send(frame)
        return _PACKETS

    def nothing() -> int:
        for _data, _source, _now in clean:
            pass
        return len(clean)

    loop = _best_us(nothing)
    received = _best_us(receive) - loop
    both = _best_us(tick_after_packet) - loop
    print(f"receive, in order        {received:6.2f} us")
    print(f"tick, nothing to do      {both - received:6.2f} us")
    print(f"send                     {_best_us(send) - loop:6.2f} us")
    print(f"receive, Opus            {_best_us(receive_opus) - loop:6.2f} us")
    print(f"the same, with extension {_best_us(receive_extended) - loop:6.2f} us")
    print(f"receive + tick, 5 % lost {_best_us(receive_with_loss) - loop:6.2f} us")
    _print_srtp([datagram[0] for datagram in clean])


if __name__ == "__main__":
    main()
