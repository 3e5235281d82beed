"""Prometheus metrics. Counted at the end of calls and read at scrapes: nothing on the media path.

Labels have few values by construction: never an id, a number or anything else a caller chooses.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

REASONS: Final = frozenset(
    (
        # The caller's side.
        *("remote_bye", "cancelled", "no_ack", "timeout", "transport", "refused", "leg_ended"),
        *("media_timeout", "session_expired", "unacceptable_media", "bad_answer"),
        "not_replaceable",
        # Of a peer connection.
        *("channel_closed", "peer_closed", "ice_failed", "dtls_failed"),
        # The Realtime server's side.
        *("backend_unavailable", "backend_format", "session_lost", "ring_timeout"),
        # The application's.
        *("no_decision", "rejected", "hangup", "transferred"),
        # Of calls that we make, before the INVITE.
        *("unknown_host", "unresolved", "unusable_host", "bad_target", "no_transport"),
        # Ours.
        *("full", "draining", "drain", "max_duration", "no_input", "idle", "no_media_port"),
        *("local_bye", "internal_error"),
    )
)
"""Every reason a call can end for; the runbook says what to do about each."""


class SipCounters(Protocol):
    """Totals of a SIP agent; the number of keys must be bounded."""

    @property
    def requests(self) -> Mapping[str, int]:
        """Received, by method."""

    @property
    def responses(self) -> Mapping[tuple[str, int], int]:
        """Sent, by method and status."""

    @property
    def retransmits(self) -> int: ...

    @property
    def dropped(self) -> int: ...

    @property
    def strangers(self) -> Mapping[str, int]:
        """Sources that were slowed or dropped, and their messages that were not read."""


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
        count = self._counter
        self._bargeins = count("gateway_bargeins", "Times a caller interrupted the voice.")
        self._rtp = count("gateway_rtp_packets", "RTP packets.", "direction")
        self._rtp_lost = count(
            "gateway_rtp_lost_packets", "RTP packets that callers sent and that never came."
        )
        self._rtp_dropped = count(
            "gateway_rtp_dropped_packets",
            "Packets at the media ports of phones that were not heard, counted when a call ends.",
            "why",
        )
        self._peers = count(
            "gateway_webrtc_faults",
            "What went wrong on peer connections, counted when it is known.",
            "what",
        )
        self._handovers = count(
            "gateway_session_handovers", "Realtime sessions that took over a call from another."
        )
        self._losses = count(
            "gateway_session_losses", "Realtime sessions that were lost in a call."
        )
        self._outage = count(
            "gateway_session_outage_seconds", "Time that calls were without a Realtime session."
        )
        self._count_registrations()
        self._gauge_trunks()
        self._gauge_certificates()

    def _count_registrations(self) -> None:
        self._registrations = self._counter(
            "gateway_registrations", "Answers to our REGISTERs, and what came instead.", "result"
        )
        self._registered = Gauge(
            "gateway_registry_up",
            "Whether the registrar's last word was yes.",
            ["registrar"],
            registry=self._registry,
        )

    def _gauge_trunks(self) -> None:
        gauge = partial(Gauge, labelnames=["trunk"], registry=self._registry)
        self._trunk_calls = gauge("gateway_trunk_calls", "Calls of ours that a trunk carries.")
        self._trunk_up = gauge("gateway_trunk_up", "Whether the trunk answers when it is asked.")
        self._trunk_refused: dict[str, Callable[[], float]] = {}
        self._registry.register(_Refused(self._trunk_refused))

    def _gauge_certificates(self) -> None:
        self._certificates = Gauge(
            "gateway_certificate_expires_seconds",
            "When a certificate of ours runs out, as a Unix time.",
            ["of"],
            registry=self._registry,
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self._registry)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def watch_sip(self, read: Callable[[], SipCounters]) -> None:
        """Add the totals of a SIP agent, which are read at each scrape."""
        self._registry.register(_Sip(read))

    def certificate(self, of: str, read: Callable[[], float]) -> None:
        """Add a certificate of ours, whose end is read at each scrape."""
        self._certificates.labels(of).set_function(read)

    def trunk(self, name: str, calls: Callable[[], float], refused: Callable[[], float]) -> None:
        """Add a trunk, whose load is read at each scrape."""
        self._trunk_calls.labels(name).set_function(calls)
        self._trunk_refused[name] = refused

    def probed(self, trunk: str, read: Callable[[], float]) -> None:
        """Add a trunk that is asked whether it is there; what it says is read at each scrape."""
        self._trunk_up.labels(trunk).set_function(read)

    def registered(self, registrar: str, read: Callable[[], float]) -> None:
        """Add a registration, whose state is read at each scrape."""
        self._registered.labels(registrar).set_function(read)

    def registration(self, result: str) -> None:
        """Count what came of an attempt to register."""
        self._registrations.labels(result).inc()

    def media_dropped(self, packets: Mapping[str, int]) -> None:
        """Count what a media port did not hear, by why."""
        for why, count in packets.items():
            self._rtp_dropped.labels(why).inc(count)

    def peer_faults(self, faults: Mapping[str, int]) -> None:
        """Count what went wrong on a peer connection."""
        for what, count in faults.items():
            self._peers.labels(what).inc(count)

    def call_ended(self, record: dict[str, Any]) -> None:
        """Count a call by its record."""
        reason = record["reason"] if record["reason"] in REASONS else "other"
        self._calls.labels(record["leg"], reason).inc()
        self._bargeins.inc(record["bargeins"])
        self._rtp.labels("received").inc(record["rtp_received"])
        self._rtp.labels("sent").inc(record["rtp_sent"])
        self._rtp_lost.inc(record["rtp_lost"])
        self._handovers.inc(record["handovers"])
        self._losses.inc(record["session_losses"])
        self._outage.inc(record["outage_s"])
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


class _Refused(Collector):
    """Trunks count by themselves too."""

    def __init__(self, read: Mapping[str, Callable[[], float]]) -> None:
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        refused = CounterMetricFamily(
            "gateway_trunk_refused", "Calls that were one too many for a trunk.", labels=["trunk"]
        )
        for name, read in self._read.items():
            refused.add_metric([name], read())
        yield refused


class _Sip(Collector):
    """The agent counts by itself; this only shows what it has counted."""

    def __init__(self, read: Callable[[], SipCounters]) -> None:
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        counters = self._read()
        requests = CounterMetricFamily(
            "gateway_sip_requests", "SIP requests received, copies included.", labels=["method"]
        )
        for method, count in sorted(counters.requests.items()):
            requests.add_metric([method], count)
        yield requests
        responses = CounterMetricFamily(
            "gateway_sip_responses",
            "SIP responses sent, copies not included.",
            labels=["method", "code"],
        )
        for (method, status), count in sorted(counters.responses.items()):
            responses.add_metric([method, str(status)], count)
        yield responses
        yield CounterMetricFamily(
            "gateway_sip_retransmits", "SIP messages sent again.", value=counters.retransmits
        )
        yield CounterMetricFamily(
            "gateway_sip_dropped",
            "SIP messages received that could be neither used nor answered.",
            value=counters.dropped,
        )
        strangers = CounterMetricFamily(
            "gateway_sip_strangers",
            "Sources that were slowed or dropped, messages of strangers that were not read, and "
            "connections that were not taken.",
            labels=["what"],
        )
        for what in ("slowed", "dropped", "unread", "unconnected"):
            strangers.add_metric([what], counters.strangers.get(what, 0))
        yield strangers
