"""REFER: asking the peer to call somebody else, and hearing what comes of it (RFC 3515).

A 2xx to a REFER says no more than that the peer tries. It opens a subscription, the end of which
is not negotiated: the peer reports in NOTIFYs, each with the status line of what the target said
to it (message/sipfrag, RFC 3420), until one says that it was the last. The reports may overtake the
2xx.

Several REFERs in one dialog are told apart by the `id` of the Event header, the CSeq number of the
REFER. A peer that gives none means the latest. Only that one counts: whoever asks anew, answered or
not, wants to hear no more of what was asked before.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.sip.asking import Asking, Requests
from gateway.sip.compose import sequence_number
from gateway.sip.dialog import MAX_TARGET_CHARS, Dialog
from gateway.sip.events import ReferProgress
from gateway.sip.headers import media_type
from gateway.sip.message import TOKEN, Address, Headers, Request, Response
from gateway.sip.screening import Refusal
from gateway.sip.switchboard import Switchboard
from gateway.sip.uri import NameAddr, UriError, find_param, parse_params

PACKAGE = "refer"
REPORT = "message/sipfrag"
MAX_EARLIER = 8
"""So many REFERs of a dialog are remembered, for their late reports."""

_STATUS_LINE = re.compile(rb"[\r\n]*+SIP/2\.0 ([1-6][0-9]{2})(?![0-9A-Za-z])", re.I)


def reported_status(body: bytes) -> int | None:
    """The status of a sipfrag that begins with a status line, else None. Takes any bytes."""
    match = _STATUS_LINE.match(body)
    return None if match is None else int(match[1])


@dataclass(slots=True)
class OwnRefer:
    """One REFER of ours."""

    number: str
    """Of its CSeq."""
    asking: Asking | None = None
    is_answered: bool = False
    is_over: bool = False
    """The last report has come, or another REFER took its place."""


class OwnRefers:
    """The REFERs of one call.

    `on_answer(status, now)` is called once for each, before reports, unless another one took its
    place before.
    """

    __slots__ = ("_board", "_dialog_id", "_on_answer", "_refers", "_requests")

    def __init__(
        self,
        board: Switchboard,
        requests: Requests,
        dialog_id: str,
        on_answer: Callable[[int, float], None],
    ) -> None:
        self._board = board
        self._requests = requests
        self._dialog_id = dialog_id
        self._on_answer = on_answer
        self._refers: list[OwnRefer] = []  # that the peer may report about, the latest last

    def send(self, dialog: Dialog, contact: str, target: Headers, now: float) -> None:
        """Send the next one, in the place of those before; `target` is its Refer-To header."""
        request = dialog.request("REFER")
        request.headers.add("Contact", contact)
        ours = NameAddr.parse(dialog.local).uri
        if len(ours) <= MAX_TARGET_CHARS:
            request.headers.add("Referred-By", f"<{ours}>")  # RFC 3892
        for name, value in target.items():
            request.headers.add(name, value)
        refer = OwnRefer(str(sequence_number(request)))
        refer.asking = self._requests.send(
            request,
            dialog,
            now,
            on_response=partial(self._heard, refer),
            on_failure=partial(self._failed, refer),
            on_repeat=partial(self._repeated, refer),
        )
        for earlier in self._refers:
            earlier.is_over = True
            # Said again, or with a proof, it might be done after all.
            if earlier.asking is not None:
                self._requests.withdraw(earlier.asking, now)
        self._refers = [*self._refers[-MAX_EARLIER:], refer]

    def notified(self, notify: Request, now: float) -> Refusal | None:
        """Take a NOTIFY of the dialog; None if it is to be answered 200."""
        package, number = _event_of(notify)
        if package != PACKAGE:
            return Refusal(489, (("Allow-Events", PACKAGE),))
        state = (notify.headers.get("Subscription-State") or "").partition(";")[0].strip(" ")
        if not TOKEN.fullmatch(state):
            return Refusal(400, reason="Missing Or Malformed Subscription-State Header")
        refer = self._refer_of(number)
        if refer is None:
            return Refusal(481)
        is_readable = not notify.body or _is_report(notify)
        if not refer.is_over:
            refer.is_over = state.lower() == "terminated"
            # Whoever reports has agreed, though its answer be lost or late (RFC 6665 section
            # 4.1.2.4).
            self._answered(refer, 202, now)
            status = reported_status(notify.body) if is_readable else None
            self._board.events.append(ReferProgress(self._dialog_id, status, refer.is_over))
        # What the state says is told in any case: it may be the last that is heard.
        return None if is_readable else Refusal(415, (("Accept", REPORT),))

    def _refer_of(self, number: str | None) -> OwnRefer | None:
        for refer in reversed(self._refers):
            if number in (None, refer.number):
                return refer
        return None

    def _repeated(self, refer: OwnRefer, request: Request) -> None:
        refer.number = str(sequence_number(request))

    def _heard(self, refer: OwnRefer, response: Response, source: Address, now: float) -> None:
        if response.status >= 200:
            self._answered(refer, response.status, now)

    def _failed(self, refer: OwnRefer, cause: str, now: float) -> None:
        # Section 8.1.3.1: silence counts as 408, an unreachable peer as 503.
        self._answered(refer, 408 if cause == "timeout" else 503, now)

    def _answered(self, refer: OwnRefer, status: int, now: float) -> None:
        if refer.is_answered:
            return
        refer.is_answered = True
        if status >= 300:
            self._refers.remove(refer)
        self._on_answer(status, now)


def _event_of(notify: Request) -> tuple[str, str | None]:
    """Package and id of the Event header; ("", None) without one that can be read."""
    package, semicolon, params = (notify.headers.get("Event") or "").partition(";")
    try:
        number = find_param(parse_params(semicolon + params), "id")
    except UriError:
        return "", None
    return package.strip(" ").lower(), number


def _is_report(notify: Request) -> bool:
    encoding = (notify.headers.get("Content-Encoding") or "identity").lower()
    return media_type(notify.headers.get("Content-Type") or "") == REPORT and encoding == "identity"
