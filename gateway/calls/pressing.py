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
    error = _press(asked.digits, leg)
    if asked.ticket is not None:
        tickets.settle(asked.ticket, error)
    elif error is None:
        controls.show(dtmf_sent(str(asked.digits), new_event_id()), True)
    else:
        event = error_event(error, event_id=new_event_id(), client_event_id=asked.client_event_id)
        controls.show(event, False)


def _press(digits: object, leg: Leg) -> RealtimeError | None:
    try:
        leg.press(check_digits(digits, "digits"))
    except RealtimeError as error:
        return error
    except KeysError as error:
        return no_press(error.status, error.reason)
    return None
