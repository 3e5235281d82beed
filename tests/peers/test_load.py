"""Many calls at once, by SIPp: on a good network, on one that loses messages, and half-open."""

import os
import time
from pathlib import Path

import pytest

from tests.peers.line import HalfOpen, LoadLine
from tests.peers.sipp import run_sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALLS = 200
RATE = 40.0
HOLD_S = float(os.environ.get("LOAD_HOLD_S", "5"))
"""Not shorter: all of them have to be there at once."""


def load(line: LoadLine, directory: Path, audio: str, *options: str) -> list[dict[str, object]]:
    """Place the calls; returns their records when all have ended and freed what they held."""
    gateway = line.gateway
    mark = gateway.mark()
    result = run_sipp(
        "call",
        gateway.sip,
        directory,
        calls=CALLS,
        rate=RATE,
        timeout_s=75,
        options=options,
        fill={"AUDIO": audio, "HOLD_MS": f"{HOLD_S * 1000:.0f}"},
    )
    assert (result.status, result.successful, result.failed) == (0, CALLS, 0), str(result)
    records = gateway.wait_for_lines("call.ended", CALLS, 5, mark)
    assert len(gateway.lines("call.incoming", mark)) == CALLS
    # Sockets and media ports are freed with the call; transactions stay, see test_zero.
    gateway.wait_for_footprint(line.baseline, 5, "sip_transactions", "sip_dialogs")
    assert {record["reason"] for record in records} == {"remote_bye"}
    assert not gateway.complaints()
    return records


@pytest.mark.timeout(120)
def test_200_calls_with_audio(load_line: LoadLine, tmp_path: Path, mulaw_file: str) -> None:
    frames = HOLD_S * 50
    records = load(load_line, tmp_path, mulaw_file)
    for record in records:
        assert abs(float(str(record["duration_s"])) - HOLD_S) < 1.0
        assert abs(float(str(record["rtp_received"])) - frames) < 0.06 * frames
        # What a busy machine has no time to send is left out, at the same moment in all calls.
        assert 0.8 * frames < float(str(record["rtp_sent"])) < 1.06 * frames
        assert record["rtp_lost"] == 0


@pytest.mark.timeout(120)
def test_200_calls_where_one_message_in_twenty_is_lost(
    load_line: LoadLine, tmp_path: Path, mulaw_file: str
) -> None:
    load(load_line, tmp_path, mulaw_file, "-lost", "5")


def test_400_calls_are_answered_and_never_acknowledged(half_open: HalfOpen) -> None:
    """They are given up after 64 * T1: test_zero looks at it, and other tests fill the time."""
    assert half_open.run.running
    assert time.monotonic() - half_open.answered_at_s < 10
