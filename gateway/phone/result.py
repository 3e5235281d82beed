"""What came of a call, and what it means. Pure.

Only facts are stored: moments, packets, counters. Everything that is asked of a call is worked out
from them here, so that the timeline, the JSON and the tests cannot disagree.
"""

from dataclasses import dataclass
from typing import Any

from gateway.phone.listener import PAUSE_S, ReceivedPacket, Stretch
from gateway.phone.timeline import Moment
from gateway.rtp.session import RtpStats
from gateway.sdp.plan import AudioCodec
from gateway.sip.compose import reason_of

_BUSY = (486, 600)


@dataclass(frozen=True, slots=True)
class CallResult:
    """A finished call. Times are seconds since the INVITE."""

    uri: str
    codec: AudioCodec | None
    """None: never agreed on."""
    status: int | None
    """The final SIP status of the INVITE, if there was one."""
    end_reason: str
    """local_bye, remote_bye: hung up by us, by the far end. refused: with `status`. no_answer: it
    rang for too long. cancelled: given up by us. timeout: no response at all. transport: could not
    be reached. bad_sdp: the far end's description cannot be used."""
    ended_s: float
    timeline: tuple[Moment, ...]
    voice: tuple[Stretch, ...]
    """When the far end sounded."""
    received: tuple[ReceivedPacket, ...]
    """Its audio packets."""
    rtp: RtpStats | None
    """None: media never began."""

    @property
    def ok(self) -> bool:
        """Answered, and a voice came back."""
        return self.answered and self.first_audio_s is not None

    @property
    def answered(self) -> bool:
        return self.setup_s is not None

    @property
    def ringing_s(self) -> float | None:
        return self._first("ringing")

    @property
    def setup_s(self) -> float | None:
        """When the call was answered."""
        return self._first("answered")

    @property
    def first_audio_s(self) -> float | None:
        """When the far end's voice was first heard; silence does not count."""
        return self.voice[0].start_s if self.voice else None

    @property
    def digits(self) -> str:
        """The keys that were sent."""
        return "".join(moment.detail for moment in self._all("digit"))

    @property
    def spoke_s(self) -> float | None:
        """When our own speech began, interrupting or not."""
        began = self._first("speaking")
        return self.interrupted_s if began is None else began

    @property
    def interrupted_s(self) -> float | None:
        """When the first packet of the interruption was sent."""
        return self._first("interrupting")

    @property
    def voice_stopped_s(self) -> float | None:
        """When the last packet of the interrupted voice arrived.

        None if nothing was interrupted: nothing was said, the far end was already silent, or it
        went on to the end of the call.
        """
        interrupted_s = self.interrupted_s
        if interrupted_s is None:
            return None
        for stretch in self.voice:
            if stretch.start_s <= interrupted_s <= stretch.end_s + PAUSE_S:
                return stretch.end_s if stretch.stopped else None
        return None

    @property
    def stop_latency_s(self) -> float | None:
        """From the first packet of the interruption to the last one of the interrupted voice.

        0 if the voice happened to pause and did not go on.
        """
        stopped_s, interrupted_s = self.voice_stopped_s, self.interrupted_s
        if stopped_s is None or interrupted_s is None:
            return None
        return max(stopped_s - interrupted_s, 0.0)

    @property
    def error(self) -> str | None:
        """Why the call was not `ok`, in plain words."""
        if self.ok:
            return None
        if self.answered:
            return f"no audio: {self._silence()}"
        status = "" if self.status is None else f"{self.status} {reason_of(self.status)}"
        match self.end_reason:
            case "refused" if self.status in _BUSY:
                return f"busy ({status})"
            case "refused":
                return f"refused ({status})"
            case "no_answer":
                return f"no answer after {self.ended_s:.0f} s"
            case "timeout":
                return f"no response from {self.uri}"
            case "transport":
                return f"{self.uri} cannot be reached"
        return "given up before it was answered"

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data. The keys are stable: scripts rely on them.

        Every `..._ms` is a time in milliseconds since the INVITE, null if it did not happen, except
        `stop_latency_ms` and `jitter_ms`, which are durations.

        ok, error: whether a voice came back, and if not, why, in words.
        uri, answered, status, end_reason, codec: as the attributes of the same names.
        ringing_ms, setup_ms, first_audio_ms, ended_ms: first ringing, the answer, the far end's
            first voice, the end.
        digits, digits_ms: the keys that were sent and when each one began.
        spoke_ms: when we began to speak. interrupted_at_ms: the same, if it was to interrupt.
        voice_stopped_ms, stop_latency_ms: when the interrupted voice was last heard, and how long
            that was after the interruption's first packet.
        voice_ms: pairs of first and last packet of each stretch of the far end's voice.
        rtp: packets sent, received, lost, late, duplicate; jitter_ms.
        timeline: moments in order, each with at_ms, event and detail (see `Moment`).
        """
        return {
            "ok": self.ok,
            "error": self.error,
            "uri": self.uri,
            "answered": self.answered,
            "status": self.status,
            "end_reason": self.end_reason,
            "codec": self.codec,
            "ringing_ms": _ms(self.ringing_s),
            "setup_ms": _ms(self.setup_s),
            "first_audio_ms": _ms(self.first_audio_s),
            "digits": self.digits,
            "digits_ms": [_ms(moment.at_s) for moment in self._all("digit")],
            "spoke_ms": _ms(self.spoke_s),
            "interrupted_at_ms": _ms(self.interrupted_s),
            "voice_stopped_ms": _ms(self.voice_stopped_s),
            "stop_latency_ms": _ms(self.stop_latency_s),
            "voice_ms": [[_ms(part.start_s), _ms(part.end_s)] for part in self.voice],
            "ended_ms": _ms(self.ended_s),
            "rtp": self._rtp_json(),
            "timeline": [
                {"at_ms": _ms(moment.at_s), "event": moment.event, "detail": moment.detail}
                for moment in self.timeline
            ],
        }

    def _rtp_json(self) -> dict[str, Any]:
        rtp = self.rtp
        return {
            "sent": 0 if rtp is None else rtp.sent,
            "received": 0 if rtp is None else rtp.received,
            "lost": 0 if rtp is None else rtp.lost,
            "late": 0 if rtp is None else rtp.late,
            "duplicate": 0 if rtp is None else rtp.duplicate,
            "jitter_ms": 0.0 if rtp is None else round(rtp.jitter_ms, 2),
        }

    def _silence(self) -> str:
        if self.end_reason == "bad_sdp":
            return "the far end's description cannot be used"
        count = 0 if self.rtp is None else self.rtp.received
        return f"{count} packets came, no voice in them" if count else "no packet came"

    def _all(self, event: str) -> list[Moment]:
        return [moment for moment in self.timeline if moment.event == event]

    def _first(self, event: str) -> float | None:
        return next((moment.at_s for moment in self.timeline if moment.event == event), None)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
