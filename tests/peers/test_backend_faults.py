"""What a caller notices when the Realtime server fails: each fault has its outcome, and none of
them costs an answered call.

All calls are placed at once, through one gateway, to one server that fails by plan: one fault for
each connection. When all callers are answered, the application asks for a line in each call, and
the fault strikes in the middle of it. Then each caller presses a key, which must be answered.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.peers.backend import BackendProcess, Fault, sound
from tests.peers.followed import FollowedCall, audio_of
from tests.peers.gateway import GatewayProcess, LogLine, eventually
from tests.peers.media import FRAME_BYTES, SILENCE, Phone
from tests.peers.wire import Caller, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

LINE = "This is a line of some length that is said when it is asked for"
AGAIN = "There is nothing new to be said about that"
ANSWER = "Yes"
DIALOGUE = f"""
start = "line"
otherwise = "{AGAIN}"
[states.line]
say = "{LINE}"
[[on]]
dtmf = "1"
say = "{ANSWER}"
"""
CONNECT_TIMEOUT_S = 1.5
DELTA: Final = "response.output_audio.delta"
PIECE = FRAME_BYTES * 10
"""The audio of one delta: 200 ms."""
STRUCK = 5
"""The delta that is struck."""


def at(event: str, do: str, n: int = 1, **more: object) -> Fault:
    return {"at": event, "n": n, "do": do, **more}


def speaking(do: str, **more: object) -> Fault:
    """In mid-sentence."""
    return at(DELTA, do, STRUCK, **more)


def pieces(*numbers: int) -> bytes:
    """Pieces of the line, counted from 1."""
    audio = sound(LINE)
    return b"".join(audio[PIECE * (number - 1) : PIECE * number] for number in numbers)


WHOLE = sound(LINE)
BEGUN = pieces(*range(1, STRUCK)) + sound(AGAIN)
"""What had come of the line, and what the next session has to say."""
LAST = -(-len(WHOLE) // PIECE)


def but(*swapped: int) -> bytes:
    """The line with these pieces in the place of as many in the middle."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault leads to."""

    fault: Fault
    heard: bytes = WHOLE
    lost: str = ""
    """Why the session was lost, and replaced by another; "" if it was not."""
    garbage: int = 0
    """Messages that are no events; they are logged and passed over."""
    error: str = ""
    """The code of an error that is logged, and shown to the application."""
    answer: str = ANSWER


OUTCOMES = {
    # The connection ends: another session takes over, and says what the caller is owed.
    "dropped": Outcome(speaking("drop"), BEGUN, "closed with code 1006"),
}
