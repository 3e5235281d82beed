"""The load generator: many callers in one thread, `python -m bench.load --calls N --sip PORT`.

A plain loop on a 1 ms tick: send what is due, take what came, sleep. All callers share one SIP, one
RTP and one RTCP socket, since the gateway's port tells the calls apart; that makes a call cost the
tools far less than it costs the gateway. The kernel stamps each received packet (SO_TIMESTAMPNS) in
the moment the gateway sends it, so the tool's own delays do not enter the measurements.

It prints one JSON object a line: `ready`, `window` with state `begin` and `end`, then `result`.
"""

import argparse
import gc
import json
import os
import resource
import socket
import sys
import time
from array import array
from dataclasses import dataclass
from itertools import chain
from struct import Struct

from bench.caller import Caller, parse
from bench.marks import percentile
from bench.stream import FRAME_NS, Stream

TICK_NS = 1_000_000
TICKS_PER_REPORT = 5000
HOST = "127.0.0.1"
SETTLE_S = 2.0  # after the last call came up, before anything is measured
TAIL_S = 1.0  # audio goes on after the window, so that its last frames come back
RECEIVE_BUFFER_BYTES = 8 << 20
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
_SO_RCVBUFFORCE = 33
_TIMESPEC = Struct("qq")
_STAMP_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: calls, set up at a rate per second, measured for so many seconds."""

    calls: int
    rate: float
    seconds: float
    settle_s: float
    sip_port: int
    ports: tuple[int, ...]
    """Send RTP straight here, without signalling; empty for calls over SIP."""
    keys: bool
    """Press a key on each call every five seconds."""


def _bound(port: int = 0) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        one.bind((HOST, port))
    except OSError:
        one.close()
        raise
    one.setblocking(False)
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    return one


def _media_sockets() -> tuple[socket.socket, socket.socket]:
    """RTP on an even port, RTCP on the next one."""
    for _ in range(100):
        audio = _bound()
        port = audio.getsockname()[1]
        if port % 2 == 0:
            try:
                control = _bound(port + 1)
            except OSError:
                pass
            else:
                audio.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                return audio, control
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


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


class LoadGenerator:
    """All callers of one run."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sip = _bound()
        self._audio, self._control = _media_sockets()
        local, gateway = self._sip.getsockname(), (HOST, plan.sip_port)
        audio_port = self._audio.getsockname()[1]
        self._gateway = gateway
        self._callers = [
            Caller(number, f"{os.getpid()}-{audio_port}", local, gateway, audio_port)
            for number in range(0 if plan.ports else plan.calls)
        ]
        self._by_call_id = {caller.call_id: caller for caller in self._callers}
        self._streams: list[Stream | None] = [None] * plan.calls
        self._by_port: dict[int, Stream] = {}
        self._measuring = False
        self._lateness_ns = array("q")
        self._control_received = 0
        self._position, self._cycle_ns = 0, 0  # whose packet is next, in which 20 ms
        self._ticks = 0

    def run(self) -> dict[str, object]:
        """Place the calls, measure, hang up; return the result."""
        plan = self._plan
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here makes cycles, and a pause would show up as somebody's delay
        self._cycle_ns = time.monotonic_ns()
        self._set_up()
        up = len(self._by_port)
        say("ready", calls=up)
        if up:
            self._spin(plan.settle_s)
            say("window", state="begin")
            self._measuring = True
            usage, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            self._spin(plan.seconds)
            self._measuring = False
            elapsed = time.monotonic() - began
            say("window", state="end")
            after = resource.getrusage(resource.RUSAGE_SELF)
            spent = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
            self._spin(TAIL_S)
            drops = self._drops()
            self._tear_down()
            return self._result(up, drops, spent / elapsed)
        return self._result(0, {}, 0.0)

    # Phases.

    def _set_up(self) -> None:
        plan = self._plan
        for number, port in enumerate(plan.ports):
            self._connect(number, (HOST, port))
        began = time.monotonic_ns()
        deadline = began + int((plan.calls / plan.rate + 20) * 1e9)
        placed = 0
        while time.monotonic_ns() < deadline:
            due = int((time.monotonic_ns() - began) / 1e9 * plan.rate) + 1
            for caller in self._callers[placed:due]:
                self._send_sip(caller.invite(time.monotonic_ns()))
                placed += 1
            self._tick()
            if placed == len(self._callers) and not any(
                caller.state == "calling" for caller in self._callers
            ):
                break

    def _tear_down(self) -> None:
        for number, caller in enumerate(self._callers):
            self._streams[number] = None
            self._send_sip(caller.hang_up(time.monotonic_ns()))
            self._spin(1 / self._plan.rate / 2)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            self._tick()
            if not any(caller.state == "ending" for caller in self._callers):
                break

    def _spin(self, seconds: float) -> None:
        end = time.monotonic_ns() + int(seconds * 1e9)
        while time.monotonic_ns() < end:
            self._tick()

    # One millisecond.

    def _tick(self) -> None:
        began = time.monotonic_ns()
        self._send_audio()
        self._receive_audio()
        self._ticks += 1
        if self._callers:
            self._receive_sip()
            self._report()
            if self._ticks % 50 == 0:
                for caller in self._callers:
                    self._send_sip(caller.tick(began))
        time.sleep(max(TICK_NS - (time.monotonic_ns() - began), 50_000) / 1e9)

    def _send_audio(self) -> None:
        """Send the packets that are due; calls are spread evenly over each 20 ms."""
        streams, audio, measuring = self._streams, self._audio, self._measuring
        count = len(streams)
        while True:
            due = self._cycle_ns + self._position * FRAME_NS // count
            now = time.monotonic_ns()
            if due > now:
                return
            stream = streams[self._position]
            if stream is not None:
                for packet in stream.next_packets(measuring):
                    audio.sendto(packet, stream.remote)
                if measuring:
                    self._lateness_ns.append(now - due)
            self._position += 1
            if self._position == count:
                self._position = 0
                self._cycle_ns += FRAME_NS

    def _receive_audio(self) -> None:
        audio, by_port, measuring = self._audio, self._by_port, self._measuring
        for _ in range(5000):
            try:
                data, notes, _, source = audio.recvmsg(2048, _STAMP_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier packet
            stream = by_port.get(source[1])
            if stream is not None:
                if notes:
                    seconds, part = _TIMESPEC.unpack(notes[0][2])
                    arrival_ns = seconds * 1_000_000_000 + part
                else:
                    arrival_ns = time.time_ns()
                stream.receive(data, arrival_ns, measuring)

    def _receive_sip(self) -> None:
        for _ in range(100):
            try:
                data = self._sip.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                continue
            message = parse(data)
            caller = self._by_call_id.get(message.headers["call-id"]) if message else None
            if message is None or caller is None:
                continue
            was_up = caller.state == "up"
            self._send_sip(caller.receive(message, time.monotonic_ns()))
            if caller.state == "up" and not was_up:
                self._connect(self._callers.index(caller), caller.media)
            elif was_up and caller.state == "failed":
                self._streams[self._callers.index(caller)] = None

    def _report(self) -> None:
        """RTCP: each call sends a report every five seconds, one call after the other."""
        first = self._ticks * len(self._callers) // TICKS_PER_REPORT
        last = (self._ticks + 1) * len(self._callers) // TICKS_PER_REPORT
        for turn in range(first, last):
            number = turn % len(self._callers)
            stream = self._streams[number]
            if stream is not None:
                self._control.sendto(stream.report(), self._callers[number].control)
        try:
            while self._control.recv(2048):
                self._control_received += 1
        except OSError:
            return

    def _send_sip(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self._sip.sendto(datagram, self._gateway)

    def _connect(self, number: int, remote: tuple[str, int]) -> None:
        stream = Stream(number, remote, keys=self._plan.keys)
        self._by_port[remote[1]] = self._streams[number] = stream

    # The result.

    def _drops(self) -> dict[str, int]:
        return {
            "dropped_at_gateway": dropped_datagrams(set(self._by_port)),
            "dropped_at_tools": dropped_datagrams({self._audio.getsockname()[1]}),
        }

    def _result(self, up: int, drops: dict[str, int], cpu_share: float) -> dict[str, object]:
        streams = list(self._by_port.values())
        for stream in streams:
            stream.finish()
        callers = self._callers
        lateness = sorted(chain.from_iterable(stream.lateness_ms() for stream in streams))
        trips = sorted(chain.from_iterable(stream.round_trips_ns for stream in streams))
        setups = sorted(caller.setup_ns / 1e6 for caller in callers if caller.setup_ns)
        own = sorted(late / 1e6 for late in self._lateness_ns)
        names = ["sent_measured", "countable", "keys", "received", "duplicates", "lost"]
        names += ["returned", "returned_countable", "repeated"]
        totals = {name: sum(getattr(one, name) for one in streams) for name in names}
        failures: dict[str, int] = {}
        for caller in callers:
            if caller.state == "failed":
                failures[caller.failure] = failures.get(caller.failure, 0) + 1
            elif caller.state in ("calling", "ending"):
                failures[caller.state] = failures.get(caller.state, 0) + 1
        return {
            "calls": up,
            "failures": failures,
            "rtcp_received": self._control_received,
            "tool_cpu_share": cpu_share,
            **totals,
            **drops,
            **_spread("lateness", lateness),
            **_spread("round_trip", [trip / 1e6 for trip in trips]),
            **_spread("setup", setups),
            **_spread("tool_lateness", own),
        }


def _spread(name: str, ordered: list[float]) -> dict[str, float]:
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"{name}_{key}_ms": percentile(ordered, share) for key, share in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--rate", type=float, default=25.0, help="calls set up per second")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the window")
    parser.add_argument("--settle", type=float, default=SETTLE_S)
    parser.add_argument("--keys", action=argparse.BooleanOptionalAction, default=True)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--sip", type=int, help="the gateway's SIP port on UDP")
    target.add_argument("--rtp", help="a JSON list of ports to send RTP to, without SIP")
    options = parser.parse_args()
    ports = tuple(json.loads(options.rtp)) if options.rtp else ()
    plan = Plan(
        len(ports) or options.calls,
        options.rate,
        options.seconds,
        options.settle,
        options.sip or 0,
        ports,
        options.keys,
    )
    try:
        say("result", **LoadGenerator(plan).run())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
