"""Tells the application of a call that has come in, and the log of how that went."""

import secrets
import time
from collections.abc import Callable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from gateway.calls.machine import CallMachine
from gateway.legs.leg import Leg
from gateway.upstream.webhook import Delivered, WebhookError
from gateway.webhooks.payload import incoming_call

_ID_BYTES = 16


class SendsWebhooks(Protocol):
    """Who brings messages to the application, each again and again while it is wanted."""

    def send(
        self,
        body: bytes,
        *,
        deadline: float | None,
        wanted: Callable[[], bool],
        done: Callable[[Delivered | WebhookError], None],
    ) -> None: ...


def announce(
    webhook: SendsWebhooks, call_id: str, leg: Leg, machine: CallMachine, log: FilteringBoundLogger
) -> None:
    """Send `realtime.call.incoming` until it is taken or nobody needs to hear of it any more.

    The outcome may come after the end of the call: an attempt is not cut short by that, because the
    receiver may be in the middle of deciding.
    """

    def done(outcome: Delivered | WebhookError) -> None:
        if isinstance(outcome, Delivered):
            log.info("webhook.delivered", attempts=outcome.attempts)
            return
        # Who decides within its handler has heard, whatever became of the answer.
        tell = log.info if machine.commanded else log.warning
        tell("webhook.failed", reason=str(outcome), attempts=outcome.attempts)

    body = incoming_call(
        event_id=f"evt_{secrets.token_hex(_ID_BYTES)}",
        created_at=int(time.time()),
        call_id=call_id,
        headers=leg.headers,
        media_security=leg.media_security,
    )
    webhook.send(
        body, deadline=machine.next_timeout(), wanted=lambda: machine.awaits_word, done=done
    )
