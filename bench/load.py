"""The load generator: many callers in one thread, `python -m bench.load --calls N --sip PORT`.

A plain loop on a 1 ms tick: send what is due, take what came, sleep. All callers share one socket
for audio, since the gateway's port tells the calls apart; that makes a call cost the tools far less
than it costs the gateway. The kernel stamps each received packet (SO_TIMESTAMPNS) in the moment the
gateway sends it, so the tool's own delays do not enter the measurements.

It prints one JSON object a line: `ready`, `window` with state `begin` and `end`, then `result`.
"""

import argparse
import gc
import json
import resource
import socket
import sys
import time
from array import array
from dataclasses import dataclass
from itertools import chain
from struct import Struct

from bench.browsers import Browsers
from bench.callers import Callers, Phones, Unsignalled
from bench.coding import CODINGS
from bench.marks import percentile
from bench.sockets import dropped_datagrams
from bench.stream import FRAME_NS

TICK_NS = 1_000_000
SETTLE_S = 2.0  # after the last call came up, before anything is measured
TAIL_S = 1.0  # audio goes on after the window, so that its last frames come back
_AT_ONCE = 1e9  # calls per second
_TIMESPEC = Struct("qq")
_STAMP_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: calls set up at a rate per second, measured for so many seconds."""

    rate: float
    seconds: float
    settle_s: float


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


class LoadGenerator:
    """All callers of one run."""

    def __init__(self, plan: Plan, callers: Callers) -> None:
        self._plan = plan
        self._callers = callers
        self._measuring = False
        self._lateness_ns = array("q")
        self._position, self._cycle_ns = 0, 0  # whose packet is next, in which 20 ms

    def run(self) -> dict[str, object]:
        """Place the calls, measure, hang up; return the result."""
        plan = self._plan
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here makes cycles, and a pause would show up as somebody's delay
        self._cycle_ns = time.monotonic_ns()
        self._set_up()
        up = len(self._callers.streams)
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
        callers, rate = self._callers, self._plan.rate
        calls = len(callers.media)
        began = time.monotonic_ns()
        deadline = began + int((calls / rate + 20) * 1e9)
        placed = 0
        while time.monotonic_ns() < deadline:
            due = min(int((time.monotonic_ns() - began) / 1e9 * rate) + 1, calls)
            while placed < due:
                callers.place(placed, time.monotonic_ns())
                placed += 1
            self._tick()
            if placed == calls and not callers.waits_in("calling"):
                break

    def _tear_down(self) -> None:
        callers = self._callers
        for number in range(len(callers.media)):
            callers.hang_up(number, time.monotonic_ns())
            self._spin(1 / self._plan.rate / 2)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and callers.waits_in("ending"):
            self._tick()

    def _spin(self, seconds: float) -> None:
        end = time.monotonic_ns() + int(seconds * 1e9)
        while time.monotonic_ns() < end:
            self._tick()

    # One millisecond.

    def _tick(self) -> None:
        began = time.monotonic_ns()
        self._send()
        self._receive()
        self._callers.tick(began)
        time.sleep(max(TICK_NS - (time.monotonic_ns() - began), 50_000) / 1e9)

    def _send(self) -> None:
        """Send the packets that are due; calls are spread evenly over each 20 ms."""
        media, audio, measuring = self._callers.media, self._callers.audio, self._measuring
        count = len(media)
        while True:
            due = self._cycle_ns + self._position * FRAME_NS // count
            now = time.monotonic_ns()
            if due > now:
                return
            one = media[self._position]
            if one is not None:
                for packet in one.next_packets(measuring):
                    audio.sendto(packet, one.remote)
                if measuring:
                    self._lateness_ns.append(now - due)
            self._position += 1
            if self._position == count:
                self._position = 0
                self._cycle_ns += FRAME_NS

    def _receive(self) -> None:
        callers, measuring = self._callers, self._measuring
        audio, receivers = callers.audio, callers.receivers
        for _ in range(5000):
            try:
                data, notes, _, source = audio.recvmsg(2048, _STAMP_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier packet
            receiver = receivers.get(source[1])
            if receiver is not None:
                if notes:
                    seconds, part = _TIMESPEC.unpack(notes[0][2])
                    arrival_ns = seconds * 1_000_000_000 + part
                else:
                    arrival_ns = time.time_ns()
                receiver.receive(data, arrival_ns, measuring)
            else:
                callers.stray(data, source)

    # The result.

    def _drops(self) -> dict[str, int]:
        return {
            "dropped_at_gateway": dropped_datagrams(set(self._callers.receivers)),
            "dropped_at_tools": dropped_datagrams({self._callers.audio.getsockname()[1]}),
        }

    def _result(self, up: int, drops: dict[str, int], cpu_share: float) -> dict[str, object]:
        callers = self._callers
        streams = callers.streams
        for stream in streams:
            stream.finish()
        lateness = sorted(chain.from_iterable(stream.lateness_ms() for stream in streams))
        trips = sorted(chain.from_iterable(stream.round_trips_ns for stream in streams))
        setups = sorted(caller.setup_ns / 1e6 for caller in callers.placed if caller.setup_ns)
        own = sorted(late / 1e6 for late in self._lateness_ns)
        names = ["sent_measured", "countable", "keys", "received", "duplicates", "lost"]
        names += ["returned", "returned_countable", "repeated"]
        totals = {name: sum(getattr(one, name) for one in streams) for name in names}
        return {
            "calls": up,
            "failures": callers.failures,
            "rtcp_received": callers.control_received,
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
    target.add_argument("--webrtc", metavar="URL", help="where to post offers; no keys there")
    parser.add_argument("--codec", choices=CODINGS, default="pcmu", help="with --webrtc")
    options = parser.parse_args()
    callers: Callers
    if options.webrtc:
        callers = Browsers(options.calls, options.webrtc, options.codec)
    elif options.rtp:
        callers = Unsignalled(json.loads(options.rtp), keys=options.keys)
    else:
        callers = Phones(options.calls, options.sip, keys=options.keys)
    plan = Plan(_AT_ONCE if options.rtp else options.rate, options.seconds, options.settle)
    try:
        say("result", **LoadGenerator(plan, callers).run())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
