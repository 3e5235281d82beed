"""Silences of every kind, in virtual time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio.playout import ItemPart, Started, Stopped
from gateway.calls.patience import LAST_WORDS_S, End, Fill, Patience, PatiencePolicy, Say
from gateway.realtime.events import Event

pytestmark = pytest.mark.pure

THERE = "Ask whether they are there."
BYE = "Say goodbye."
LIMIT = "Say that time is up."
Wish = Fill | Say | End


class Line:
    """A call whose clock the test moves; `wishes` tells when something was wished for."""

    def __init__(self, answered: bool = True, **policy: Any) -> None:
        self.now = 0.0
        self.wishes: list[tuple[float, Wish]] = []
        self.patience = Patience(PatiencePolicy(no_input_say=THERE, **policy))
        if answered:
            self.take(self.patience.answered(self.now))

    def take(self, wishes: list[Wish]) -> None:
        self.wishes += [(round(self.now, 6), wish) for wish in wishes]

    def wait(self, seconds: float) -> "Line":
        """Let time pass; the clock is served whenever it asks."""
        end = self.now + seconds
        while (at := self.patience.next_timeout()) is not None and at <= end:
            assert at >= self.now
            self.now = at
            self.take(self.patience.timeout(at))
        self.now = end
        return self

    def server(self, kind: str, **fields: Any) -> "Line":
        self.take(self.patience.server_event({"type": kind} | fields, self.now))
        return self

    def client(self, kind: str, **fields: Any) -> "Line":
        self.take(self.patience.client_event({"type": kind} | fields, self.now))
        return self

    def held(self, on: bool) -> "Line":
        self.take(self.patience.held(on, self.now))
        return self

    def played(self, mark: type[Started] | type[Stopped], response_id: str) -> "Line":
        part = ItemPart(response_id, "item_1", 0)
        self.take(self.patience.played(mark(part), self.now))
        return self

    # What usually goes together.

    def spoke(self, seconds: float = 1.0) -> "Line":
        self.server("input_audio_buffer.speech_started").wait(seconds)
        self.server("input_audio_buffer.speech_stopped")
        return self.server("input_audio_buffer.committed", item_id="item_9")

    def created(self, response_id: str) -> "Line":
        conversation = {"id": response_id, "conversation_id": "conv_1"}
        return self.server("response.created", response=conversation)

    def done(self, response_id: str, status: str = "completed") -> "Line":
        return self.server("response.done", response={"id": response_id, "status": status})

    def said(self, response_id: str, seconds: float = 2.0) -> "Line":
        """The model answers at once, faster than it is played."""
        self.created(response_id).played(Started, response_id).done(response_id)
        return self.wait(seconds).played(Stopped, response_id)

    def called(self, response_id: str, call_id: str, status: str = "completed") -> "Line":
        item = {"type": "function_call", "call_id": call_id, "status": status}
        self.created(response_id)
        self.server("response.output_item.done", response_id=response_id, item=item)
        return self.done(response_id)

    def returned(self, call_id: str) -> "Line":
        item = {"type": "function_call_output", "call_id": call_id, "output": "{}"}
        return self.client("conversation.item.create", item=item)


def silent(line: Line, seconds: float = 1000.0) -> bool:
    """Whether nothing more is wished for."""
    before = len(line.wishes)
    line.wait(seconds)
    return len(line.wishes) == before


class TestFiller:
    def test_a_slow_answer(self) -> None:
        line = Line(filler_after_s=1.5).spoke(2).wait(4)
        assert line.wishes == [(3.5, Fill(True))]
        line.created("resp_1").wait(1)
        assert line.wishes[1:] == []
        line.played(Started, "resp_1")
        assert line.wishes[1:] == [(7.0, Fill(False))]

    def test_a_quick_answer(self) -> None:
        line = Line(filler_after_s=1.5).spoke().wait(1.4).said("resp_1", 5)
        assert silent(line)
        assert line.wishes == []

    def test_off(self) -> None:
        assert silent(Line().spoke())

    def test_at_once(self) -> None:
        line = Line(filler_after_s=0).spoke()
        assert line.wishes == [(1.0, Fill(True))]
        assert line.patience.next_timeout() is None

    def test_nothing_is_owed_to_a_caller_who_has_not_spoken(self) -> None:
        assert silent(Line(filler_after_s=1.5))

    def test_nothing_is_owed_before_the_answer(self) -> None:
        line = Line(answered=False, filler_after_s=1.5).created("resp_1").wait(10)
        assert line.wishes == []
        line.take(line.patience.answered(line.now))
        assert line.wait(5).wishes == [(11.5, Fill(True))]

    def test_a_function_takes_its_time(self) -> None:
        line = Line(filler_after_s=1.5).spoke().called("resp_1", "call_1").wait(10)
        assert line.wishes == [(2.5, Fill(True))]
        line.returned("call_1").client("response.create").wait(0.3)
        line.created("resp_2").wait(0.3).played(Started, "resp_2")
        # One wait: between result and request the filler does not pause for long.
        assert line.wishes[1:] == [
            (11.0, Fill(False)),
            (11.0, Fill(True)),
            (11.6, Fill(False)),
        ]

    def test_a_function_called_after_a_few_words(self) -> None:
        line = Line(filler_after_s=1.5).spoke()
        line.created("resp_1").played(Started, "resp_1")
        item = {"type": "function_call", "call_id": "call_1", "status": "completed"}
        line.server("response.output_item.done", response_id="resp_1", item=item).done("resp_1")
        line.wait(3).played(Stopped, "resp_1").wait(5)
        assert line.wishes == [(5.5, Fill(True))]

    def test_of_two_functions_one_is_slow(self) -> None:
        line = Line(filler_after_s=1.5).called("resp_1", "call_1")
        item = {"type": "function_call", "call_id": "call_2", "status": "completed"}
        line.created("resp_2")
        line.server("response.output_item.done", response_id="resp_2", item=item).done("resp_2")
        line.returned("call_2").wait(2)
        assert line.wishes == [(1.5, Fill(True))]
        output = {"type": "function_call_output", "call_id": "call_1"}
        line.server("conversation.item.added", item=output)
        assert line.wishes[1:] == [(2.0, Fill(False))]

    def test_a_call_that_was_cut_short_is_not_made(self) -> None:
        line = Line(filler_after_s=1.5).called("resp_1", "call_1", "incomplete")
        assert silent(line)

    def test_a_call_the_server_makes(self) -> None:
        line = Line(filler_after_s=1.5)
        line.server("response.mcp_call.in_progress", item_id="item_1").wait(2)
        line.server("response.mcp_call.completed", item_id="item_1")
        assert line.wishes == [(1.5, Fill(True)), (2.0, Fill(False))]

    def test_a_response_that_stalls_after_its_first_part(self) -> None:
        line = Line(filler_after_s=1.5).spoke().created("resp_1").played(Started, "resp_1")
        line.wait(2).played(Stopped, "resp_1").wait(3)
        assert line.wishes == [(4.5, Fill(True))]
        line.done("resp_1", "failed")
        assert line.wishes[1:] == [(6.0, Fill(False))]

    def test_the_caller_speaks_into_it(self) -> None:
        line = Line(filler_after_s=1.5).spoke().created("resp_1").wait(2)
        line.server("input_audio_buffer.speech_started")
        assert line.wishes == [(2.5, Fill(True)), (3.0, Fill(False))]
        assert silent(line)  # never while they speak
        line.done("resp_1", "cancelled")
        line.server("input_audio_buffer.speech_stopped")
        line.server("input_audio_buffer.committed").wait(2)
        assert line.wishes[2:] == [(1004.5, Fill(True))]

    def test_a_key_is_pressed_into_it(self) -> None:
        line = Line(filler_after_s=1.5).called("resp_1", "call_1").wait(2)
        line.take(line.patience.digit(line.now))
        assert line.wait(2).wishes == [(1.5, Fill(True)), (2.0, Fill(False)), (3.5, Fill(True))]

    def test_the_gateway_asks_for_the_greeting(self) -> None:
        line = Line(filler_after_s=1.5).client("response.create").wait(3)
        assert line.wishes == [(1.5, Fill(True))]

    def test_a_response_beside_the_conversation_is_not_owed(self) -> None:
        line = Line(filler_after_s=1.5)
        line.client("response.create", response={"conversation": "none"})
        line.server("response.created", response={"id": "resp_1", "conversation_id": None})
        item = {"type": "function_call", "call_id": "call_1", "status": "completed"}
        line.server("response.output_item.done", response_id="resp_1", item=item)
        assert silent(line)

    def test_a_request_that_was_refused_is_not_owed(self) -> None:
        line = Line(filler_after_s=1.5).client("response.create")
        line.server("error", error={"type": "invalid_request_error", "message": "no"})
        assert silent(line)

    @pytest.mark.parametrize("detection", [None, {"type": "server_vad", "create_response": False}])
    def test_a_server_that_does_not_answer_by_itself_owes_nothing(self, detection: Any) -> None:
        session = {"audio": {"input": {"turn_detection": detection}}}
        line = Line(filler_after_s=1.5).server("session.updated", session=session).spoke()
        assert silent(line)
        line.client("response.create").wait(2)
        assert line.wishes == [(1002.5, Fill(True))]

    def test_a_silence_of_before_does_not_count(self) -> None:
        """The model speaks up by itself after a long silence, and begins in good time."""
        line = Line(filler_after_s=1.5).wait(60).client("response.create").wait(1).said("resp_1")
        assert line.wishes == []


class TestNoInput:
    def test_asks_asks_again_and_ends_the_call(self) -> None:
        line = Line(no_input_s=10).said("resp_1", 3).wait(11)
        assert line.wishes == [(13.0, Say(THERE))]
        line.said("resp_2", 2).wait(11)
        assert line.wishes[1:] == [(26.0, Say(THERE))]
        line.said("resp_3", 2).wait(11)
        assert line.wishes[2:] == [(39.0, End("no_input"))]
        assert line.patience.next_timeout() is None
        assert silent(line.spoke().said("resp_4"))

    def test_off(self) -> None:
        assert silent(Line().said("resp_1"))

    def test_counts_from_the_answer_when_nobody_greets(self) -> None:
        assert Line(no_input_s=5).wait(6).wishes == [(5.0, Say(THERE))]

    def test_does_not_count_before_the_answer(self) -> None:
        assert silent(Line(answered=False, no_input_s=5, idle_s=5))

    def test_a_caller_who_answers_is_asked_as_often_again(self) -> None:
        line = Line(no_input_s=10, no_input_times=1).wait(10)
        line.said("resp_1").spoke().said("resp_2").wait(10)
        assert [wish for _, wish in line.wishes] == [Say(THERE), Say(THERE)]
        line.said("resp_3").wait(10)
        assert [wish for _, wish in line.wishes[2:]] == [End("no_input")]

    def test_a_key_is_an_answer(self) -> None:
        line = Line(no_input_s=10, no_input_times=1).wait(10).said("resp_1").wait(9)
        line.take(line.patience.digit(line.now))
        line.wait(9.9)
        assert [wish for _, wish in line.wishes] == [Say(THERE)]
        line.wait(0.1)
        assert [wish for _, wish in line.wishes] == [Say(THERE), Say(THERE)]

    def test_a_turn_that_a_client_commits_is_an_answer(self) -> None:
        line = Line(no_input_s=10, no_input_times=0)
        session = {"audio": {"input": {"turn_detection": None}}}
        line.server("session.updated", session=session).wait(9)
        line.client("input_audio_buffer.commit")
        line.server("input_audio_buffer.committed").wait(9)
        assert line.wishes == []
        assert line.wait(2).wishes == [(19.0, End("no_input"))]

    def test_never_while_the_caller_speaks(self) -> None:
        line = Line(no_input_s=10).wait(9).server("input_audio_buffer.speech_started")
        assert silent(line)

    def test_never_while_the_model_speaks(self) -> None:
        assert Line(no_input_s=10).said("resp_1", 100).wishes == []

    def test_never_while_a_response_is_made(self) -> None:
        assert silent(Line(no_input_s=10).spoke().created("resp_1"))

    def test_never_while_a_function_is_called(self) -> None:
        line = Line(no_input_s=10).called("resp_1", "call_1")
        assert silent(line, 60)
        line.returned("call_1").client("response.create").said("resp_2").wait(11)
        assert line.wishes == [(72.0, Say(THERE))]

    def test_what_was_interrupted_does_not_sound(self) -> None:
        line = Line(no_input_s=10).created("resp_1").played(Started, "resp_1").wait(2)
        line.take(line.patience.cleared(line.now))
        assert line.done("resp_1", "cancelled").wait(11).wishes == [(12.0, Say(THERE))]

    def test_a_question_that_is_never_asked_is_the_fault_of_the_server(self) -> None:
        assert silent(Line(no_input_s=10).wait(11))

    def test_noise_is_no_input(self) -> None:
        """A muted telephone goes on sending; only speech would be told by the server."""
        line = Line(no_input_s=10)
        for _ in range(12):
            line.wait(1).server("rate_limits.updated")
        assert line.wishes == [(10.0, Say(THERE))]

    def test_hold_pauses_it(self) -> None:
        line = Line(no_input_s=10).wait(9).held(True)
        assert silent(line)
        assert line.held(False).wait(11).wishes == [(1019.0, Say(THERE))]

    def test_without_a_session_nothing_counts(self) -> None:
        line = Line(no_input_s=10, filler_after_s=1).wait(9).spoke().wait(2)
        assert line.wishes == [(11.0, Fill(True))]
        line.take(line.patience.lost(line.now))
        assert line.wishes[1:] == [(12.0, Fill(False))]
        assert silent(line)
        line.take(line.patience.resumed(line.now))
        assert line.wait(10).wishes[2:] == [(1022.0, Say(THERE))]

    def test_a_function_is_still_awaited_in_the_next_session(self) -> None:
        line = Line(no_input_s=10).called("resp_1", "call_1")
        line.server("response.mcp_call.in_progress", item_id="item_2")
        line.take(line.patience.lost(line.now))
        line.take(line.patience.resumed(line.now))
        assert silent(line)
        assert line.returned("call_1").wait(11).wishes == [(1010.0, Say(THERE))]

    def test_a_session_that_takes_over_in_silence_changes_nothing(self) -> None:
        line = Line(no_input_s=10, idle_s=15, no_input_times=1).wait(6)
        line.take(line.patience.resumed(line.now))
        assert line.wait(4).wishes == [(10.0, Say(THERE))]
        line.wait(3)
        line.take(line.patience.resumed(line.now))
        assert line.wait(3).wishes[1:] == [(15.0, End("idle"))]


class TestGoodbye:
    def leaving(self, **policy: Any) -> Line:
        line = Line(no_input_s=10, no_input_times=0, goodbye=BYE, **policy).wait(10)
        assert line.wishes == [(10.0, Say(BYE))]
        return line

    def test_is_heard_to_its_end(self) -> None:
        line = self.leaving().wait(0.5).created("resp_1").played(Started, "resp_1").done("resp_1")
        line.wait(3).played(Stopped, "resp_1")
        assert line.wishes[1:] == [(13.5, End("no_input"))]

    def test_is_made_before_it_begins_to_sound(self) -> None:
        line = self.leaving().created("resp_1").done("resp_1")
        line.wait(0.04).played(Started, "resp_1").wait(3).played(Stopped, "resp_1")
        assert line.wishes[1:] == [(13.04, End("no_input"))]

    def test_is_made_to_its_end_after_it_stopped_to_sound(self) -> None:
        line = self.leaving().created("resp_1").played(Started, "resp_1").wait(2)
        line.played(Stopped, "resp_1")
        assert line.wishes[1:] == []
        assert line.wait(0.1).done("resp_1").wishes[1:] == [(12.1, End("no_input"))]

    def test_takes_too_long(self) -> None:
        line = self.leaving().created("resp_1").played(Started, "resp_1").wait(60)
        assert line.wishes[1:] == [(10 + LAST_WORDS_S, End("no_input"))]

    def test_never_comes(self) -> None:
        assert self.leaving().wait(60).wishes[1:] == [(10 + LAST_WORDS_S, End("no_input"))]

    def test_has_no_sound(self) -> None:
        line = self.leaving().wait(1).created("resp_1").done("resp_1", "failed").wait(60)
        assert line.wishes[1:] == [(12.0, End("no_input"))]

    def test_is_interrupted_by_a_caller_who_is_there_after_all(self) -> None:
        line = self.leaving().created("resp_1").played(Started, "resp_1").wait(1)
        line.server("input_audio_buffer.speech_started")
        line.take(line.patience.cleared(line.now))
        line.done("resp_1", "cancelled").wait(30)
        line.server("input_audio_buffer.speech_stopped")
        line.server("input_audio_buffer.committed").said("resp_2")
        assert line.wishes[1:] == []
        assert line.wait(10).wishes[1:] == [(53.0, Say(BYE))]

    @pytest.mark.parametrize("sign", ["digit", "held", "lost"])
    def test_is_called_off(self, sign: str) -> None:
        line = self.leaving().created("resp_1").played(Started, "resp_1").done("resp_1")
        if sign == "held":
            line.held(True)
        elif sign == "lost":
            line.take(line.patience.lost(line.now))
        else:
            line.take(line.patience.digit(line.now))
        line.played(Stopped, "resp_1").wait(5)
        assert line.wishes[1:] == []

    def test_an_answer_that_was_due_before_it_is_not_the_goodbye(self) -> None:
        """The server commits a silence by itself, and answers that first."""
        line = self.leaving().server("input_audio_buffer.committed").said("resp_1")
        assert line.wishes[1:] == []
        assert line.said("resp_2").wishes[1:] == [(14.0, End("no_input"))]


class TestIdle:
    def test_nothing_happens_at_all(self) -> None:
        line = Line(idle_s=30).said("resp_1", 3).wait(60)
        assert line.wishes == [(33.0, End("idle"))]

    def test_any_event_is_something(self) -> None:
        line = Line(idle_s=30).wait(29).client("session.update").wait(29)
        line.server("session.updated").wait(29)
        assert line.wishes == []

    def test_sound_is_something(self) -> None:
        line = Line(idle_s=30).created("resp_1").played(Started, "resp_1").wait(100)
        line.played(Stopped, "resp_1").done("resp_1")
        line.server("input_audio_buffer.speech_started").wait(100)
        assert line.wishes == []

    def test_a_server_that_never_answers(self) -> None:
        line = Line(idle_s=30, filler_after_s=2).spoke().wait(60)
        assert line.wishes == [(3.0, Fill(True)), (31.0, End("idle"))]

    def test_a_question_nobody_asks_is_nothing(self) -> None:
        line = Line(idle_s=30, no_input_s=10).wait(60)
        assert line.wishes == [(10.0, Say(THERE)), (30.0, End("idle"))]

    def test_no_question_in_the_moment_of_the_end(self) -> None:
        assert Line(idle_s=10, no_input_s=10).wait(60).wishes == [(10.0, End("idle"))]

    def test_hold_and_a_lost_session_pause_it(self) -> None:
        line = Line(idle_s=30).held(True)
        assert silent(line)
        line.held(False)
        line.take(line.patience.lost(line.now))
        assert silent(line)
        line.take(line.patience.resumed(line.now))
        assert line.wait(60).wishes == [(2030.0, End("idle"))]


class TestTooLong:
    def ending(self, line: Line) -> Line:
        line.take(line.patience.too_long(line.now))
        return line

    def test_without_words(self) -> None:
        assert self.ending(Line().wait(3)).wishes == [(3.0, End("max_duration"))]

    def test_with_words(self) -> None:
        line = self.ending(Line(max_duration_say=LIMIT))
        assert line.wishes == [(0.0, Say(LIMIT))]
        assert line.said("resp_1", 4).wishes[1:] == [(4.0, End("max_duration"))]
        assert silent(self.ending(line))

    def test_told_twice(self) -> None:
        line = self.ending(self.ending(Line(max_duration_say=LIMIT)))
        assert line.wishes == [(0.0, Say(LIMIT))]

    def test_in_the_middle_of_an_answer(self) -> None:
        line = Line(max_duration_say=LIMIT).created("resp_1").played(Started, "resp_1").wait(1)
        self.ending(line).done("resp_1").created("resp_2").wait(2).played(Stopped, "resp_1")
        line.played(Started, "resp_2").done("resp_2")
        assert line.wishes == [(1.0, Say(LIMIT))]
        assert line.wait(2).played(Stopped, "resp_2").wishes[1:] == [(5.0, End("max_duration"))]

    def test_the_caller_speaks_on(self) -> None:
        line = Line(max_duration_say=LIMIT).server("input_audio_buffer.speech_started")
        self.ending(line).wait(60)
        assert line.wishes == [(0.0, Say(LIMIT)), (LAST_WORDS_S, End("max_duration"))]

    def test_the_caller_speaks_into_the_last_words(self) -> None:
        line = self.ending(Line(max_duration_say=LIMIT)).created("resp_1")
        line.played(Started, "resp_1").wait(1).server("input_audio_buffer.speech_started")
        line.take(line.patience.cleared(line.now))
        line.done("resp_1", "cancelled").wait(2)
        assert line.wishes == [(0.0, Say(LIMIT))]
        line.server("input_audio_buffer.speech_stopped")
        assert line.wishes[1:] == [(3.0, End("max_duration"))]

    def test_in_the_middle_of_the_goodbye_to_a_silent_caller(self) -> None:
        line = Line(no_input_s=10, no_input_times=0, goodbye=BYE, max_duration_say=LIMIT).wait(10)
        self.ending(line).created("resp_1").played(Started, "resp_1")
        line.server("input_audio_buffer.speech_started").wait(60)  # this does not stop it any more
        assert line.wishes == [(10.0, Say(BYE)), (10 + LAST_WORDS_S, End("max_duration"))]

    @pytest.mark.parametrize("state", ["held", "lost"])
    def test_nobody_could_hear_the_words(self, state: str) -> None:
        line = Line(max_duration_say=LIMIT)
        line.take(line.patience.lost(0.0) if state == "lost" else line.patience.held(True, 0.0))
        assert self.ending(line).wishes == [(0.0, End("max_duration"))]

    def test_the_session_is_lost_in_the_middle_of_them(self) -> None:
        line = self.ending(Line(max_duration_say=LIMIT)).created("resp_1")
        line.played(Started, "resp_1").wait(1)
        line.take(line.patience.lost(line.now))
        assert line.wishes == [(0.0, Say(LIMIT))]
        assert line.wait(2).played(Stopped, "resp_1").wishes[1:] == [(3.0, End("max_duration"))]

    def test_before_the_answer(self) -> None:
        assert self.ending(Line(answered=False)).wishes == []


def event(kind: str, **fields: Any) -> tuple[str, Event]:
    return "server_event", {"type": kind} | fields


RESPONSES = ["resp_1", "resp_2"]
FUNCTION = {"type": "function_call", "call_id": "call_1", "status": "completed"}
RESULT = {"type": "function_call_output", "call_id": "call_1"}
INPUTS: list[tuple[Any, ...]] = [
    event("input_audio_buffer.speech_started"),
    event("input_audio_buffer.speech_stopped"),
    event("input_audio_buffer.committed"),
    event("input_audio_buffer.cleared"),
    event("session.updated", session={"audio": {"input": {"turn_detection": None}}}),
    event("session.updated", session={"audio": None}),
    event("session.updated"),
    event("error", error={}),
    event("response.created", response={"id": "resp_3", "conversation_id": None}),
    event("response.mcp_call.in_progress", item_id="item_1"),
    event("response.mcp_call.failed", item_id="item_1"),
    event("conversation.item.done", item=RESULT),
    event("conversation.item.added", item="no item"),
    *(event("response.created", response={"id": name}) for name in RESPONSES),
    *(event("response.done", response={"id": name}) for name in RESPONSES),
    *(event("response.output_item.done", response_id=name, item=FUNCTION) for name in RESPONSES),
    ("client_event", {"type": "response.create"}),
    ("client_event", {"type": "response.create", "response": {"conversation": "none"}}),
    ("client_event", {"type": "conversation.item.create", "item": RESULT}),
    ("client_event", {"type": "input_audio_buffer.commit"}),
    *(("played", Started(ItemPart(name, "item_1", 0))) for name in RESPONSES),
    *(("played", Stopped(ItemPart(name, "item_1", 0))) for name in RESPONSES),
    ("cleared",),
    ("digit",),
    ("held", True),
    ("held", False),
    ("lost",),
    ("resumed",),
    ("too_long",),
]
POLICIES = st.builds(
    PatiencePolicy,
    filler_after_s=st.sampled_from([None, 0.0, 1.5]),
    no_input_s=st.sampled_from([0, 3, 5]),
    no_input_times=st.integers(0, 2),
    goodbye=st.sampled_from(["", BYE]),
    idle_s=st.sampled_from([0, 5, 8]),
    max_duration_say=st.sampled_from(["", LIMIT]),
)


@settings(max_examples=300, deadline=None)
@given(
    policy=POLICIES,
    steps=st.lists(
        st.tuples(st.sampled_from(INPUTS), st.sampled_from([0.0, 0.3, 2.0, 6.0, 20.0])),
        max_size=40,
    ),
)
def test_whatever_happens(policy: PatiencePolicy, steps: list[tuple[Any, float]]) -> None:
    """It never raises, asks for no time that is past, alternates fillers and ends once, last."""
    patience = Patience(policy)
    wishes: list[Wish] = list(patience.answered(0.0))
    now, speaking = 0.0, False
    for (name, *arguments), pause in steps:
        wishes += getattr(patience, name)(*arguments, now)
        kind = arguments[0]["type"] if name == "server_event" else name
        speaking = kind == "input_audio_buffer.speech_started" or (
            speaking and not kind.startswith(("input_audio_buffer", "lost", "resumed"))
        )
        end = now + pause
        while (at := patience.next_timeout()) is not None and at <= end:
            assert at >= now
            now = at
            wished = patience.timeout(now)
            assert wished
            assert not speaking or wished == [End("max_duration")]
            wishes += wished
            after = patience.next_timeout()
            assert after is None or after > now
        now = end
    ends = [wish for wish in wishes if isinstance(wish, End)]
    assert len(ends) <= 1
    assert wishes[-1:] == ends or not ends
    fills = [wish.on for wish in wishes if isinstance(wish, Fill)]
    assert fills == [number % 2 == 0 for number in range(len(fills))]
