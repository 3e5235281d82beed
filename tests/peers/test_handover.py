"""Calls that outlive their sessions: one whose session expires again and again, and some whose
server is killed in mid-sentence.

The agent's voice is a tone, so a capture shows exactly which of it was heard.
"""

import json
import os
import time
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
        """From each interruption to the last frame of the voice."""
        self.handovers = 0
        """Those that were waited for."""
        self._words = words

    # What is done at a handover.

    def keys_across(self) -> None:
        """A number is pressed, the first key before and the others after."""
        self._until_before(0.3)
        self.call.phone.press("1")
        self.until_after()
        self._press("2#")
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
        self._press("7")
        self._interrupted(began_s)
        self._press("#")
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

    def _press(self, keys: str) -> None:
        for key in keys:
            self.call.phone.press(key)

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
            self._press("7#")
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
        self.stops_ms.append((voice[-1].at_s - began_s) * 1000)
        (part,) = call.retrieve(item_id)["content"]
        assert part["type"] == "output_text"
        assert whole.startswith(part["text"]) and 0 < len(part["text"]) < len(whole)


def assert_rtp_never_stopped(packets: list[Packet]) -> float:
    """Returns the longest pause between two packets, in milliseconds."""
    pairs = list(pairwise(packets))
    assert {b.sequence - a.sequence & 0xFFFF for a, b in pairs} == {1}
    assert {b.timestamp - a.timestamp & 0xFFFFFFFF for a, b in pairs} == {FRAME_BYTES}
    longest_s = max(b.at_s - a.at_s for a, b in pairs)
    assert longest_s < 0.2  # the media clock makes up for less
    return longest_s * 1000


def assert_all_is_heard(packets: list[Packet], answers: list[str]) -> int:
    """Each answer is heard from its beginning, without a gap; returns the frames that lack."""
    voices = stretches(packets, MOST_GAP_FRAMES + 1)
    assert len(voices) == len(answers), [len(voice) for voice in voices]
    lack = 0
    for voice, answer in zip(voices, answers, strict=True):
        spoken = [packet for packet in voice if packet.payload != SILENCE]
        lack += len(voice) - len(spoken)
        padded = sound(answer) + SILENCE
        assert padded.startswith(audio_of(spoken)), f"something else is heard of {answer!r}"
    return lack


def test_handovers_are_not_noticed(tmp_path: Path) -> None:
    (tmp_path / "dialogue.toml").write_text(DIALOGUE)
    env = {
        "GATEWAY_AGENT_DIALOGUE": str(tmp_path / "dialogue.toml"),
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
        for item_id in items:
            call.retrieve(item_id)
        record = call.hang_up()
        packets = call.heard
    longest_ms = assert_rtp_never_stopped(packets)
    lack = assert_all_is_heard(packets, scene.answers)
    assert call.transcripts() == scene.answers
    assert record["reason"] == "remote_bye"
    assert record["handovers"] >= HANDOVERS
    assert (record["session_losses"], record["outage_s"]) == (0, 0)
    assert {line["planned"] for line in call.log("session.resumed")} == {True}
    assert len(call.events("session.created")) == 1  # what every sideband begins with
    assert len(call.events("session.updated")) == record["handovers"]
    ends = {event["response"]["status"] for event in call.events("response.done")}
    assert ends == {"completed", "cancelled"} or ends == {"completed"}
    print(
        f"{record['duration_s']:.1f} s, {record['handovers']} handovers, {len(packets)} packets, "
        f"longest pause {longest_ms:.1f} ms, {lack} frames lack, {len(scene.answers)} answers, "
        f"{len(scene.stops_ms)} interruptions, voice stopped after "
        f"{min(scene.stops_ms):.0f} to {max(scene.stops_ms):.0f} ms, {len(items)} items known"
    )


CALLS = 5
KILLS = int(os.environ.get("HANDOVER_KILLS", "10"))
LONG = "What you hear now is so long that nobody has ever heard the end of it before the next kill"
TALKATIVE = f"""
start = "line"
otherwise = "{LONG}"
[states.line]
say = "{LONG}"
[[on]]
text = "any"
say = "{LONG}"
[[on]]
dtmf = "1"
say = "{SPEECH}"
"""


def test_a_server_that_is_killed_costs_no_call(tmp_path: Path) -> None:
    pace = ("--speedup", "1.2", "--first-audio-ms", "100")
    with (
        BackendProcess(tmp_path, TALKATIVE, *pace) as backend,
        GatewayProcess(backend.url) as gateway,
        ExitStack() as stack,
    ):
        calls = [stack.enter_context(FollowedCall(gateway)) for _ in range(CALLS)]
        for kill in range(KILLS):
            said = [_in_mid_sentence(call, kill) for call in calls]
            backend.kill()
            backend.start()
            for call, item_id in zip(calls, said, strict=True):
                call.until("session.updated", kill + 1)
                _knows(call, kill, item_id)
        for call in calls:
            _answers(call)
        records = [call.hang_up() for call in calls]
    outages_ms = [line["gap_ms"] for call in calls for line in call.log("session.resumed")]
    for call, record in zip(calls, records, strict=True):
        assert (record["reason"], record["session_losses"]) == ("remote_bye", KILLS)
        assert record["handovers"] == KILLS
        assert 0 < record["outage_s"] < KILLS * 5
        assert len(call.events("session.updated")) == KILLS
        assert_rtp_never_stopped(call.heard)
    print(
        f"{CALLS * KILLS} losses, without a session for {min(outages_ms)} to {max(outages_ms)} ms"
    )


def _in_mid_sentence(call: FollowedCall, kill: int) -> str:
    """Have something noted down, wait until the agent speaks; returns the item that it speaks."""
    note = f"note_{kill}"
    call.write(note, f"This is the note with the number {kill}.")
    call.wait(lambda: note in _items(call), note)
    call.until("output_audio_buffer.started", kill + 1)
    begun = call.events("response.output_item.added")[-1]
    item_id = str(begun["item"]["id"])
    # Long enough for the session to count as one that works.
    call.until("response.output_audio_transcript.delta", 7, item_id=item_id)
    return item_id


def _answers(call: FollowedCall) -> None:
    call.phone.press("1")
    call.phone.press("#")
    call.wait(lambda: call.transcripts()[-1:] == [SPEECH], "answer")


def _items(call: FollowedCall) -> list[str]:
    return [event["item"]["id"] for event in call.events("conversation.item.done")]


def _knows(call: FollowedCall, kill: int, item_id: str) -> None:
    """The session that has taken over knows what was said before the one that was lost, and in it,
    and as much of the last sentence as there was."""
    for number in {0, kill}:
        (part,) = call.retrieve(f"note_{number}")["content"]
        assert part["text"].endswith(f" {number}.")
    (part,) = call.retrieve(item_id)["content"]
    assert LONG.startswith(part["text"]) and 0 < len(part["text"]) < len(LONG)
