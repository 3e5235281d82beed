"""Where a call stands; the picture is in `machine.py`."""

from enum import Enum, auto


class State(Enum):
    INCOMING = auto()
    RINGING = auto()
    CONNECTING = auto()
    ANSWERING = auto()
    DIALLING = auto()
    ACTIVE = auto()
    TRANSFERRING = auto()
    BRIDGED = auto()
    ENDED = auto()


UNDECIDED = (State.INCOMING, State.RINGING, State.CONNECTING)
ANSWERED = (State.ACTIVE, State.TRANSFERRING, State.BRIDGED)
