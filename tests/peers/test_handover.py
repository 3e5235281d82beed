"""Calls that outlive their sessions: one whose session expires again and again, and some whose
server is killed in mid-sentence.

The agent's voice is a tone, so a capture shows exactly which of it was heard.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from tests.peers.audio import mulaw
from tests.peers.backend import VOICELESS, BackendProcess, sound
from tests.peers.followed import FollowedCall, audio_of, logged_s, stretches
from tests.peers.gateway import GatewayProcess, LogLine
from tests.peers.media import FRAME_BYTES, SILENCE, Packet
from tests.peers.test_baresip import prompt

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CALL_S = float(os.environ.get("HANDOVER_CALL_S", "0"))
"""How long the call lasts at least; 180 for a long one."""
LIMIT_S = float(os.environ.get("HANDOVER_LIMIT_S", "4"))
"""How long a session may live; 20 for a long call."""
HANDOVERS = 9
FRAME_MS = 20
MOST_GAP_FRAMES = 2
"""40 ms."""

GREETING = "Welcome"
KEYS_ACROSS = "One and two are a number across two sessions"
KEY_AFTER = "Seven came when the handover was just over"
SPEECH = "Yes"
DIALOGUE = f"""
start = "line"
otherwise = "There is nothing new to be said about that"
[states.line]
say = "{GREETING}"
[[on]]
dtmf = "12"
say = "{KEYS_ACROSS}"
[[on]]
dtmf = "7"
say = "{KEY_AFTER}"
[[on]]
any_speech = true
say = "{SPEECH}"
"""
TURNS = {"type": "server_vad", "silence_duration_ms": 300}
SESSION = json.dumps({"type": "realtime", "audio": {"input": {"turn_detection": TURNS}}})


class HandedOver:
    """A call that does something at each handover, and waits for what comes of it."""

    def __init__(self, call: FollowedCall, words: bytes) -> None:
        self.call = call
        self.answers = [GREETING]
        """What the agent has to have said, in order."""
        self.stops_ms: list[float] = []
        """How long after what interrupted it the voice was last heard."""
        self._words = words
        self._handovers = 0

    @property
    def resumed(self) -> list[LogLine]:
        return self.call.log("session.resumed")

    # What is done at a handover.

    def keys_across(self) -> None:
        """A number is pressed, the first key before and the others after."""
        self._until_before(0.3)
        self.call.phone.press("1")
        self._until_after()
        self._press("2#", KEYS_ACROSS)

    def speech_across(self) -> None:
        """Words that begin before it interrupt the voice."""
        self._have_it_speak()
        self._until_before(0.04)
        began_s = time.time()
        self.call.say(self._words)
        assert began_s < logged_s(self._until_after())
        self._interrupted("speech", began_s)
        self._spoken_to()

    def speech_after(self) -> None:
        self._have_it_speak()
        self._until_after()
        began_s = time.time()
        self.call.say(self._words)
        self._interrupted("speech", began_s)
        self._spoken_to()

    def key_after(self) -> None:
        self._have_it_speak()
        self._until_after()
        began_s = time.time()
        self._press("7", KEY_AFTER)
        self._interrupted("dtmf", began_s)
        self.call.phone.press("#")

    def nothing(self) -> None:
        """The voice goes on and is heard to its end."""
        self._have_it_speak()
        self._until_after()
        self.call.until("output_audio_buffer.stopped", response_id=self._latest())

    # The moments of a handover.

    def _renewal_s(self) -> float:
        """When the gateway opens the next session, as Unix time; see `gateway.calls.continuity`."""
        shown = [*self.call.events("session.created"), *self.call.events("session.updated")]
        expires_s = float(shown[-1]["session"]["expires_at"])
        left_s = expires_s - logged_s(self.call.log("session.connected")[-1])
        return expires_s - min(max(left_s / 10, 2), left_s / 2)

    def _until_before(self, lead_s: float) -> None:
        """Wait until so long before the next handover for which there is still the time."""
        while (wait_s := self._renewal_s() - lead_s - time.time()) < 0:
            self._until_after()
        time.sleep(wait_s)

    def _until_after(self) -> LogLine:
        self._handovers += 1
        at_most_s = LIMIT_S + 5
        self.call.wait(lambda: len(self.resumed) >= self._handovers, "handover", at_most_s)
        self.call.until("session.updated", self._handovers)
        return self.resumed[self._handovers - 1]

    # Parts of the above.

    def _press(self, keys: str, answer: str) -> None:
        for key in keys:
            self.call.phone.press(key)
        self.answers.append(answer)

    def _have_it_speak(self) -> None:
        """Have a voice that will be heard across the next handover, if there is none."""
        self.call.until("response.output_audio_transcript.done", len(self.answers))
        started = len(self.call.events("output_audio_buffer.started"))
        if self.call.events("output_audio_buffer.stopped", response_id=self._latest()) or (
            started == len(self.answers) and self._renewal_s() - time.time() > 2.2
        ):
            self._until_before(2.0)
            self._press("7#", KEY_AFTER)
        self.call.until("output_audio_buffer.started", len(self.answers))

    def _latest(self) -> str:
        """The response that was last heard to begin."""
        return str(self.call.events("output_audio_buffer.started")[-1]["response_id"])

    def _interrupted(self, cause: str, began_s: float) -> None:
        """The voice that was heard across the handover stops at once, and the session after it
        knows how much of it was heard."""
        call = self.call
        count = len(call.log("bargein.cleared"))
        call.wait(lambda: len(cuts()) > 0, "interruption")

        def cuts() -> list[LogLine]:
            lines = call.log("bargein.cleared")
            return [line for line in lines if logged_s(line) > began_s]

    def _spoken_to(self) -> None:
        """The words are answered."""
        self.answers.append(SPEECH)
        self.call.until("output_audio_buffer.started", len(self.answers))
        self.call.until("output_audio_buffer.stopped", response_id=self._latest())
