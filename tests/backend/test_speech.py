"""Lines put together from clips."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio.formats import PCM24K, PCMU, AudioFormat
from gateway.backend.dialogue import phrases_of
from gateway.backend.items import Word
from gateway.backend.speech import compose

pytestmark = pytest.mark.pure


def test_clips_follow_each_other_with_pauses_that_the_punctuation_asks_for() -> None:
    line = ("You pressed", "one,", "two.", "Well")
    speech = compose(line, [b"a" * 800, b"b" * 400, b"c" * 400, b"d" * 160], PCMU)
    gaps = [PCMU.silence(ms * 8) for ms in (60, 120, 350)]
    parts = [b"a" * 800, gaps[0], b"b" * 400, gaps[1], b"c" * 400, gaps[2], b"d" * 160]
    assert speech.audio == b"".join(parts)
    assert speech.words == (
        Word(0, "You"),
        Word(4 * 100 // 11, " pressed"),
        Word(160, " one,"),
        Word(330, " two."),
        Word(730, " Well"),
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text("ab,.! é", min_size=1).filter(str.strip), min_size=1, max_size=6),
    st.integers(0, 5000),
    st.sampled_from([PCMU, PCM24K]),
)
def test_no_word_is_lost_and_all_begin_within_the_sound(
    texts: list[str], size: int, audio_format: AudioFormat
) -> None:
    line = tuple(phrase for text in texts for phrase in phrases_of(text.strip()))
    clips = [bytes(size // 2 * 2) for _ in line]
    speech = compose(line, clips, audio_format)
    assert "".join(word.text for word in speech.words) == " ".join(" ".join(line).split())
    starts = [word.start_ms for word in speech.words]
    assert starts == sorted(starts)
    assert starts[-1] <= len(speech.audio) // audio_format.bytes_per_ms


def test_what_has_no_clip_is_not_said() -> None:
    speech = compose(("One.", "Two.", "Three."), [b"a" * 800, b"b" * 80], PCMU)
    assert "".join(word.text for word in speech.words) == "One. Two."
    assert speech.audio == b"a" * 800 + PCMU.silence(350 * 8) + b"b" * 80
