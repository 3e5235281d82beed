"""How one call speaks: its dialog, its requests, and its answers to those of the peer.

What the parts of a call share, so that each can be read alone.
"""

from collections.abc import Callable, Sequence

from gateway.sip.asking import Requests
from gateway.sip.compose import respond
from gateway.sip.deadlines import Deadline
from gateway.sip.dialog import Dialog
from gateway.sip.events import SipEvent
from gateway.sip.layer import OnOver, ServerTransaction
from gateway.sip.message import Request, Response
from gateway.sip.switchboard import Switchboard


class Voice:
    """The way out of a call, to the peer and to the application.

    `session` is the SDP of ours that was said last: what a refresh says again.
    """

    __slots__ = ("_dialog", "_on_move", "board", "id", "requests", "session")

    def __init__(
        self,
        board: Switchboard,
        dialog: Dialog,
        may_repeat: Callable[[Request], bool],
        on_idle: OnOver,
        on_move: Callable[[], None],
    ) -> None:
        """See `Requests`; `on_move` is told when the peer, or the way to it, may be elsewhere."""
        self.board = board
        self.id = dialog.local_tag
        self._on_move = on_move
        self._dialog = dialog
        dialog.on_move = on_move
        self.requests = Requests(board, may_repeat, on_idle)
        self.session = b""

    @property
    def dialog(self) -> Dialog:
        return self._dialog

    @dialog.setter
    def dialog(self, dialog: Dialog) -> None:
        self._dialog.on_move = None
        self._dialog = dialog
        dialog.on_move = self._on_move
        self._on_move()

    def tell(self, event: SipEvent) -> None:
        self.board.events.append(event)

    def contact(self) -> str:
        """The value of our Contact."""
        dialog = self.dialog
        flow, config = dialog.flow, self.board.config
        return config.contact(flow.transport, sips=dialog.is_sips, peer=flow.host)

    def respond(
        self,
        request: Request,
        transaction: ServerTransaction,
        status: int,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        reason: str | None = None,
        body: bytes = b"",
    ) -> Response:
        """Answer a request; `body` is SDP. Returns the answer."""
        response = respond(
            request,
            status,
            server=self.board.config.user_agent,
            tag=None if status == 100 else self.id,
            reason=reason,
            headers=headers,
            body=body,
        )
        transaction.answer(response, now)
        return response

    def come_again(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Refuse what came while its kind was under way (RFC 3261 section 14.2)."""
        seconds = str(int(self.board.fraction() * 11))
        self.respond(request, transaction, 500, now, (("Retry-After", seconds),))

    def later(self, seconds: float, due: Callable[[float], None], now: float) -> Deadline:
        return self.board.deadlines.set(now + seconds, due)

    def cancel(self, deadline: Deadline | None) -> None:
        if deadline is not None:
            self.board.deadlines.cancel(deadline)
