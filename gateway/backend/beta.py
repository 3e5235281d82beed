"""The words of one client of the beta API: its events, and those that it is sent.

What beta alone has is checked here, before it is said in GA: the rest is checked as GA.
"""

from typing import Any, Final

from gateway.realtime.beta import BetaSession, BetaTranscription
from gateway.realtime.beta_events import client_from_beta, server_to_beta
from gateway.realtime.events import Event
from gateway.realtime.validation import Model, check

_TEMPERATURE: Final = "temperature"
_SESSIONS: Final[dict[str, type[Model]]] = {
    "session.update": BetaSession,
    "transcription_session.update": BetaTranscription,
}
_LENIENT: Final = {"tool_choice", "turn_detection"}
"""Older forms of these are known to the translation."""
_OF_RESPONSES: Final = ("modalities", _TEMPERATURE)


class BetaWords:
    """Translates for one connection. Remembers the temperature, which GA has not: it changes
    nothing here, and is shown as it was set."""

    def __init__(self) -> None:
        self._temperature: float | None = None
        self._asked: float | None = None  # by an event that is not answered yet
        self._of_responses: dict[str, float] = {}

    def from_client(self, event: Event) -> list[Event]:
        """A client's event, in GA words.

        Raises:
            RealtimeError: it is not what beta allows; names the parameter as beta does.
        """
        kind = event["type"]
        self._asked = None
        if kind in _SESSIONS and isinstance(event.get("session"), dict):
            session = event["session"]
            known = {name: value for name, value in session.items() if name not in _LENIENT}
            self._asked = check(_SESSIONS[kind], known, "session").get(_TEMPERATURE)
        elif kind == "response.create" and isinstance(event.get("response"), dict):
            response = event["response"]
            beta = {name: response[name] for name in _OF_RESPONSES if name in response}
            self._asked = check(BetaSession, beta, "response").get(_TEMPERATURE)
        return client_from_beta(event)

    def to_client(self, event: Event) -> list[Event]:
        """A server's event, in beta words; none for what beta does not tell."""
        match event:
            case {"type": "session.updated"}:
                self._temperature = self._taken() or self._temperature
                return self._with("session", event, self._temperature)
            case {"type": "response.created", "response": {"id": response_id}}:
                asked = self._taken() or self._temperature
                if asked is not None:
                    self._of_responses[response_id] = asked
                return self._with("response", event, asked)
            case {"type": "response.done", "response": {"id": response_id}}:
                return self._with("response", event, self._of_responses.pop(response_id, None))
            case {"type": "error"}:
                self._asked = None
        return server_to_beta(event)

    def _taken(self) -> float | None:
        asked, self._asked = self._asked, None
        return asked

    def _with(self, name: str, event: Event, temperature: float | None) -> list[Event]:
        beta = server_to_beta(event)
        for each in beta:
            shown: dict[str, Any] = each[name]
            if temperature is not None and _TEMPERATURE in shown:
                shown[_TEMPERATURE] = temperature
        return beta
