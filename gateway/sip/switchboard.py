"""What the calls of one agent share."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.sip.config import SipConfig
from gateway.sip.deadlines import Deadlines
from gateway.sip.events import SipEvent
from gateway.sip.layer import TransactionLayer
from gateway.sip.outbox import Outbox
from gateway.sip.peers import Peers

if TYPE_CHECKING:
    from gateway.sip.call import Call


class Switchboard:
    """The calls, and everything they work with."""

    def __init__(self, config: SipConfig, token: Callable[[], str]) -> None:
        self.config = config
        self.token = token
        self.deadlines = Deadlines()
        self.outbox = Outbox()
        self.transactions = TransactionLayer(config, self.outbox, self.deadlines, token)
        self.events: list[SipEvent] = []
        self.calls: dict[str, Call] = {}
        """By dialog id, which is our tag in the dialog."""
        self.callees = Peers()
        """Where our calls went, and go; not once they are over."""
        self.callers = Peers()
        """Where those who called us were last heard."""

    def fraction(self) -> float:
        """A random number from 0 to just below 1, made of a token."""
        return int(self.token()[:8], 16) / 0x1_0000_0000
