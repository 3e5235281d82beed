"""The metrics: reasons that are complete, counters that are true."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.metrics import REASONS, Metrics
from gateway.sip.outbox import Counters
from gateway.webrtc.peer import Failure

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[1]
GATEWAY = ROOT / "gateway"
SIP = sorted((GATEWAY / "sip").glob("*.py"))
ABOVE_SIP = [
    # Whom `dialling` and `dialler` refuse has no call yet that could end.
    *sorted(path for path in (GATEWAY / "legs").glob("*.py") if path.stem[:4] != "dial"),
    *sorted((GATEWAY / "calls").glob("*.py")),
    GATEWAY / "app.py",
]
# The functions that are given the reason for which a call ends.
OF_SIP = {"_end"}
OF_ABOVE_SIP = {
    *("LegEnded", "LegError", "Refusal", "SessionFailed", "End"),
    *("_end", "end", "_refuse", "_hang_up", "hang_up", "_take_leave", "_turn_away"),
}


def record(**fields: Any) -> dict[str, Any]:
    return {
        "leg": "sip",
        "reason": "remote_bye",
        "bargeins": 0,
        "handovers": 0,
        "session_losses": 0,
        "outage_s": 0.0,
        "rtp_received": 0,
        "rtp_sent": 0,
        "rtp_lost": 0,
        "duration_s": 0.0,
        "setup_ms": None,
        "response_ms_p50": None,
        "mos": None,
    } | fields


def reasons_in(path: Path, functions: set[str]) -> Iterator[str]:
    """The literal reasons that a module gives."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name not in functions:
            continue
        for argument in node.args:
            choices = (
                [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
            )
            for choice in choices:
                if isinstance(choice, ast.Constant) and isinstance(choice.value, str):
                    yield choice.value


def test_the_reasons_are_those_that_the_program_gives() -> None:
    given = {reason for path in SIP for reason in reasons_in(path, OF_SIP)}
    given |= {reason for path in ABOVE_SIP for reason in reasons_in(path, OF_ABOVE_SIP)}
    given |= set(get_args(Failure))
    assert given == REASONS


def test_the_runbook_says_what_to_do_about_each_reason() -> None:
    text = (ROOT / "ops" / "runbook.md").read_text()
    table = text.split("| reason | who ended it, and what to do |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [re.fullmatch(r"\| `(\w+)` \| (.+) \|", row) for row in table.splitlines()]
    named = [row[1] for row in rows if row is not None]
    assert len(named) == len(rows), "a row of the table names exactly one reason"
    assert sorted(named) == sorted(REASONS)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_each_reason_has_its_own_label(reason: str) -> None:
    metrics = Metrics()
    metrics.call_ended(record(reason=reason))
    assert f'gateway_calls_total{{leg="sip",reason="{reason}"}} 1.0' in metrics.text().decode()


def test_what_nobody_knows_is_other() -> None:
    metrics = Metrics()
    metrics.call_ended(record(reason="sip:+4930123456@example.net"))
    text = metrics.text().decode()
    assert 'gateway_calls_total{leg="sip",reason="other"} 1.0' in text
    assert "4930123456" not in text


def test_a_call_is_counted_by_its_record() -> None:
    metrics = Metrics()
    metrics.call_ended(
        record(
            bargeins=2,
            handovers=5,
            session_losses=2,
            outage_s=0.75,
            rtp_received=100,
            rtp_sent=90,
            rtp_lost=3,
            duration_s=7.5,
            setup_ms=40.0,
            response_ms_p50=250.0,
            mos=4.1,
        )
    )
    lines = metrics.text().decode().splitlines()
    for line in (
        "gateway_bargeins_total 2.0",
        "gateway_session_handovers_total 5.0",
        "gateway_session_losses_total 2.0",
        "gateway_session_outage_seconds_total 0.75",
        'gateway_rtp_packets_total{direction="received"} 100.0',
        'gateway_rtp_packets_total{direction="sent"} 90.0',
        "gateway_rtp_lost_packets_total 3.0",
        "gateway_call_duration_seconds_sum 7.5",
        "gateway_call_setup_seconds_sum 0.04",
        "gateway_call_response_seconds_sum 0.25",
        "gateway_call_mos_sum 4.1",
    ):
        assert line in lines


def test_sip_totals_are_read_at_each_scrape() -> None:
    counters = Counters()
    metrics = Metrics()
    metrics.watch_sip(lambda: counters)
    lines = metrics.text().decode().splitlines()
    assert "gateway_sip_retransmits_total 0.0" in lines
    assert "gateway_sip_dropped_total 0.0" in lines
    counters.requests["INVITE"] += 3
    counters.requests["BYE"] += 1
    counters.responses["INVITE", 200] += 2
    counters.responses["INVITE", 503] += 1
    counters.retransmits += 4
    counters.dropped += 5
    counters.strangers["unread"] += 6
    lines = metrics.text().decode().splitlines()
    for line in (
        'gateway_sip_requests_total{method="BYE"} 1.0',
        'gateway_sip_requests_total{method="INVITE"} 3.0',
        'gateway_sip_responses_total{code="200",method="INVITE"} 2.0',
        'gateway_sip_responses_total{code="503",method="INVITE"} 1.0',
        "gateway_sip_retransmits_total 4.0",
        "gateway_sip_dropped_total 5.0",
        'gateway_sip_strangers_total{what="slowed"} 0.0',
        'gateway_sip_strangers_total{what="unread"} 6.0',
        'gateway_sip_strangers_total{what="unconnected"} 0.0',
        "# TYPE gateway_sip_requests_total counter",
    ):
        assert line in lines


def test_what_media_ports_did_not_hear_adds_up() -> None:
    metrics = Metrics()
    metrics.media_dropped({"forged": 2, "source": 1})
    metrics.media_dropped({"forged": 3, "source": 0})
    assert b'gateway_rtp_dropped_packets_total{why="forged"} 5.0' in metrics.text()
    assert b'gateway_rtp_dropped_packets_total{why="source"} 1.0' in metrics.text()


def test_what_went_wrong_on_peer_connections_adds_up() -> None:
    metrics = Metrics()
    metrics.peer_faults({"dropped_stun": 1})
    metrics.peer_faults({"dropped_stun": 2, "silent_servers": 1})
    assert b'gateway_webrtc_faults_total{what="dropped_stun"} 3.0' in metrics.text()
    assert b'gateway_webrtc_faults_total{what="silent_servers"} 1.0' in metrics.text()
