"""What is being said in an answered call: turns, interruptions and digits.

The gateway owns the playout, so it alone knows what the caller heard. The Realtime server generates
faster than real time and only knows what it sent. Everything here keeps the two in step:

* Interruption. `speech_started` (unless the session says `interrupt_response: false`), a key press
  or a client's `output_audio_buffer.clear` empties the playout at once. For every part that was not
  fully heard the server is told `conversation.item.truncate` with the heard milliseconds, and audio
  of the interrupted response that is still on its way is dropped.
* Playout events. `output_audio_buffer.started` when the first frame of a response leaves;
  `.stopped` when it was played to its end *and* the response is done; `.cleared` when it was cut.
* Digits become events at once, and text for the model when a line of them is complete.
* Sessions come and go. When one is lost, the response in progress is over for all who follow it,
  what was queued of it is still heard, and the next session is asked for what the caller is owed.

Pure: events, marks and `now` in; effects out.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.audio.playout import Heard, ItemPart, Started, Stopped
from gateway.calls.digits import DigitCollector
from gateway.calls.effects import ClearPlayout, Effect, FinishPart, Note, ToBackend, ToControl
from gateway.calls.requests import Requests
from gateway.calls.responses import Responses
from gateway.realtime import events
from gateway.realtime.audio import part_of
from gateway.realtime.errors import RealtimeError
from gateway.realtime.events import Event, is_out_of_band, text_of
from gateway.realtime.session import turn_detection_of

_REMEMBERED_RESPONSES = 16
"""How many interrupted responses are remembered; their late audio comes within a second or two."""


class Conversation:
    """The turns of one call.

    Args:
        new_event_id: makes ids for the events that the gateway originates.
        digits_to_model: whether key presses also reach the model as text.
    """

    def __init__(self, *, new_event_id: Callable[[], str], digits_to_model: bool) -> None:
        self._new_event_id = new_event_id
        self._digits_to_model = digits_to_model
        self._digits = DigitCollector()
        self._effects: list[Effect] = []
        self._interrupts = True
        self._cancels = False  # on speech we cancel the response ourselves
        self._answers = True  # the server answers a turn without being asked
        self._parts: dict[ItemPart, None] = {}  # with audio queued and more to come, in order
        self._interrupted: dict[str, None] = {}  # oldest first
        # Responses by the event that cancels them, oldest first.
        self._cancelled: dict[str, str] = {}
        self._heard_response = ""  # the response whose start was announced and whose end was not
        self._played_out = False  # its audio ended before the response was done
        self._requests = Requests(new_event_id)
        self._responses = Responses()
        self._speaking = False  # the caller is
        self._awaited = False  # the caller's turn is over, and the server will answer it
        self._owed = False  # a session was lost before it had answered
        self._turn_ended_at: float | None = None
        self.turns = 0
        self.bargeins = 0
        self.dtmf_count = 0
        self.response_ms: deque[float] = deque(maxlen=1000)
        """From the end of the caller's turn, as the server reported it, to the first frame."""

    def wants_audio(self, response_id: str) -> bool:
        """Whether audio of this response is still to be played. On the hot path."""
        return response_id not in self._interrupted

    def audio(self, part: ItemPart) -> None:
        """Audio of this part begins to be queued."""
        self._parts[part] = None

    @property
    def active(self) -> str:
        """The id of the response in progress; "" if there is none."""
        return self._responses.active

    @property
    def sounding(self) -> bool:
        """Whether a response is heard, or about to be."""
        return bool(self._heard_response or self._parts)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way between the caller and the model. What the model said may
        still be heard."""
        busy = self.active or self._requests.pending
        return not (busy or self._speaking or self._awaited)

    def configured(self, session: dict[str, Any], *, cancels: bool | None = None) -> None:
        """The session as the server confirmed it.

        Args:
            cancels: whether the gateway has to cancel a response on speech; None: as before.
        """
        detection = turn_detection_of(session)
        self._interrupts = (detection or {}).get("interrupt_response") is not False
        self._answers = detection is not None and detection.get("create_response") is not False
        self._speaking &= detection is not None
        if cancels is not None:
            self._cancels = cancels

    # Inputs. Each returns the effects it asks for.

    def say(self, instructions: str = "") -> list[Effect]:
        """Have the model speak, as it thinks fit or as these instructions tell it."""
        self._ask(events.response_create(instructions))
        return self._drain()

    def lost(self, error: RealtimeError) -> list[Effect]:
        """The session is gone; `error` is for those who follow its responses."""
        active = self.active
        owed = self._requests.lost()
        if active:
            complete = self._responses.item_done and not self._parts
            owed = not complete and active not in self._interrupted
        # A turn that has begun is heard by the next session from its start.
        self._owed = not self._speaking and (owed or self._awaited)
        self._speaking = self._awaited = False
        for ended in self._responses.fail(error, self._new_event_id):
            self._effects.append(ToControl(ended))
        if active:
            self._response_done(active)
        # The next session counts its responses as it likes, and nothing of this one comes any more.
        self._interrupted.clear()
        return self._drain()

    def resumed(self) -> list[Effect]:
        """The next session is there and knows what was said: it is asked for what is owed."""
        owed, self._owed = self._owed, False
        self._send(self._requests.resumed(owed=owed, busy=bool(self.active)))
        return self._drain()

    def server_event(self, event: Event, now: float) -> list[Effect]:
        """An event of the Realtime session, audio deltas excepted."""
        kind = event["type"]
        if kind == "error" and text_of(event, "error", "event_id") in self._cancelled:
            return self._not_cancelled(event)
        self._effects.append(ToControl(event))
        if kind == "input_audio_buffer.speech_started":
            self._speech_started()
        elif kind == "input_audio_buffer.speech_stopped":
            self._turn_ended_at = now
            self._speaking = False
        elif kind == "input_audio_buffer.committed":
            self._speaking = False
            self._awaited = self._answers
        elif kind == "input_audio_buffer.cleared":
            self._speaking = False
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._responses.item(event)
        elif kind == "response.created":
            self._created(event)
        elif kind in ("response.output_audio.done", "response.audio.done"):  # GA, beta
            self._audio_done(event)
        elif kind == "response.done":
            self._response_done(text_of(event, "response", "id"))
        elif kind in ("session.created", "session.updated"):
            session = event.get("session")
            self.configured(session if isinstance(session, dict) else {})
        elif kind == "error":
            self._refused(event)
        return self._drain()

    def client_event(self, event: Event) -> list[Effect]:
        """An event from a client that controls the call."""
        if event["type"] == "output_audio_buffer.clear":
            self._silence("client")
        else:
            if event["type"] == "response.create":
                self._requests.by_client(event)
            self._effects.append(ToBackend(event))
        return self._drain()

    def not_sent(self, event: Event) -> None:
        """An event of a client went to nobody."""
        self._requests.withdraw(event)

    def played(self, mark: Started | Stopped, now: float) -> list[Effect]:
        """The playout passed the start or the end of a response."""
        response_id = mark.part.response_id
        if isinstance(mark, Started):
            self._started(response_id, now)
        elif response_id == self._heard_response:
            self._played_out = True
            if response_id != self.active:
                self._stopped()
        return self._drain()

    def digit(self, digit: str, received_at: int, now: float) -> list[Effect]:
        """One key press."""
        self.dtmf_count += 1
        self._effects.append(ToControl(events.dtmf_received(digit, received_at)))
        if self._digits_to_model:
            # As on any phone menu, a key silences the prompt: the answer will be about the key.
            self._silence("dtmf")
            self._turn_ended_at = now
            self._complete(self._digits.press(digit, now))
        return self._drain()

    def cleared(self, heard: list[Heard], cause: str) -> list[Effect]:
        """The playout was emptied; `heard` lists what had not been heard to its end."""
        cancels = cause == "dtmf" or (cause == "speech" and self._cancels)
        if self.active and self._interrupt(self.active) and cancels:
            # On speech most servers cancel by themselves, a client says so itself; else we do.
            self._cancel()
        for entry in heard:
            part = entry.part
            self._interrupt(part.response_id)
            self._effects.append(
                ToBackend(events.truncate(part.item_id, part.content_index, entry.heard_ms))
            )
        if heard:
            self.bargeins += 1
        cut = self._heard_response if heard else ""
        if not cut and cause == "client":
            cut = self.active  # not heard yet: whoever cleared it waits for the answer
        if cut:
            self._buffer("cleared", cut)
            self._heard_response = ""
        return self._drain()

    def timeout(self, now: float) -> list[Effect]:
        self._complete(self._digits.timeout(now))
        return self._drain()

    def next_timeout(self) -> float | None:
        return self._digits.next_timeout()

    # Parts of the above.

    def _speech_started(self) -> None:
        self._turn_ended_at = None
        self._speaking = True
        self._awaited = False
        # The turn that begins now will be answered, digits included: no answer of their own.
        self._tell(self._digits.take())
        self._requests.drop_due()
        if self._interrupts:
            self._silence("speech")

    def _created(self, event: Event) -> None:
        out_of_band = is_out_of_band(event)
        unwanted = self._requests.begun(out_of_band=out_of_band)
        self._responses.created(event, out_of_band=out_of_band)
        if out_of_band:
            return
        self._awaited = False
        if unwanted:
            self._interrupt(self.active)
            self._cancel()

    def _refused(self, event: Event) -> None:
        """The server could not do something; if it was to answer, it is asked again later."""
        named = ("type", "code", "param", "message")
        fields = {name: text_of(event, "error", name) for name in named}
        self._effects.append(Note("session.error", fields, "warning"))
        self._requests.refused(event)

    def _cancel(self) -> None:
        """Have the server stop the response in progress."""
        event_id = self._new_event_id()
        self._cancelled[event_id] = self.active
        if len(self._cancelled) > _REMEMBERED_RESPONSES:
            del self._cancelled[next(iter(self._cancelled))]
        self._effects.append(ToBackend(events.response_cancel(self.active, event_id)))

    def _not_cancelled(self, event: Event) -> list[Effect]:
        """The server did not cancel for us, and nobody else has to hear of that. Mostly the end of
        the response crossed our request; if that end never came, it comes now."""
        response_id = self._cancelled.pop(text_of(event, "error", "event_id"))
        if text_of(event, "error", "code") == "response_cancel_not_active":
            for ended in self._responses.cancelled(response_id, self._new_event_id):
                self._effects.append(ToControl(ended))
                self._response_done(response_id)
        return self._drain()

    def _audio_done(self, event: Event) -> None:
        part = part_of(event)
        self._finish([part] if part in self._parts else [])

    def _response_done(self, response_id: str) -> None:
        # A response that was cancelled or failed may end without the `done` of its parts.
        self._finish([part for part in self._parts if part.response_id == response_id])
        self._responses.done(response_id)
        if self._played_out and response_id == self._heard_response:
            self._stopped()
        self._send(self._requests.ask_due(busy=bool(self.active)))

    def _started(self, response_id: str, now: float) -> None:
        self._played_out = False
        if response_id == self._heard_response:
            return  # a further item of the same response
        if self._heard_response:
            self._buffer("stopped", self._heard_response)
        self._heard_response = response_id
        self.turns += 1
        if self._turn_ended_at is not None:
            self.response_ms.append((now - self._turn_ended_at) * 1000)
            self._turn_ended_at = None
        self._buffer("started", response_id)

    def _stopped(self) -> None:
        self._buffer("stopped", self._heard_response)
        self._heard_response = ""
        self._played_out = False

    def _silence(self, cause: str) -> None:
        """Have what is playing cleared, and what was asked for before this moment not played."""
        self._requests.interrupt()
        self._effects.append(ClearPlayout(cause))

    def _interrupt(self, response_id: str) -> bool:
        """Want no more audio of this response. False when that was so already."""
        for part in [part for part in self._parts if part.response_id == response_id]:
            del self._parts[part]
        if response_id in self._interrupted:
            return False
        self._interrupted[response_id] = None
        if len(self._interrupted) > _REMEMBERED_RESPONSES:
            del self._interrupted[next(iter(self._interrupted))]
        return True

    def _finish(self, parts: list[ItemPart]) -> None:
        for part in parts:
            del self._parts[part]
            self._effects.append(FinishPart(part))

    def _tell(self, digits: str) -> None:
        if digits:
            self._effects.append(ToBackend(events.user_text(f"DTMF {digits}")))

    def _complete(self, digits: str) -> None:
        """A line of digits is complete, if it is not empty: the model is to answer it."""
        if digits:
            self._tell(digits)
            self._ask()

    def _ask(self, request: Event | None = None) -> None:
        """Ask for a response as soon as there may be one."""
        request = events.response_create() if request is None else request
        self._send(self._requests.ask(request, busy=bool(self.active)))

    def _send(self, requests: list[Event]) -> None:
        self._effects += [ToBackend(request) for request in requests]

    def _buffer(self, change: str, response_id: str) -> None:
        event = events.output_buffer(change, response_id, self._new_event_id())
        self._effects.append(ToControl(event))

    def _drain(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
