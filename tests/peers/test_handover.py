"""A call that outlives its sessions, which expire again and again: nobody notices.

The agent's voice is a tone, so a capture shows exactly which of it was heard.
"""

import json
import os
import time
from itertools import cycle
from pathlib import Path

import pytest

from tests.ahead import early
from tests.peers.audio import mulaw
from tests.peers.backend import VOICELESS, sound
from tests.peers.followed import (
    FollowedCall,
    assert_rtp_never_stopped,
    logged_s,
    stretches,
)
from tests.peers.gateway import GatewayProcess, LogLine
from tests.peers.media import SILENCE, Packet, frames
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

A_WORD_MS = 500

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
        """From each interruption to the last frame of the voice."""
        self.handovers = 0
        """Those that were waited for."""
        self._words = words

    # What is done at a handover.

    def keys_across(self) -> None:
        """A number is pressed, the first key before and the others after."""
        self._until_before(0.3)
        self.call.press("1")
        self.until_after()
        self.call.press("2#")
        self._asked(KEYS_ACROSS)

    def speech_across(self) -> None:
        """Words that begin before it interrupt the voice."""
        self._have_it_speak()
        self._until_before(0.04)
        began_s = time.time()
        self.call.say(self._words)
        assert began_s < logged_s(self.until_after())
        self._interrupted(began_s)
        self._spoken_to()

    def speech_after(self) -> None:
        self._have_it_speak()
        self.until_after()
        began_s = time.time()
        self.call.say(self._words)
        self._interrupted(began_s)
        self._spoken_to()

    def key_after(self) -> None:
        self._have_it_speak()
        self.until_after()
        began_s = time.time()
        self.call.press("7")
        self._interrupted(began_s)
        self.call.press("#")
        self._asked(KEY_AFTER)

    def nothing(self) -> None:
        """The voice goes on and is heard to its end."""
        self._have_it_speak()
        self.until_after()
        self.call.until("output_audio_buffer.stopped", response_id=self._latest())

    # The moments of a handover.

    def until_after(self) -> LogLine:
        """Wait until just after the next one."""
        call = self.call
        self.handovers += 1
        call.wait(lambda: len(self._resumed()) >= self.handovers, "handover", LIMIT_S + 5)
        call.until("session.updated", self.handovers)
        return self._resumed()[self.handovers - 1]

    def _until_before(self, lead_s: float) -> None:
        """Wait until so long before the next one, if there is the time, else before another."""
        while (wait_s := self._renewal_s() - lead_s - time.time()) < 0:
            self.until_after()
        time.sleep(wait_s)

    def _renewal_s(self) -> float:
        """When the gateway opens the next session, as Unix time; see `gateway.calls.continuity`."""
        shown = [*self.call.events("session.created"), *self.call.events("session.updated")]
        expires_s = float(shown[-1]["session"]["expires_at"])
        left_s = expires_s - logged_s(self.call.log("session.connected")[-1])
        return expires_s - min(max(left_s / 10, 2), left_s / 2)

    def _resumed(self) -> list[LogLine]:
        return self.call.log("session.resumed")

    # What is said.

    def _asked(self, answer: str) -> None:
        """Wait until the voice begins that answers this way."""
        self.answers.append(answer)
        self.call.until("output_audio_buffer.started", len(self.answers))

    def _spoken_to(self) -> None:
        self._asked(SPEECH)
        self.call.until("output_audio_buffer.stopped", response_id=self._latest())

    def _have_it_speak(self) -> None:
        """See to it that a voice will be heard across the next handover."""
        voice = stretches(self.call.heard)[-1]
        ends_s = voice[0].at_s + len(sound(self.answers[-1])) / 8000
        if ends_s < self._renewal_s() + 0.5:
            self._until_before(1.5)
            self.call.press("7#")
            self._asked(KEY_AFTER)

    def _latest(self) -> str:
        """The response that was last heard to begin."""
        return str(self.call.events("output_audio_buffer.started")[-1]["response_id"])

    def _interrupted(self, began_s: float) -> None:
        """The voice that was heard across the handover stops at once, and the session after it
        learns how much of it was heard."""
        call, whole = self.call, self.answers[-1]

        def cuts() -> list[LogLine]:
            lines = call.log("bargein.cleared")
            return [line for line in lines if logged_s(line) > began_s]

        call.wait(lambda: bool(cuts()), "interruption")
        cleared_s, item_id = logged_s(cuts()[0]), cuts()[0]["item_id"]
        assert cleared_s - began_s < 1
        truncated = call.until("conversation.item.truncated", item_id=item_id)
        call.hears_out(cleared_s + 0.2)
        voice = stretches(call.heard)[-1]
        late = [packet for packet in voice if packet.at_s > cleared_s]
        assert len(late) <= 1, f"{len(late)} frames of voice after the clear"
        assert abs(truncated["audio_end_ms"] - len(voice) * FRAME_MS) <= FRAME_MS
        self.stops_ms.append(max(voice[-1].at_s - began_s, 0) * 1000)
        (part,) = call.retrieve(item_id)["content"]
        assert part["type"] == "output_text"
        assert whole.startswith(part["text"]) and 0 < len(part["text"]) < len(whole)


def assert_all_is_heard(packets: list[Packet], answers: list[str], cut: int) -> int:
    """Each answer is heard without a gap, and to its end unless it is one of those so many that
    were cut; returns the frames that lack."""
    voices = stretches(packets, MOST_GAP_FRAMES + 1)
    assert len(voices) == len(answers), [len(voice) for voice in voices]
    lack = whole = 0
    for voice, answer in zip(voices, answers, strict=True):
        spoken = [packet.payload for packet in voice if packet.payload != SILENCE]
        lack += len(voice) - len(spoken)
        said = frames(sound(answer))
        assert said[: len(spoken)] == spoken, f"something else is heard of {answer!r}"
        whole += said == spoken
    assert whole == len(answers) - cut
    return lack


@pytest.mark.timeout(120 + CALL_S)
@early
def test_handovers_are_not_noticed(directory: Path) -> str:
    (directory / "dialogue.toml").write_text(DIALOGUE)
    env = {
        "GATEWAY_AGENT_DIALOGUE": str(directory / "dialogue.toml"),
        "GATEWAY_AGENT_SESSION_LIMIT_S": f"{LIMIT_S:g}",
        "GATEWAY_SESSION": SESSION,
        **VOICELESS,
    }
    with GatewayProcess("", env) as gateway, FollowedCall(gateway) as call:
        began_s = time.monotonic()
        scene = HandedOver(call, mulaw(prompt("Hello")))
        call.until("output_audio_buffer.stopped")
        for act in cycle(
            (
                *(scene.keys_across, scene.speech_across, scene.keys_across, scene.speech_after),
                *(scene.keys_across, scene.key_after, scene.nothing),
            )
        ):
            act()
            if scene.handovers >= HANDOVERS and time.monotonic() - began_s >= CALL_S:
                break
        call.until("output_audio_buffer.stopped", response_id=scene._latest())
        items = {str(event["item"]["id"]) for event in call.events("conversation.item.added")}
        # What was cut before a word of it was heard was never said.
        cut = call.events("conversation.item.truncated")
        items -= {event["item_id"] for event in cut if event["audio_end_ms"] < A_WORD_MS}
        for item_id in items:
            call.retrieve(item_id)
        record = call.hang_up()
        packets = call.heard
    longest_ms = assert_rtp_never_stopped(packets)
    lack = assert_all_is_heard(packets, scene.answers, len(scene.stops_ms))
    assert call.transcripts() == scene.answers
    assert record["reason"] == "remote_bye"
    assert record["handovers"] >= HANDOVERS
    assert (record["session_losses"], record["outage_s"]) == (0, 0)
    assert {line["planned"] for line in call.log("session.resumed")} == {True}
    assert len(call.events("session.created")) == 1  # what every sideband begins with
    assert len(call.events("session.updated")) == record["handovers"]
    ends = {event["response"]["status"] for event in call.events("response.done")}
    assert ends == {"completed", "cancelled"} or ends == {"completed"}
    return (
        f"{record['duration_s']:.1f} s, {record['handovers']} handovers, {len(packets)} packets, "
        f"longest pause {longest_ms:.1f} ms, {lack} frames lack, {len(scene.answers)} answers, "
        f"{len(scene.stops_ms)} interruptions, voice stopped after "
        f"{min(scene.stops_ms):.0f} to {max(scene.stops_ms):.0f} ms, {len(items)} items known"
    )
