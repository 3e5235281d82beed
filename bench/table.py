"""The benchmark's figures as text: two markdown tables and, where needed, a word of warning."""

from collections.abc import Iterator

from bench.measure import Row

GOALS = {"pcmu": 7, "opus": 3}
"""How many times more CPU stock aiortc shall need, by codec."""
_FULL_PERCENT = 90


def _number(row: Row, name: str, decimals: int = 2) -> str:
    value = row.get(name)
    return "–" if value is None else f"{value:.{decimals}f}"


def _triple(row: Row, name: str) -> str:
    return " / ".join(_number(row, f"{name}_{part}_ms") for part in ("p50", "p99", "max"))


def _pair(row: Row, name: str) -> str:
    return " / ".join(_number(row, f"{name}_{part}_ms", 1) for part in ("p50", "p99"))


def _lost(row: Row, name: str, of: str) -> str:
    lost, whole = row.get(name), row.get(of)
    return "–" if lost is None or not whole else f"{lost} ({lost / whole * 100:.2f} %)"


def _lines(head: list[str], body: list[list[str]]) -> list[str]:
    widths = [max(len(line[at]) for line in [head, *body]) for at in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return "| " + " | ".join(padded) + " |"

    return [line(head), line(["-" * width for width in widths]), *map(line, body)]


def _below_aiortc(row: Row) -> str:
    value = row.get("below_aiortc")
    if value is None:
        return "–"
    goal = GOALS[row["what"].removeprefix("WebRTC ")]
    return f"{value:.1f} (goal {goal})"


def _main_cells(row: Row, mode: str) -> list[str]:
    paced = row["what"] != "relay"
    echo = mode == "echo"
    return [
        row["what"],
        str(row["calls"]),
        _number(row, "cpu_ms_per_call_s"),
        _number(row, "core_percent", 1),
        _number(row, "times_relay", 1),
        _number(row, "times_g711"),
        _below_aiortc(row),
        _triple(row, "lateness") if paced else "–",
        _triple(row, "uplink"),
        _pair(row, "round_trip") if echo else "–",
        _lost(row, "uplink_lost", "sent_measured"),
        _lost(row, "lost", "received") if paced else "–",
        _lost(row, "round_trip_lost", "countable") if echo else "–",
        _number(row, "rss_kb_per_call", 0),
    ]


def _check_cells(row: Row) -> list[str]:
    children = str(row.get("children", "–"))
    if row.get("children"):
        children += f": {row['children_core_percent']:.1f} % core, {row['children_rss_mb']:.0f} MB"
    return [
        row["what"],
        str(row["calls"]),
        f"{row['calls']}/{row['calls_wanted']}, {row.get('ended_calls', '–')} ended",
        _pair(row, "setup"),
        f"{row['keys']}/{row.get('keys_reported', '–')}/{row.get('model_digits', '–')}",
        str(row["rtcp_received"]),
        f"{row['dropped_at_gateway']}/{row['dropped_at_tools']}",
        _number(row, "waited_percent", 1) + " %",
        _number(row, "rss_idle_mb", 0),
        children,
        str(row.get("log_warnings", "–")),
        f"{row['tool_cpu_share'] * 100:.0f} / {_number(row, 'model_core_percent', 0)} %",
        _triple(row, "tool_lateness"),
    ]


_MAIN = ["", "calls", "CPU ms/call-s", "core %", "x relay", "x G.711", "below aiortc"]
_MAIN += ["lateness p50/p99/max ms"]
_MAIN += ["uplink p50/p99/max ms", "round trip p50/p99 ms", "lost up", "lost down", "lost round"]
_MAIN += ["KB/call"]
_CHECK = ["", "calls", "up", "setup p50/p99 ms", "keys sent/logged/model", "RTCP in"]
_CHECK += ["drops gateway/tools", "core taken", "idle MB", "children", "warnings", "CPU load/model"]
_CHECK += ["load lateness p50/p99/max ms"]

_LEGEND = """
CPU: user+sys of the row's process. Lateness: each packet from the gateway against the 20 ms
grid laid through the earliest of its call, stamped by the kernel when it was sent. Uplink: from the
caller's send to the arrival at the Realtime server, which shares its core with the load generator.
Core taken: share of the time in which the gateway was ready to run but another program had its
core. x relay: CPU against the plainest Python relay (one UDP socket and one WebSocket a call, a
message for each packet and back) between the same callers and server, on the same core.
x G.711: a row for a server that takes PCM only, at 24 or 16 kHz in and 24 kHz out, against the
gateway row of the same run, where the audio passes as it is. Its delays hold what the resamplers
keep back (2 ms each) and what of a frame then waits for the next one before it can be played.
WebRTC rows: browsers without keys and without a data channel, in the named codec; with Opus the
Realtime server has PCM at 24 kHz. Below aiortc: how many times the CPU of the row an echo server of
stock aiortc needs for the same offers and packets on the same core, though no Realtime server is
behind it.
A key reaches the model some seconds after the press: not those pressed just before the end."""


def table(rows: list[Row], mode: str, shared_core: bool) -> str:
    """All rows as text, ready to print."""
    checked = [row for row in rows if row["what"] != "relay"]
    lines = [f"mode {mode}", *_lines(_MAIN, [_main_cells(row, mode) for row in rows]), ""]
    lines += _lines(_CHECK, [_check_cells(row) for row in checked])
    lines += _LEGEND.splitlines()
    if shared_core:
        lines.append("WARNING: only one core here: gateway and tools disturb each other.")
    for row in checked:
        lines += [
            f"WARNING: {row['what']} at {row['calls_wanted']} calls, {text}"
            for text in _warnings(row)
        ]
    return "\n".join(lines)


def _warnings(row: Row) -> Iterator[str]:
    for why, count in row["failures"].items():
        yield f"{count} failed: {why}"
    if row.get("sessions_open"):
        yield f"{row['sessions_open']} Realtime sessions were still open after them"
    if row["what"].startswith("aiortc"):
        if row["core_percent"] > _FULL_PERCENT:
            yield "its core was full, so it needs more CPU than it shows"
    elif row["waited_percent"] > 5:
        yield "other programs used its core; its lateness is partly theirs"
    if row["tool_lateness_p99_ms"] > 5:
        yield "the load generator itself was late; its packets came in lumps"
