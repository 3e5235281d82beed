"""A rehearsal: the `expect` lines of a dialogue against what a caller really does. Pure.

    [[expect]]                 # in this order
    any_speech = true          # the caller speaks
    within_s = 20              # after the step before, or after the session began; optional

    [[expect]]
    dtmf = "1"                 # also text, and result with contains: triggers as rules have them

    [[expect]]
    silence_s = 5              # for so long after the step before nothing comes

It fails by anything else that comes before all steps are met; afterwards anything may come. It is
told of every event that the session sends, because they show all that the caller and the
application have done.
"""

from gateway.backend.dialogue import (
    Expectation,
    Input,
    Pressed,
    Returned,
    Spoke,
    Typed,
    readings,
    written,
)
from gateway.realtime.events import Event

_LONGEST_QUOTE = 80


class Rehearsal:
    """One session's rehearsal.

    Args:
        strict: a session whose rehearsal has failed is not worth going on with.
    """

    def __init__(self, steps: tuple[Expectation, ...], now: float, *, strict: bool = False) -> None:
        self.failure: str | None = None
        """Which step was not met, and why; without what a caller has pressed or written."""
        self.seen = ""
        """What there was instead, with that."""
        self._strict = strict
        self._steps = steps
        self._met = 0
        self._since = now
        self._functions: dict[str, str] = {}  # names of the functions by call_id
        self._timed_out = ""  # an item of the caller's that holds nothing but silence

    @property
    def over(self) -> bool:
        """Whether the session is to end now."""
        return self._strict and self.failure is not None

    def sent(self, event: Event, now: float) -> None:
        """Take an event that the session sends."""
        self.timeout(now)
        step = self._step()
        if step is None:
            return
        if event["type"] == "input_audio_buffer.speech_started" and step.silence_s is not None:
            self._fail(step, f"the caller spoke after {now - self._since:.1f} s")
        heard = self._input(event)
        if heard is None:
            return
        if step.trigger is None:
            self._fail(step, f"{_told(heard)} after {now - self._since:.1f} s", heard)
        elif any(step.trigger.matches(heard, keys) for keys in readings(heard)):
            self._met += 1
            self._since = now
        else:
            self._fail(step, f"{_told(heard, 'other ')} instead", heard)

    def next_timeout(self) -> float | None:
        """When `timeout` is due; None for never."""
        step = self._step()
        wait_s = None if step is None else step.silence_s or step.within_s
        return None if wait_s is None else self._since + wait_s

    def timeout(self, now: float) -> None:
        """Do what is due."""
        while (due := self.next_timeout()) is not None and now >= due:
            step = self._steps[self._met]
            if step.silence_s is None:
                self._fail(step, f"nothing of it within {step.within_s:g} s")
            self._met += 1
            self._since = due

    def end(self, now: float) -> None:
        """The session is over. What is not met by now will not be."""
        self.timeout(now)
        step = self._step()
        if step is not None:
            self._fail(step, "the session ended before")

    def _step(self) -> Expectation | None:
        if self.failure is not None or self._met == len(self._steps):
            return None
        return self._steps[self._met]

    def _fail(self, step: Expectation, reason: str, heard: Input | None = None) -> None:
        if self.failure is None:
            self.failure = f"{step.where}: {reason}"
            self.seen = _seen(heard)

    def _input(self, event: Event) -> Input | None:
        """What the event shows that the caller or the application has done."""
        if event["type"] == "input_audio_buffer.timeout_triggered":
            self._timed_out = event["item_id"]
        if event["type"] != "conversation.item.done":
            return None
        item = event["item"]
        match item["type"]:
            case "function_call":
                self._functions[item["call_id"]] = item["name"]
            case "function_call_output":
                return Returned(self._functions.get(item["call_id"], ""), item["output"])
            case "message" if item["role"] == "user" and item["id"] != self._timed_out:
                if any(part["type"] == "input_audio" for part in item["content"]):
                    return Spoke(0)
                return written(" ".join(part.get("text") or "" for part in item["content"]))
        return None


def _told(heard: Input, other: str = "") -> str:
    match heard:
        case Spoke():
            return "the caller spoke"
        case Pressed():
            return f"the caller pressed {other}keys"
        case Typed():
            return f"{other}text came"
        case Returned(name):
            return f"{name or 'an unknown function'} returned {other}output"


def _seen(heard: Input | None) -> str:
    match heard:
        case Pressed(text) | Typed(text) | Returned(_, text):
            return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "..."
    return ""
