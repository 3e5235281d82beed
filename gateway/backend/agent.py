"""The agent's side of a session: what it answers, and the responses in which it does. Pure.

One response at a time belongs to the conversation. Any others are outside of it (`conversation:
"none"`): they run beside it, and what they are asked does not move the dialogue on.

The greeting is the first answer, unless there is something to answer by then: who comes with a
question has no use for it any more. Nor has a conversation into which the client has put a message
of the agent: that call was begun elsewhere, and goes on where the dialogue stands by what was said
there, if need be with the rest of a line of which only the beginning was. A greeting that was asked
for, and cut off before anything of it was put out, is still owed to a caller who has done no more
than speak: to "Hello?" it is the answer.
"""

from collections.abc import Callable, Iterator
from typing import Final

from gateway.backend.config import Pacing, RateLimits
from gateway.backend.dialogue import (
    Dialogue,
    DialogueRun,
    Input,
    Pressed,
    Reply,
    Spoke,
    unsaid,
)
from gateway.backend.items import Conversation, tokens_of
from gateway.backend.output import Emit, FunctionCall, Output, SpokenMessage, Stage, WrittenMessage
from gateway.backend.plans import Plan
from gateway.backend.rates import Rates
from gateway.backend.responses import Context, Pace, Response
from gateway.backend.speech import Speech, SpeechRequest
from gateway.backend.tokens import Tokens, text_tokens
from gateway.realtime.errors import RealtimeError

_MAX_BESIDE: Final = 8
"""Responses outside of the conversation at a time; each may hold minutes of sound."""


class Agent:
    """Answers in one session.

    Args:
        token: fresh text for ids.
        random: numbers from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        conversation: Conversation,
        *,
        pacing: Pacing,
        rate_limits: RateLimits,
        token: Callable[[], str],
        random: Callable[[], float],
        emit: Emit,
        now: float,
    ) -> None:
        self.voiced = False
        """The agent was heard in the conversation."""
        self.silent_since: float | None = None
        """When the agent fell silent, if nobody has done anything since."""
        self._dialogue = dialogue
        self._run = DialogueRun(dialogue)
        self._conversation = conversation
        self._pacing = pacing
        self._rates = Rates(rate_limits, now)
        self._token = token
        self._random = random
        self._emit = emit
        self._heard: Input | None = None  # what the next response answers
        self._rest = Reply()  # of what was being said when this session took over
        self._greeted = False
        self._greets = False  # the latest reply is the greeting
        self._greeting = ""  # the response that is it
        self._owed = False  # the greeting, which was cut off before it began
        self._answered = False  # a response of the conversation has ended
        self._idle_spent = False
        self._response: Response | None = None  # of the conversation
        self._beside: dict[str, Response] = {}
        self._read = Tokens()  # what the last response of the conversation was made of
        self._to_speak: list[SpeechRequest] = []

    # What happens to it.

    def hear(self, heard: Input) -> None:
        """Take what the next response is to answer. A voice does not make keys unheard."""
        if not (isinstance(heard, Spoke) and isinstance(self._heard, Pressed)):
            self._heard, self._rest = heard, Reply()

    def follow(self, said: str, now: float) -> None:
        """Take it that the agent has said this already, before this session."""
        heard, self._heard = self._heard, None
        given = Reply()  # what was said, as the dialogue has it; from there it goes on
        if heard is not None:
            given = self._run.answer(heard)
        elif not self._greeted:
            given = self._run.greeting()
        begun = said and " ".join(given.line).startswith(said)
        self._rest = Reply(unsaid(given.line, said), given.call) if begun else Reply()
        self._greeted = self._answered = True
        self.silent_since = now

    def notice(self) -> None:
        """The caller did something: he is not idle."""
        self.silent_since = None
        self._idle_spent = False

    def overlook(self, now: float) -> None:
        """What the caller did is taken back: he is silent from now on."""
        if self._answered and not self.busy:
            self.silent_since = now

    def speak(self, request: SpeechRequest, speech: Speech, now: float) -> None:
        """Take the sound of a line; its response may be over."""
        for response in self._responses():
            if response.id == request.response_id:
                response.speak(speech, now)

    # Responses.

    @property
    def busy(self) -> bool:
        """A response of the conversation runs."""
        return self._response is not None

    def create(self, plan: Plan, heard: Input | None, now: float) -> None:
        """Respond because the client asks for it.

        Args:
            heard: what the plan's own context says.

        Raises:
            RealtimeError: another response is in the way.
        """
        if self._response is not None and plan.in_band:
            raise RealtimeError(
                "Conversation already has an active response in progress: "
                f"{self._response.id}. Wait until the response is finished before creating a "
                "new one.",
                code="conversation_already_has_active_response",
            )
        if not plan.in_band and len(self._beside) >= _MAX_BESIDE:
            message = f"Too many responses at a time: {_MAX_BESIDE} are in progress."
            raise RealtimeError(message, code="rate_limit_exceeded", kind="rate_limit_error")

        def reply() -> Reply:
            if not plan.in_band:
                return DialogueRun(self._dialogue).answer(heard)
            return self._next() if plan.context is None else self._run.answer(heard)

        self._respond(plan, reply, now)

    def answer(self, plan: Plan, now: float) -> None:
        """Respond to the caller's turn."""
        self._respond(plan, self._next, now)

    def prompt(self, plan: Plan, now: float) -> None:
        """Respond to the caller's silence."""
        self._idle_spent = True
        idle = self._run.idle_s() is not None
        self._respond(plan, self._run.idle if idle else lambda: self._run.answer(None), now)

    def idle_s(self) -> float | None:
        """After how much silence the dialogue wants to `prompt`: once, until `notice`."""
        return None if self._idle_spent else self._run.idle_s()

    def cancel(self, response_id: str | None, now: float) -> None:
        """End a response for the client; None is that of the conversation.

        Raises:
            RealtimeError: it does not run.
        """
        for response in self._responses():
            if response.id == response_id or (response_id is None and response is self._response):
                response.cancel("client_cancelled", now)
                self._settle(now)
                return
        message = "Cancellation failed: no active response found"
        raise RealtimeError(message, code="response_cancel_not_active")

    def interrupt(self, now: float) -> None:
        """End the response of the conversation, because the caller speaks."""
        if self._response is not None:
            self._response.cancel("turn_detected", now)
            self._settle(now)

    # Time.

    def timeout(self, now: float) -> None:
        for response in list(self._responses()):
            response.timeout(now)
        self._settle(now)

    def next_timeout(self) -> float | None:
        deadlines = (response.next_timeout() for response in self._responses())
        return min((at for at in deadlines if at is not None), default=None)

    def lines_to_speak(self) -> list[SpeechRequest]:
        """Lines whose sound is wanted; each is handed out once, and answered by `speak`."""
        wanted, self._to_speak = self._to_speak, []
        return wanted

    # Within.

    def _responses(self) -> Iterator[Response]:
        if self._response is not None:
            yield self._response
        yield from self._beside.values()

    def _next(self) -> Reply:
        """What to say next: the greeting if it is due, and answers."""
        heard, self._heard = self._heard, None
        rest, self._rest = self._rest, Reply()
        if rest.line or rest.call:
            return rest
        awaits = heard is None or (self._owed and isinstance(heard, Spoke))
        self._greets = awaits and not self._greeted
        self._greeted = True
        return self._run.greeting() if self._greets else self._run.answer(heard)

    def _respond(self, plan: Plan, reply: Callable[[], Reply], now: float) -> None:
        refusal = self._rates.take_request(now)
        self._greets = False
        made = Reply() if refusal else plan.decided() or plan.allowed(reply())
        stage = Stage(
            f"resp_{self._token()}",
            self._conversation,
            in_band=plan.in_band,
            token=self._token,
            emit=self._emit,
        )
        response = Response(
            stage,
            list(self._outputs(stage, plan, made)),
            resource=plan.resource,
            context=self._context(plan),
            pace=Pace(self._pacing, self._random, now),
            now=now,
        )
        if self._greets:
            self._greeting = response.id
        if plan.in_band:
            self._response = response
            self.silent_since = None
        else:
            self._beside[response.id] = response
        if refusal is not None:
            response.fail(refusal)
            self._settle(now)

    def _outputs(self, stage: Stage, plan: Plan, reply: Reply) -> Iterator[Output]:
        if reply.line and plan.written:
            yield WrittenMessage(stage, reply.line)
        elif reply.line:
            self._to_speak.append(SpeechRequest(stage.response_id, reply.line, plan.format))
            yield SpokenMessage(stage, plan.format)
        if reply.call is not None:
            yield FunctionCall(stage, reply.call)

    def _context(self, plan: Plan) -> Context:
        told = Tokens(text_tokens(plan.instructions))
        if plan.context is not None:
            return Context(told.plus(tokens_of(plan.context)))
        read = told.plus(self._conversation.tokens)
        context = Context(read, read.at_most(self._read))
        if plan.in_band:
            self._read = read
        return context

    def _settle(self, now: float) -> None:
        """Look after the responses that have ended."""
        response = self._response
        if response is not None:
            self.voiced |= response.voiced
            if response.done:
                self._response = None
                self._answered = True
                self.silent_since = max(now, response.plays_until)
                if response.id == self._greeting and not response.began:
                    self._greeted, self._owed = False, True
                self._count(response, now)
        for beside in [one for one in self._beside.values() if one.done]:
            del self._beside[beside.id]
            self._count(beside, now)

    def _count(self, response: Response, now: float) -> None:
        self._rates.take_tokens(response.tokens, now)
        self._emit("rate_limits.updated", rate_limits=self._rates.shown(now))
