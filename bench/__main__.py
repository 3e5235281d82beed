"""`python -m bench`: measure the gateway at several numbers of calls and print the table."""

import argparse
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row, measure, measure_webrtc
from bench.processes import BenchError, choose_cores
from bench.programs import Target
from bench.table import table

MAX_CALLS = 2000


def _calls(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and 1 <= int(word) <= MAX_CALLS for word in words):
        raise argparse.ArgumentTypeError(f"comma-separated numbers from 1 to {MAX_CALLS}")
    return [int(word) for word in words]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--calls",
        type=_calls,
        default=[20, 100, 200],
        help="numbers of calls over SIP, comma-separated; a row for each",
    )
    parser.add_argument("--no-sip", dest="calls", action="store_const", const=[], help="none")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement")
    parser.add_argument("--rate", type=float, default=25.0, help="calls set up per second")
    parser.add_argument(
        "--pcm",
        type=_calls,
        default=[20, 100],
        help="which of the numbers in --calls are measured again with servers that take only PCM",
    )
    parser.add_argument("--no-pcm", dest="pcm", action="store_const", const=[], help="none of them")
    parser.add_argument(
        "--webrtc",
        type=_calls,
        default=[20],
        help="numbers of calls over WebRTC; rows for each in PCMU and in Opus",
    )
    parser.add_argument(
        "--no-webrtc", dest="webrtc", action="store_const", const=[], help="none of them"
    )
    parser.add_argument("--mode", choices=("echo", "burst"), default="echo")
    parser.add_argument(
        "--baseline",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also measure yardsticks: the plainest relay to the same server, and for WebRTC an "
        "echo server of stock aiortc; in echo mode only",
    )
    parser.add_argument(
        "--keys",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a key press every five seconds on each call; the pause it makes in the caller's "
        "audio comes back as round-trip delay, so leave it out to see the bare path",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    parser.add_argument("--pid", type=int, help="measure this gateway instead of starting one")
    parser.add_argument("--sip-port", type=int, default=5060, help="with --pid: its UDP port")
    parser.add_argument("--http-port", type=int, default=8080, help="with --pid: its HTTP port")
    parser.add_argument(
        "--model-port",
        type=int,
        default=8765,
        help="with --pid: where it was told to find the Realtime server, "
        "GATEWAY_REALTIME_URL=ws://127.0.0.1:PORT/v1/realtime?model={model}",
    )
    options = parser.parse_args()
    if not 1 <= options.seconds <= 600 or not 1 <= options.rate <= 200:
        parser.error("--seconds must be 1 to 600, --rate 1 to 200")
    return options


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    cores = choose_cores()
    baseline = options.baseline and options.mode == "echo"
    if options.baseline and not baseline:
        print("no yardsticks: they carry an echo, not bursts", file=sys.stderr)
    if options.pid and options.pcm:
        print("no rows for PCM: what runs already has its formats", file=sys.stderr)
        options.pcm = []
    rows: list[Row] = []
    status = 0
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        target = Target(
            cores,
            Path(folder),
            options.mode,
            options.rate,
            options.keys,
            options.pid,
            options.sip_port,
            options.http_port,
            options.model_port,
        )
        seconds = options.seconds
        runs: list[tuple[str, Iterator[Row]]] = [
            (
                f"{calls} calls",
                measure(target, calls, seconds, pcm=calls in options.pcm, baseline=baseline),
            )
            for calls in options.calls
        ]
        runs += [
            (
                f"{calls} calls over WebRTC",
                measure_webrtc(target, calls, seconds, baseline=baseline),
            )
            for calls in options.webrtc
        ]
        for name, run in runs:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                for row in run:
                    rows.append(row)
            except BenchError as error:
                print(f"{name} could not be measured: {error}", file=sys.stderr)
                status = 1
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                status = 130
                break
    if rows:
        print(table(rows, options.mode, cores.shared))
    if options.json and rows:
        machine = {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": len(cores.gateway | cores.tools),
        }
        report = {"machine": machine, "mode": options.mode, "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
