"""REFER from the peer: we are asked to call somebody, and report what comes of it (RFC 3515).

A 202 opens a subscription, of which the NOTIFYs are ours: at once one that says 100, then what the
target answers, the last with the state "terminated". Who wants no reports says so (RFC 4488). The
subscription ends with the call, or after a while.
"""

from dataclasses import dataclass
from functools import partial

from gateway.sip.compose import reason_of, sequence_number
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import MAX_TARGET_CHARS
from gateway.sip.events import ReferReceived
from gateway.sip.headers import name_addrs
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Address, Request, Response
from gateway.sip.voice import Voice

MAX_OPEN = 4
"""So many at a time; more are told to come again."""
SUBSCRIPTION_S = 180
REPORT = "message/sipfrag;version=2.0"


@dataclass(slots=True)
class AskedRefer:
    """One of them."""

    id: str
    """The number in its CSeq, which is also the id in the Event of its reports."""
    request: Request
    transaction: ServerTransaction
    wants_reports: bool
    is_agreed: bool = False
    limit: Deadline | None = None
    """For our answer, then for the subscription."""
    until: float = 0.0


class AskedRefers:
    """Those of one call."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._refers: dict[str, AskedRefer] = {}

    def heard(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Take a new one."""
        voice = self._voice
        target = _target_of(request)
        if target is None:
            voice.respond(request, transaction, 400, now, reason="Malformed Refer-To Header")
        elif len(self._refers) >= MAX_OPEN:
            voice.come_again(request, transaction, now)
        else:
            wants = (request.headers.get("Refer-Sub") or "").partition(";")[0].strip(" ")
            number = str(sequence_number(request))
            refer = AskedRefer(number, request, transaction, wants.lower() != "false")
            self._refers[number] = refer
            # As long as the peer waits; the application should have answered at once.
            patience_s = 32 * voice.board.config.t1
            refer.limit = voice.later(patience_s, partial(self.answer, number, 603), now)
            headers = tuple(request.headers.items())
            voice.tell(ReferReceived(voice.id, number, target, headers))

    def answer(self, refer_id: str, status: int, now: float) -> None:
        """Agree or refuse."""
        refer = self._refers.get(refer_id)
        if refer is None or refer.is_agreed:
            return
        voice = self._voice
        voice.cancel(refer.limit)
        if status >= 300:
            del self._refers[refer_id]
            voice.respond(refer.request, refer.transaction, status, now)
            return
        refer.is_agreed = True
        declined = () if refer.wants_reports else (("Refer-Sub", "false"),)
        headers = (("Contact", voice.contact()), *declined)
        voice.respond(refer.request, refer.transaction, 202, now, headers)
        if refer.wants_reports:
            refer.until = now + SUBSCRIPTION_S
            refer.limit = voice.later(SUBSCRIPTION_S, partial(self._expired, refer), now)
            self._notify(refer, 100, "", now)
        else:
            del self._refers[refer_id]

    def report(self, refer_id: str, status: int, over: bool, now: float) -> None:
        """Tell how it goes."""
        refer = self._refers.get(refer_id)
        if refer is None or not refer.is_agreed:
            return
        if over:
            self._forget(refer)
        self._notify(refer, status, "noresource" if over else "", now)

    def stop(self, now: float) -> None:
        """The call is over."""
        for refer in list(self._refers.values()):
            self._forget(refer)
            if not refer.is_agreed:
                self._voice.respond(refer.request, refer.transaction, 487, now)

    def _notify(self, refer: AskedRefer, status: int, end: str, now: float) -> None:
        voice = self._voice
        left_s = max(0, round(refer.until - now))
        notify = voice.dialog.request("NOTIFY")
        for name, value in (
            ("Contact", voice.contact()),
            ("Event", f"refer;id={refer.id}"),
            (
                "Subscription-State",
                f"terminated;reason={end}" if end else f"active;expires={left_s}",
            ),
            ("Content-Type", REPORT),
        ):
            notify.headers.add(name, value)
        notify.body = f"SIP/2.0 {status} {reason_of(status)}\r\n".encode()
        voice.requests.send(
            notify,
            voice.dialog,
            now,
            on_response=partial(self._heard, refer),
            on_failure=partial(self._failed, refer),
        )

    def _expired(self, refer: AskedRefer, now: float) -> None:
        self._forget(refer)
        self._notify(refer, 100, "timeout", now)

    def _heard(self, refer: AskedRefer, response: Response, source: Address, now: float) -> None:
        if response.status >= 300:  # nobody listens (RFC 6665 section 4.2.2)
            self._forget(refer)

    def _failed(self, refer: AskedRefer, cause: str, now: float) -> None:
        self._forget(refer)

    def _forget(self, refer: AskedRefer) -> None:
        self._voice.cancel(refer.limit)
        self._refers.pop(refer.id, None)


def _target_of(request: Request) -> str | None:
    """The URI of Refer-To; None unless there is exactly one, of a length that we follow."""
    try:
        (target,) = name_addrs(request.headers, "Refer-To")
    except ValueError:
        return None
    return target.uri if len(target.uri) <= MAX_TARGET_CHARS else None
