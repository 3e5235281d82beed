"""What an agent tells its application. Every event names its dialog.

A dialog's events come in order; `CallEnded` comes exactly once and last.
"""

from dataclasses import dataclass

from gateway.sip.message import Address


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """Somebody calls. Answer with ring, accept, reject or hang_up."""

    dialog_id: str
    call_id: str
    """The SIP Call-ID."""
    from_uri: str
    to_uri: str
    request_uri: str
    headers: tuple[tuple[str, str], ...]
    """Of the INVITE, in order, as spelled."""
    offer: bytes | None
    """SDP; None asks us to offer in `accept` (late offer)."""
    source: Address
    replaces: str = ""
    """The dialog of ours whose place this call is to take (RFC 3891); "" in a call like any other.
    That the caller may is the application's to judge."""


@dataclass(frozen=True, slots=True)
class Ringing:
    """Our call made progress: a provisional response but 100."""

    dialog_id: str
    status: int
    body: bytes | None
    """SDP of early media, if any. Of a call that was forked it may be anybody's."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The call is up.

    Called: the ACK arrived; `body` is the answer to a late offer, else None.
    Calling: the 2xx arrived; `body` is its SDP: the answer, or the offer which `ack` answers. If it
    has none, it is what the same callee said before (RFC 3262 section 5, RFC 3311).
    """

    dialog_id: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Reoffer:
    """The peer wants to change the session. Reply with answer_offer or refuse_offer."""

    dialog_id: str
    offer: bytes | None
    """None asks us to offer in `answer_offer`; the answer then comes as `Reanswered`."""


@dataclass(frozen=True, slots=True)
class Reanswered:
    """The outcome of an offer of ours inside the dialog."""

    dialog_id: str
    status: int
    """2xx: agreed. Anything else: the session stays as it was."""
    body: bytes | None
    """The SDP answer."""


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """The peer sent a key press in an INFO, which is answered already."""

    dialog_id: str
    content_type: str
    """In lower case, without parameters: application/dtmf-relay or application/dtmf."""
    body: bytes
    """Of any form."""


@dataclass(frozen=True, slots=True)
class InfoAnswered:
    """What the peer says to an INFO of ours; comes once for each."""

    dialog_id: str
    status: int
    """408 also stands for silence, 503 for a peer that cannot be reached."""


@dataclass(frozen=True, slots=True)
class ReferReceived:
    """The peer asks us to call somebody (RFC 3515). Reply with answer_refer, at once.

    After a 2xx tell what becomes of it by report_refer.
    """

    dialog_id: str
    refer_id: str
    """Names it among the REFERs of its dialog."""
    target_uri: str
    """Of Refer-To, of any scheme; its headers may hold an escaped Replaces."""
    headers: tuple[tuple[str, str], ...]
    """Of the REFER, in order, as spelled."""


@dataclass(frozen=True, slots=True)
class ReferAnswered:
    """What the peer says to a REFER of ours.

    Comes once for each, before its `ReferProgress`, unless another REFER took its place before.
    """

    dialog_id: str
    status: int
    """2xx: it tries, and reports as `ReferProgress`; a report that comes before the answer is taken
    for 202. 408 also stands for silence, 503 for a peer that cannot be reached. After 481 the
    dialog is over: `CallEnded` follows."""


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """The peer reports what became of our REFER (RFC 3515 section 2.4.4)."""

    dialog_id: str
    status: int | None
    """Of what it heard from the target: 1xx on the way, 2xx reached, else failed. None when the
    report cannot be read."""
    over: bool
    """Whether this was the last report."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over, whatever the reason; the dialog_id is dead."""

    dialog_id: str
    cause: str
    """remote_bye: the peer hung up. local_bye: we did. cancelled: given up before an answer, by
    the caller. rejected: by us, with `status`. refused: by the peer, with `status`. no_ack: the
    peer never acknowledged our answer. timeout: the peer was not heard, or the call's Expires
    passed. transport: it could not be reached. session_expired: nobody refreshed the session in
    time (RFC 4028)."""
    status: int | None
    """The final SIP status that ended it, where there was one."""
    contacts: tuple[str, ...] = ()
    """Where else a 3xx says that the callee may be reached: sip, sips and tel URIs, the most
    wanted first, no more than 8."""


SipEvent = (
    IncomingCall
    | Ringing
    | Answered
    | Reoffer
    | Reanswered
    | InfoReceived
    | InfoAnswered
    | ReferReceived
    | ReferAnswered
    | ReferProgress
    | CallEnded
)
