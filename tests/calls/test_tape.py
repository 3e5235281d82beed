"""What is kept of the caller's speech."""

import pytest

from gateway.audio.formats import PCM24K, PCMU, AudioFormat
from gateway.calls.tape import Tape

pytestmark = pytest.mark.pure

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"


def frame(number: int) -> bytes:
    return bytes([number % 256]) * 160


def said(tape: Tape, first: int, last: int) -> bytes:
    """Say the frames of these numbers."""
    frames = [frame(number) for number in range(first, last)]
    for one in frames:
        tape.push(one)
    return b"".join(frames)


def test_a_silent_caller_leaves_nothing_to_tell() -> None:
    tape = Tape(PCMU)
    said(tape, 0, 100)
    assert (tape.untold(), tape.turn) == (b"", b"")


def test_a_turn_is_kept_from_before_it_was_noticed_until_the_next_one() -> None:
    tape = Tape(PCMU)
    said(tape, 0, 100)
    before = b"".join(frame(number) for number in range(50, 100))
    tape.server_event(STARTED)
    spoken = said(tape, 100, 200)
    tape.server_event(STOPPED)
    said(tape, 200, 300)
    assert tape.turn == before + spoken
    tape.server_event(STARTED)
    assert tape.turn == b""


def test_a_turn_in_progress_is_to_be_told_once() -> None:
    tape = Tape(PCMU)
    tape.server_event(STARTED)
    spoken = said(tape, 0, 100)
    assert tape.untold() == spoken
    assert tape.untold() == b""


def test_the_end_of_a_turn_is_no_beginning_of_the_next() -> None:
    tape = Tape(PCMU)
    tape.server_event(STARTED)
    said(tape, 0, 100)
    tape.server_event(STOPPED)
    tape.lost()
    assert tape.untold() == b""


def test_everything_is_kept_while_there_is_no_session() -> None:
    tape = Tape(PCMU)
    tape.lost()
    spoken = said(tape, 0, 200)
    assert tape.untold() == spoken
    said(tape, 200, 400)
    assert tape.untold() == b""


@pytest.mark.parametrize("audio_format", [PCMU, PCM24K])
def test_what_is_kept_has_a_bound(audio_format: AudioFormat) -> None:
    tape = Tape(audio_format)
    tape.server_event(STARTED)
    said(tape, 0, 5000)
    kept = tape.untold()
    assert len(kept) <= 96 << 10
    assert kept[-160:] == frame(4999)


def test_a_client_that_clears_the_buffer_clears_the_tape() -> None:
    tape = Tape(PCMU)
    tape.lost()
    said(tape, 0, 10)
    tape.server_event("input_audio_buffer.cleared")
    spoken = said(tape, 10, 20)
    assert tape.untold() == spoken
