"""Prometheus metrics. Counted at the end of calls and read at scrapes: nothing on the media path.

Labels have few values by construction: never an id, a number or anything else a caller chooses.
"""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_REASONS = frozenset(
    "remote_bye local_bye cancelled refused no_ack timeout transport media_timeout session_lost "
    "max_duration ring_timeout backend_unavailable drain draining full unacceptable_media "
    "bad_offer rejected internal_error no_media_port".split()
)


class Metrics:
    """The process's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "gateway_calls",
            "Calls that ended, by leg and reason.",
            ["leg", "reason"],
            registry=self._registry,
        )
        self._duration = Histogram(
            "gateway_call_duration_seconds",
            "Time from answer to end of answered calls.",
            buckets=(1, 5, 15, 60, 180, 600, 1800, 3600),
            registry=self._registry,
        )
        self._setup = Histogram(
            "gateway_call_setup_seconds",
            "Time from the call's arrival to its answer.",
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self._registry,
        )
        self._response = Histogram(
            "gateway_call_response_seconds",
            "Median of a call's times from the end of the caller's turn to the first voice.",
            buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5),
            registry=self._registry,
        )
        self._mos = Histogram(
            "gateway_call_mos",
            "Estimated quality (ITU-T G.107) of what was received from callers.",
            buckets=(1, 2, 2.5, 3, 3.5, 3.8, 4, 4.2, 4.4),
            registry=self._registry,
        )
        self._bargeins = Counter(
            "gateway_bargeins", "Times a caller interrupted the voice.", registry=self._registry
        )
        self._rtp = Counter(
            "gateway_rtp_packets", "RTP packets.", ["direction"], registry=self._registry
        )
        self._rtp_lost = Counter(
            "gateway_rtp_lost_packets",
            "RTP packets that callers sent and that never came.",
            registry=self._registry,
        )

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def call_ended(self, record: dict[str, Any]) -> None:
        """Count a call by its record."""
        reason = record["reason"] if record["reason"] in _REASONS else "other"
        self._calls.labels(record["leg"], reason).inc()
        self._bargeins.inc(record["bargeins"])
        self._rtp.labels("received").inc(record["rtp_received"])
        self._rtp.labels("sent").inc(record["rtp_sent"])
        self._rtp_lost.inc(record["rtp_lost"])
        if record["duration_s"]:
            self._duration.observe(record["duration_s"])
        if record["setup_ms"] is not None:
            self._setup.observe(record["setup_ms"] / 1000)
        if record["response_ms_p50"] is not None:
            self._response.observe(record["response_ms_p50"] / 1000)
        if record["mos"] is not None:
            self._mos.observe(record["mos"])

    def text(self) -> bytes:
        """The exposition in Prometheus text format."""
        return generate_latest(self._registry)
