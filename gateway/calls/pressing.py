"""Keys that clients of a call have pressed, and how they are told what came of it."""

from gateway.calls.commands import check_digits, no_press
from gateway.calls.control import Controls
from gateway.calls.effects import PressKeys
from gateway.calls.tickets import Tickets
from gateway.legs.leg import KeysError, Leg
from gateway.realtime.errors import RealtimeError, error_event
from gateway.realtime.events import dtmf_sent
from gateway.upstream.ids import new_event_id


def press(asked: PressKeys, leg: Leg, tickets: Tickets, controls: Controls) -> None:
    """Press the keys, and tell whoever asked: a command by its ticket, a client by an event."""
    try:
        digits = _press(asked.digits, leg)
    except RealtimeError as error:
        if asked.ticket is not None:
            tickets.settle(asked.ticket, error)
            return
        event = error_event(error, event_id=new_event_id(), client_event_id=asked.client_event_id)
        controls.show(event, False)
        return
    if asked.ticket is not None:
        tickets.settle(asked.ticket, None)
    else:
        controls.show(dtmf_sent(digits, new_event_id()), True)


def _press(digits: object, leg: Leg) -> str:
    """Returns the keys as they are pressed. Raises RealtimeError."""
    keys = check_digits(digits, "digits")
    try:
        leg.press(keys)
    except KeysError as error:
        raise no_press(error.status, error.reason) from None
    return keys
