"""What is kept of the caller's speech."""

from typing import Any

import pytest

from gateway.audio.formats import PCM24K, PCMU, AudioFormat
from gateway.calls.tape import Tape

pytestmark = pytest.mark.pure

BY_HAND = {"audio": {"input": {"turn_detection": None}}}


def frame(number: int) -> bytes:
    return bytes([number % 256]) * 160


def frames(first: int, last: int) -> bytes:
    return b"".join(frame(number) for number in range(first, last))


def say(tape: Tape, first: int, last: int) -> bytes:
    """Say the frames of these numbers."""
    for number in range(first, last):
        tape.push(frame(number))
    return frames(first, last)


def tell(tape: Tape, kind: str, **fields: Any) -> None:
    tape.server_event({"type": kind, **fields})


def start(tape: Tape, item_id: str = "item_1") -> None:
    tell(tape, "input_audio_buffer.speech_started", item_id=item_id)


def stop(tape: Tape, item_id: str = "item_1") -> None:
    tell(tape, "input_audio_buffer.speech_stopped", item_id=item_id)


def commit(tape: Tape, item_id: str = "item_1") -> None:
    tell(tape, "input_audio_buffer.committed", item_id=item_id)


def test_of_a_silent_caller_the_last_second_is_told() -> None:
    tape = Tape(PCMU)
    say(tape, 0, 100)
    assert tape.untold() == frames(50, 100)


def test_a_turn_is_kept_from_before_it_was_noticed_until_the_next_one() -> None:
    tape = Tape(PCMU)
    say(tape, 0, 100)
    start(tape)
    say(tape, 100, 200)
    stop(tape)
    commit(tape)
    say(tape, 200, 210)
    assert tape.turn("item_1") == frames(50, 200)
    assert tape.turn("item_2") == tape.turn("") == b""
    assert tape.untold() == frames(200, 210)
    start(tape, "item_2")
    assert tape.turn("item_1") == b""


def test_a_turn_that_was_written_down_needs_no_sound() -> None:
    tape = Tape(PCMU)
    start(tape)
    say(tape, 0, 10)
    stop(tape)
    commit(tape)
    done = "conversation.item.input_audio_transcription.completed"
    tell(tape, done, item_id="item_1", transcript="")
    assert tape.turn("item_1")
    tell(tape, done, item_id="item_1", transcript="Hello.")
    assert tape.turn("item_1") == b""


def test_a_turn_in_progress_is_told_until_it_was_noticed() -> None:
    tape = Tape(PCMU)
    start(tape)
    say(tape, 0, 100)
    assert tape.untold() == frames(0, 100)
    tape.lost()  # the next session, too, before it knew that somebody speaks
    say(tape, 100, 120)
    assert tape.untold() == frames(0, 120)
    start(tape, "item_2")
    say(tape, 120, 130)
    stop(tape, "item_2")
    commit(tape, "item_2")
    assert tape.turn("item_2") == frames(0, 130)
    assert tape.untold() == b""


def test_a_turn_that_was_never_committed_is_told() -> None:
    tape = Tape(PCMU)
    start(tape)
    say(tape, 0, 100)
    stop(tape)
    say(tape, 100, 105)
    assert tape.untold() == frames(0, 105)


def test_a_turn_that_is_answered_counts_as_committed() -> None:
    tape = Tape(PCMU)
    start(tape)
    say(tape, 0, 100)
    stop(tape)
    tell(tape, "response.created", response={})
    assert tape.untold() == b""


def test_a_timeout_commits_nothing_that_was_said() -> None:
    tape = Tape(PCMU)
    start(tape)
    say(tape, 0, 10)
    stop(tape)
    commit(tape)
    commit(tape, "item_silence")
    assert (tape.turn("item_1"), tape.turn("item_silence")) == (frames(0, 10), b"")


def test_everything_is_kept_while_there_is_no_session() -> None:
    tape = Tape(PCMU)
    tape.lost()
    say(tape, 0, 200)
    assert tape.untold() == frames(0, 200)


def test_what_was_told_is_let_go_when_the_next_turn_is_over() -> None:
    tape = Tape(PCMU)
    tape.lost()
    say(tape, 0, 200)
    tape.untold()
    start(tape)
    stop(tape)
    commit(tape)
    say(tape, 200, 400)
    assert tape.untold() == frames(350, 400)


def test_turns_by_hand_reach_back_to_the_last_commit() -> None:
    tape = Tape(PCMU)
    tape.configured(BY_HAND)
    say(tape, 0, 200)
    assert tape.untold() == frames(0, 200)
    commit(tape, "item_1")
    assert tape.turn("item_1") == frames(0, 200)
    say(tape, 200, 300)
    assert tape.untold() == frames(200, 300)
    tell(tape, "session.updated", session={"audio": {"input": {"turn_detection": {}}}})
    commit(tape, "item_2")  # of a session that finds turns by itself: not what is kept here
    assert tape.turn("item_2") == b""


@pytest.mark.parametrize("audio_format", [PCMU, PCM24K])
def test_what_is_kept_has_a_bound(audio_format: AudioFormat) -> None:
    tape = Tape(audio_format)
    start(tape)
    say(tape, 0, 5000)  # frames of 160 bytes
    kept = tape.untold()
    assert 11_000 < len(kept) / audio_format.bytes_per_ms <= 12_000
    assert kept[-160:] == frame(4999)


def test_a_client_that_clears_the_buffer_clears_the_tape() -> None:
    tape = Tape(PCMU)
    tape.lost()
    say(tape, 0, 10)
    tell(tape, "input_audio_buffer.cleared")
    say(tape, 10, 20)
    assert tape.untold() == frames(10, 20)
