"""Nobody is left in silence: callers who wait for an answer, who say nothing, who stay too long.

All of them call at once, through two gateways with one server.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.ahead import Ahead, looks_at
from tests.peers.backend import BackendProcess, sound
from tests.peers.followed import FollowedCall, audio_of, logged_s, stretches
from tests.peers.gateway import GatewayProcess
from tests.peers.media import frames

pytestmark = [pytest.mark.peer, pytest.mark.slow]

FILLER_AFTER_S = 0.3
STALL_S = 0.8
"""In the middle of the second of the filler's notes."""
NO_INPUT_S = 1.0
MAX_DURATION_S = 4.0

GREETING = "Welcome"
ANSWER = "The parcel comes tomorrow"
ARE_YOU_THERE = "Are you still there"
FAREWELL = "Farewell"
TIME_IS_UP = "The time is up"
TOOL = "find_parcel"
DIALOGUE = f"""
start = "line"
otherwise = "There is nothing new to be said about that"
[states.line]
say = "{GREETING}"
[[on]]
dtmf = "1"
say = "{ANSWER}"
[[on]]
dtmf = "2"
call = {{name = "{TOOL}"}}
[[on]]
result = "any"
say = "{ANSWER}"
"""
SESSION = {"type": "realtime", "tools": [{"type": "function", "name": TOOL}]}
WAITING = {
    "GATEWAY_SESSION": json.dumps(SESSION),
    "GATEWAY_CALLS_FILLER": "tone",
    "GATEWAY_CALLS_FILLER_AFTER_S": str(FILLER_AFTER_S),
    "GATEWAY_CALLS_MAX_DURATION_S": str(MAX_DURATION_S),
    "GATEWAY_CALLS_MAX_DURATION_SAY": f"say: {TIME_IS_UP}",
}
SILENT = {
    "GATEWAY_CALLS_NO_INPUT_S": str(NO_INPUT_S),
    "GATEWAY_CALLS_NO_INPUT_TIMES": "1",
    "GATEWAY_CALLS_NO_INPUT_SAY": f"say: {ARE_YOU_THERE}",
    "GATEWAY_CALLS_GOODBYE": f"say: {FAREWELL}",
}


def waits_for_a_stalled_server(call: FollowedCall) -> None:
    call.until("output_audio_buffer.stopped")
    mark = call.mark()
    call.press("1#")
    hears_filler_and_answer(call, mark)
    last_note = call.heard[call.heard.index(call.voice(mark)[0]) - 1]
    assert not last_note.silent, "the filler was over before there was a voice"
    assert call.hang_up()["reason"] == "remote_bye"


def waits_for_the_result_of_a_function(call: FollowedCall) -> None:
    call.until("output_audio_buffer.stopped")
    mark = call.mark()
    call.press("2#")
    done = call.until("response.function_call_arguments.done")
    call.hears(35, mark)
    output = {"type": "function_call_output", "call_id": done["call_id"], "output": "tomorrow"}
    call.send("conversation.item.create", item=output)
    call.send("response.create")
    hears_filler_and_answer(call, mark)
    assert call.hang_up()["reason"] == "remote_bye"


def hears_filler_and_answer(call: FollowedCall, mark: int) -> None:
    """Nothing for a while, then the filler, and from one frame to the next nothing but a voice."""
    call.says(ANSWER)
    spoken = frames(sound(ANSWER))
    call.wait(lambda: len(call.voice(mark)) >= len(spoken), "whole answer")
    voice, sounds = call.voice(mark), call.sounds(mark)
    assert [packet.payload for packet in voice] == spoken
    assert sounds[-len(voice) :] == voice
    asked_s = logged_s(call.log("dtmf.received")[-1])
    assert FILLER_AFTER_S - 0.05 < sounds[0].at_s - asked_s < FILLER_AFTER_S + 0.3
    assert len(sounds) - len(voice) > 10


def stays_too_long(call: FollowedCall) -> None:
    assert call.is_hung_up_on()
    assert heard_lines(call) == [GREETING, TIME_IS_UP]
    record = call.ended()
    assert record["reason"] == "max_duration"
    assert 0 < record["duration_s"] - MAX_DURATION_S < 3


def says_nothing(call: FollowedCall) -> None:
    assert call.is_hung_up_on()
    assert heard_lines(call) == [GREETING, ARE_YOU_THERE, FAREWELL]
    assert call.ended()["reason"] == "no_input"
    for before, after in pairwise(stretches(call.heard)):
        assert after[0].at_s - before[-1].at_s > NO_INPUT_S


def is_still_there(call: FollowedCall) -> None:
    """A key counts as a word."""
    call.until("response.output_audio_transcript.done", 2)
    call.press("1#")
    assert call.is_hung_up_on()
    lines = heard_lines(call)
    assert lines == [GREETING, ARE_YOU_THERE, ANSWER, ARE_YOU_THERE, FAREWELL]
    assert call.ended()["reason"] == "no_input"


def heard_lines(call: FollowedCall) -> list[str]:
    """The lines of which at least the beginning was heard, and the last one to its end."""
    voices = [audio_of(stretch) for stretch in stretches(call.heard)]
    lines = call.transcripts()
    assert len(voices) == len(lines)
    for voice, line in zip(voices, lines, strict=True):
        assert b"".join(frames(sound(line))).startswith(voice)
    assert voices[-1] == b"".join(frames(sound(lines[-1])))
    return lines


SCENES: dict[str, tuple[dict[str, str], Callable[[FollowedCall], None]]] = {
    scene.__name__: (env, scene)
    for env, scenes in (
        (WAITING, (waits_for_a_stalled_server, waits_for_the_result_of_a_function, stays_too_long)),
        (SILENT, (says_nothing, is_still_there)),
    )
    for scene in scenes
}


def silences(directory: Path) -> dict[str, Future[None]]:
    """All calls; returns what was wrong with each."""
    stall = {"at": "response.output_audio.delta", "do": "stall", "ms": int(STALL_S * 1000)}
    pace = ("--test", "--jitter-ms", "0")
    with (
        BackendProcess(directory, DIALOGUE, *pace) as backend,
        GatewayProcess(backend.url, WAITING) as waiting,
        GatewayProcess(backend.url, SILENT) as silent,
        ThreadPoolExecutor(len(SCENES)) as pool,
        ExitStack() as stack,
    ):
        greeting = -(-len(sound(GREETING)) // 1600)
        backend.plan({**stall, "n": greeting + 1, "connection": 1})
        playing = {}
        for name, (env, scene) in SCENES.items():
            call = stack.enter_context(FollowedCall(waiting if env is WAITING else silent))
            playing[name] = pool.submit(scene, call)
        wait(playing.values())
    assert backend.complaints() == ""
    return playing


@looks_at(silences)
@pytest.mark.parametrize("name", SCENES)
def test_nobody_is_left_in_silence(ahead: Ahead, name: str) -> None:
    ahead.result(silences)[name].result()
