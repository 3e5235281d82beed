"""What a caller notices when the Realtime server fails: no fault costs an answered call, and a
server that stays away ends it with words, or in the hands of a human.

Some of it is noticed only after many seconds. So all but the first test look at what goes on in
the background from the beginning.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.audio import RATE_HZ, mulaw, write_wav
from tests.peers.backend import BackendProcess, sound
from tests.peers.followed import FollowedCall, assert_rtp_never_stopped, audio_of
from tests.peers.gateway import GatewayProcess
from tests.peers.media import FRAME_BYTES, Packet
from tests.peers.outcomes import (
    COMES_BACK,
    DIALOGUE,
    OUTCOMES,
    RETURNED,
    RETURNS,
    SETTINGS,
    TEST_MODE,
    UNREACHABLE,
    WHOLE,
    FaultyCalls,
    at,
    refused,
)
from tests.peers.servers.sound import PCMU, measure, tone
from tests.peers.test_baresip import prompt

pytestmark = [pytest.mark.peer, pytest.mark.slow]

SECOND = "This is another server"
SECOND_ANSWER = "Yes as well"
SECOND_DIALOGUE = f"""
start = "line"
otherwise = "{SECOND}"
[states.line]
say = "{SECOND}"
[[on]]
dtmf = "1"
say = "{SECOND_ANSWER}"
"""
HUMAN = "tel:+15550001111"
APOLOGY_HZ, APOLOGY_S = 700.0, 0.6
CALLS = 5
KILLS = int(os.environ.get("HANDOVER_KILLS", "4"))
LONG = "What you hear now is so long that nobody has ever heard the end of it before the next kill"
HEARD = "I heard you"
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
say = "{SECOND_ANSWER}"
[[on]]
any_speech = true
say = "{HEARD}"
"""


@dataclass
class Background:
    """What goes on from the first test of this module on."""

    faulty: FaultyCalls
    over: dict[str, Future[None]]
    """What was wrong, by scene."""

    def faults(self) -> FaultyCalls:
        """All calls with faults, when they are over."""
        self.over["faults"].result(60)
        return self.faulty


@pytest.fixture(scope="module")
def background(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    directory = tmp_path_factory.mktemp("backends")
    apology = directory / "sorry.wav"
    write_wav(apology, tone(APOLOGY_HZ, APOLOGY_S, RATE_HZ))
    sorry = {"GATEWAY_CALLS_APOLOGY": str(apology)}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(4))

        def gateway(first: BackendProcess, env: dict[str, str]) -> GatewayProcess:
            return stack.enter_context(GatewayProcess(first.url, env))

        faulty, leaving, first, second = servers = (
            BackendProcess(directory, DIALOGUE, *TEST_MODE),
            BackendProcess(directory, SECOND_DIALOGUE),
            BackendProcess(directory, DIALOGUE, *TEST_MODE),
            BackendProcess(directory, SECOND_DIALOGUE),
        )
        list(pool.map(stack.enter_context, servers))  # all start at once
        calls = FaultyCalls(faulty, gateway(faulty, SETTINGS))
        alone = gateway(leaving, {**sorry, "GATEWAY_REALTIME_GIVE_UP_S": "1"})
        guarded = gateway(
            first,
            {
                **sorry,
                "GATEWAY_REALTIME_FALLBACK_URL": second.url,
                "GATEWAY_REALTIME_GIVE_UP_S": "1.5",
                "GATEWAY_CALLS_FALLBACK_TARGET": HUMAN,
            },
        )
        yield Background(
            calls,
            {
                "faults": pool.submit(calls.run),
                "alone": pool.submit(stays_away, leaving, alone),
                "guarded": pool.submit(is_stood_in_for, first, second, guarded),
            },
        )


def hertz(packets: list[Packet]) -> float:
    return measure(PCMU.decode(audio_of(packets)), RATE_HZ).frequency_hz


def hears_apology(call: FollowedCall, since: int) -> bool:
    """Whether the last that is heard is the apology, all of it."""
    count = round(APOLOGY_S * 50)
    last = call.sounds(since)[-count:]
    return len(last) == count and abs(hertz(last) - APOLOGY_HZ) < 10


def stays_away(backend: BackendProcess, gateway: GatewayProcess) -> None:
    """The caller hears a comfort sound, then the apology, and is hung up on."""
    with FollowedCall(gateway) as call:
        call.until("output_audio_buffer.stopped")
        mark = call.mark()
        backend.kill()
        call.hears(20, mark)
        assert not call.voice(mark)
        assert call.is_hung_up_on()
        assert hears_apology(call, mark)
        record = call.ended()
        (gave_up,) = call.log("session.gave_up")
    assert (record["reason"], record["session_losses"]) == ("session_lost", 1)
    assert record["handovers"] == 0
    assert 1 <= gave_up["after_s"] < 2 and record["outage_s"] > 1 + APOLOGY_S - 0.1
    assert refused(gateway).record["reason"] == "backend_unavailable"


def is_stood_in_for(first: BackendProcess, second: BackendProcess, gateway: GatewayProcess) -> None:
    """The fallback takes a new call, and two that are in progress; then it is gone as well."""
    first.plan(at("connect", "http", status=429, retry_after=30))
    with FollowedCall(gateway) as early:
        assert audio_of(early.hears(5)) == sound(SECOND)[: 5 * FRAME_BYTES]
        record = early.hang_up()
        assert (record["handovers"], record["session_losses"]) == (0, 0)
    with FollowedCall(gateway) as goes, FollowedCall(gateway, refer_status=603) as stays:
        calls = (goes, stays)
        for call in calls:
            call.write("note", "Whoever comes next has to know this.")
            assert audio_of(call.hears(5)) == WHOLE[: 5 * FRAME_BYTES]
        first.kill()
        for call in calls:
            call.until("session.updated")
            assert call.retrieve("note")["content"][0]["text"].startswith("Whoever")
            call.press("1#")
            call.says(SECOND_ANSWER)
        marks = [call.mark() for call in calls]
        second.kill()
        for call, mark in zip(calls, marks, strict=True):
            assert call.is_hung_up_on()
            assert hears_apology(call, mark)
            (refer,) = call.phone.refers
            assert refer.header("refer-to") == f"<{HUMAN}>"
    for call, reason, transfer in (
        (goes, "transferred", "transferred"),
        (stays, "session_lost", "refused"),
    ):
        record = call.ended()
        assert (record["reason"], record["transfer"]) == (reason, transfer)
        assert (record["session_losses"], record["handovers"]) == (2, 1)


@pytest.mark.timeout(120 + 5 * KILLS)
def test_a_server_that_is_killed_costs_no_call(background: Background, tmp_path: Path) -> None:
    pace = ("--speedup", "1.2", "--first-audio-ms", "100")
    words = mulaw(prompt("Hello"))
    with (
        BackendProcess(tmp_path, TALKATIVE, *pace) as backend,
        GatewayProcess(backend.url) as gateway,
        ExitStack() as stack,
    ):
        calls = [stack.enter_context(FollowedCall(gateway)) for _ in range(CALLS)]
        for kill in range(KILLS):
            said = [_in_mid_sentence(call, kill) for call in calls]
            speak = kill == KILLS - 1  # two callers do, before and while there is no server
            if speak:
                calls[0].say(words)
                calls[0].until("input_audio_buffer.speech_started")
            backend.kill()
            if speak:
                calls[1].say(words)
            backend.start()
            for call, item_id in zip(calls, said, strict=True):
                call.until("session.updated", kill + 1)
                _knows(call, kill, item_id)
        for call in calls[:2]:
            call.says(HEARD)
        for call in calls:
            call.press("1#")
        for call in calls:
            call.says(SECOND_ANSWER)
        records = [call.hang_up() for call in calls]
    outages_ms = [line["gap_ms"] for call in calls for line in call.log("session.resumed")]
    for call, record in zip(calls, records, strict=True):
        assert (record["reason"], record["session_losses"]) == ("remote_bye", KILLS)
        assert record["handovers"] == KILLS
        assert 0 < record["outage_s"] < KILLS * 5
        assert len(call.events("session.updated")) == KILLS
    longest_ms = max(assert_rtp_never_stopped(call.heard) for call in calls)
    print(
        f"{CALLS * KILLS} losses, without a session for {min(outages_ms)} to {max(outages_ms)} ms, "
        f"longest pause between packets {longest_ms:.1f} ms"
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


def _items(call: FollowedCall) -> list[str]:
    return [event["item"]["id"] for event in call.events("conversation.item.done")]


def _knows(call: FollowedCall, kill: int, item_id: str) -> None:
    """The session that has taken over knows what was said before the one that was lost, and in it,
    and as much of the last sentence as there was."""
    for number in {0, kill // 2, kill}:
        (part,) = call.retrieve(f"note_{number}")["content"]
        assert part["text"].endswith(f" {number}.")
    (part,) = call.retrieve(item_id)["content"]
    assert LONG.startswith(part["text"]) and 0 < len(part["text"]) < len(LONG)


def test_a_server_that_stays_away_ends_the_call_with_words(background: Background) -> None:
    background.over["alone"].result(60)


def test_the_fallback_takes_over_and_then_a_human(background: Background) -> None:
    background.over["guarded"].result(60)


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_fault_costs_no_call(background: Background, name: str) -> None:
    faulty, outcome = background.faults(), OUTCOMES[name]
    call, record = faulty.calls[name], faulty.records[name]
    assert audio_of(call.voice()) == b"".join(outcome.frames)
    lost = 1 if outcome.lost else 0
    assert (record["reason"], record["session_losses"]) == ("remote_bye", lost)
    assert record["handovers"] == lost
    assert [line["reason"] for line in call.log("session.lost")] == [outcome.lost][:lost]
    assert len(call.log("session.garbage")) == outcome.garbage
    assert [line["code"] for line in call.log("session.error")] == outcome.errors
    assert [event["error"]["code"] for event in call.events("error")] == outcome.errors
    assert len(call.events("session.updated")) == lost


def test_a_server_comes_back_after_several_attempts(background: Background) -> None:
    faulty = background.faults()
    call, record = faulty.calls[RETURNS], faulty.records[RETURNS]
    failed = [line["reason"] for line in call.log("session.failed")]
    assert len(failed) == len(COMES_BACK)
    assert all(UNREACHABLE[what][1] in why for what, why in zip(COMES_BACK, failed, strict=True))
    assert (record["reason"], record["session_losses"], record["handovers"]) == ("remote_bye", 1, 1)
    assert record["outage_s"] > 1  # as its Retry-After asked for
    assert audio_of(call.voice()) == b"".join(RETURNED.frames)
    assert len(call.sounds()) - len(RETURNED.frames) > 10  # the comfort sound filled the pause


@pytest.mark.parametrize("what", UNREACHABLE)
def test_without_a_session_nobody_is_answered(background: Background, what: str) -> None:
    caller = background.faults().refused[what]
    assert caller.status == 503
    assert UNREACHABLE[what][1] in caller.reason
    assert caller.record["reason"] == "backend_unavailable"
    assert (caller.record["session_losses"], caller.record["duration_s"]) == (0, 0)


def test_the_server_finds_nothing_wrong_with_itself(background: Background) -> None:
    assert background.faults().backend.complaints() == ""
