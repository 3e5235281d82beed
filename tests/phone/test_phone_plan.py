"""What the person at the phone does when, in virtual time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.phone.plan import Action, HangUp, Hold, Plan, Press, Script, Speak

pytestmark = pytest.mark.pure

FRAME_MS = 20
ANSWERED_MS = 500


def play(
    plan: Plan, voice_ms: list[tuple[int, int]] | None = None, until_ms: int = 20_000
) -> list[tuple[int, Action]]:
    """Run a script; `voice_ms` is when the far end speaks. Times are ms after the answer."""
    script = Script(plan)
    done: list[tuple[int, Action]] = []
    for now_ms in range(0, until_ms, FRAME_MS):
        if now_ms == ANSWERED_MS:
            script.answer(now_ms / 1000)
        since_ms = now_ms - ANSWERED_MS
        if any(start <= since_ms < end for start, end in voice_ms or ()):
            script.hear(now_ms / 1000)
        done += [(since_ms, action) for action in script.due(now_ms / 1000)]
    return done


def test_nothing_happens_before_the_answer() -> None:
    script = Script(Plan(duration_s=0.0, digits="1", digits_after_s=0.0))
    script.hear(1.0)
    assert script.due(100.0) == []


def test_a_polite_caller_waits_for_its_turn() -> None:
    done = play(Plan(duration_s=9.0), [(100, 2000), (2300, 3000)])
    assert done == [(3780, Speak(interrupts=False)), (9000, HangUp())]


def test_a_caller_who_hears_nothing_speaks_anyway() -> None:
    assert play(Plan(duration_s=4.0)) == [(3000, Speak(interrupts=False)), (4000, HangUp())]


def test_a_caller_whom_the_far_end_does_not_let_speak_speaks_anyway() -> None:
    done = play(Plan(duration_s=9.0), [(100, 9000)])
    assert done == [(4100, Speak(interrupts=False)), (9000, HangUp())]


def test_speech_at_a_time() -> None:
    done = play(Plan(duration_s=4.0, speak_after_s=1.0), [(0, 4000)])
    assert done == [(1000, Speak(interrupts=False)), (4000, HangUp())]


def test_an_interruption_is_counted_from_the_first_voice() -> None:
    done = play(Plan(interrupt_after_s=2.0, duration_s=9.0), [(340, 6000)])
    assert done == [(2340, Speak(interrupts=True)), (9000, HangUp())]


def test_an_interruption_in_a_pause_waits_for_the_voice() -> None:
    done = play(Plan(interrupt_after_s=2.0, duration_s=9.0), [(0, 1800), (2400, 6000)])
    assert done == [(2400, Speak(interrupts=True)), (9000, HangUp())]


def test_an_interruption_does_not_wait_forever() -> None:
    done = play(Plan(interrupt_after_s=2.0, duration_s=9.0), [(0, 1000)])
    assert done == [(3000, Speak(interrupts=True)), (9000, HangUp())]


def test_there_is_no_interruption_without_a_voice() -> None:
    assert play(Plan(interrupt_after_s=0.0, duration_s=5.0)) == [(5000, HangUp())]


def test_keys_are_pressed_one_by_one_into_the_greeting() -> None:
    done = play(Plan(digits="12#", duration_s=9.0), [(100, 3000)])
    assert done == [
        (800, Press("1")),
        (1000, Press("2")),
        (1200, Press("#")),
        (3780, Speak(interrupts=False)),
        (9000, HangUp()),
    ]


def test_speech_waits_for_the_keys() -> None:
    done = play(Plan(digits="12", digits_after_s=2.0, duration_s=9.0), [(100, 200)])
    assert done == [
        (2000, Press("1")),
        (2200, Press("2")),
        (3200, Speak(interrupts=False)),
        (9000, HangUp()),
    ]


def test_keys_are_pressed_even_if_nothing_is_heard() -> None:
    done = play(Plan(digits="1", duration_s=4.0))
    assert done == [(3000, Press("1")), (3200, Speak(interrupts=False)), (4000, HangUp())]


def test_hold_and_resume() -> None:
    done = play(Plan(hold_after_s=1.0, hold_s=0.5, speak_after_s=0.0, duration_s=3.0))
    assert done == [
        (0, Speak(interrupts=False)),
        (1000, Hold(on=True)),
        (1500, Hold(on=False)),
        (3000, HangUp()),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"digits": "12x"},
        {"digits": "1" * 65},
        {"duration_s": -1.0},
        {"duration_s": float("nan")},
        {"duration_s": float("inf")},
        {"interrupt_after_s": -0.1},
        {"speak_after_s": 4000.0},
        {"hold_s": -1.0},
        {"speak_after_s": 1.0, "interrupt_after_s": 1.0},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Plan(**wrong)  # type: ignore[arg-type]


times = st.none() | st.floats(0.0, 15.0)


@settings(max_examples=60, deadline=None)
@given(
    duration_ms=st.integers(0, 12_000),
    speak_after_s=times,
    digits=st.text("0123456789*#ABCD", max_size=12),
    digits_after_s=times,
    hold_after_s=times,
    hold_s=st.floats(0.0, 5.0),
    voice=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000)), max_size=3),
)
def test_every_script_ends_once_and_in_time(
    duration_ms: int,
    speak_after_s: float | None,
    digits: str,
    digits_after_s: float | None,
    hold_after_s: float | None,
    hold_s: float,
    voice: list[tuple[int, int]],
) -> None:
    plan = Plan(
        duration_s=duration_ms / 1000,
        speak_after_s=speak_after_s,
        digits=digits,
        digits_after_s=digits_after_s,
        hold_after_s=hold_after_s,
        hold_s=hold_s,
    )
    done = play(plan, voice, until_ms=13_000)
    at_ms, last = done[-1]
    assert last == HangUp()
    assert duration_ms <= at_ms <= duration_ms + FRAME_MS
    actions = [action for _, action in done]
    assert actions.count(HangUp()) == 1
    pressed = "".join(action.digit for action in actions if isinstance(action, Press))
    assert digits.startswith(pressed)
    assert sum(isinstance(action, Speak) for action in actions) <= 1
    holds = [action.on for action in actions if isinstance(action, Hold)]
    assert holds in ([], [True], [True, False])
