"""What xAI's voice agent does differently: GA words over a flat session.

* Voice and turn detection are at the top of a session; no detection is `{"type": null}`. Of a
  detection there is only `server_vad`, and whether it answers by itself is to be said.
* A transcription takes `language_hint` and `keyterms`, and no model but its own.
* It sends pings, some events under their beta names, function calls with the role `tool`, and
  a status that is a mere text.
* The caller's words come whole each time, as `…transcription.updated` or as a `.completed` in
  progress. A `.deleted` does not say of which item, and no item can be retrieved.
"""

from typing import Any, Final

from gateway.realtime.beta_items import item_to_beta
from gateway.realtime.beta_session import both_modalities
from gateway.realtime.events import Event, text_of, without
from gateway.realtime.session_shape import lifted
from gateway.realtime.transcripts import GrowingTranscripts

_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
_TO_XAI: Final = {"language": "language_hint", "keywords": "keyterms"}
_TO_GA: Final = {theirs: ours for ours, theirs in _TO_XAI.items()}
_VAD_ONLY: Final = {"eagerness", "model_version"}
_OWN_MODEL: Final = "grok"


class XaiWords:
    """xAI's words, for one connection. A session that comes from the server is left flat."""

    def __init__(self) -> None:
        self._transcripts = GrowingTranscripts()
        self._deletes: list[str] = []  # items whose deletion was asked for

    def to_server(self, event: Event) -> list[Event]:
        match event:
            case {"type": "session.update", "session": dict(session)}:
                return [event | {"session": _session(session)}]
            case {"type": "response.create", "response": dict(response)}:
                return [event | {"response": _request(response)}]
            case {"type": "conversation.item.create", "item": dict(item)}:
                return [event | {"item": item_to_beta(item)}]
            case {"type": "conversation.item.delete"}:
                self._deletes.append(text_of(event, "item_id"))
            case {"type": "conversation.item.retrieve"}:
                return []
        return [event]

    def from_server(self, event: Event) -> list[Event]:
        match event:
            case {"type": "ping"}:
                return []
            case {"type": "conversation.item.deleted"}:
                return [self._deleted(event)]
            case {"type": str(kind)} if kind.startswith(_TRANSCRIPTION):
                return self._transcribed(event)
            case {"item": dict(item)}:
                return [event | {"item": _item(item)}]
            case {"response": {"output": list(items)}}:
                output = [_item(item) for item in items]
                return [event | {"response": event["response"] | {"output": output}}]
            case {"session": dict(session)}:
                return [event | {"session": _with_transcription(session, _TO_GA)}]
            case {"type": "error", "error": {"type": "max_duration"}}:
                return [event | {"error": event["error"] | {"code": "session_expired"}}]
        return [event]

    def _transcribed(self, event: Event) -> list[Event]:
        kind, item_id = event["type"], text_of(event, "item_id")
        partial = kind.endswith(".updated") or event.get("status") == "in_progress"
        if not partial:
            if kind.endswith((".completed", ".failed")):
                self._transcripts.end(item_id)
            return [event]
        words = self._transcripts.added(item_id, text_of(event, "transcript"))
        if not words:
            return []
        delta = {"type": f"{_TRANSCRIPTION}.delta", "item_id": item_id, "delta": words}
        return [delta | {"event_id": event.get("event_id"), "content_index": 0}]

    def _deleted(self, event: Event) -> Event:
        """The answers come in the order of the requests."""
        item_id = text_of(event, "item_id")
        if item_id in self._deletes:
            self._deletes.remove(item_id)
        elif not item_id and self._deletes:
            return event | {"item_id": self._deletes.pop(0)}
        return event


def _session(session: dict[str, Any]) -> dict[str, Any]:
    flat = lifted(session)
    if "turn_detection" in flat:
        flat = flat | {"turn_detection": _turn_detection(flat["turn_detection"])}
    return _with_transcription(flat, _TO_XAI)


def _turn_detection(value: Any) -> Any:
    if value is None:
        return {"type": None}
    if not isinstance(value, dict):
        return value
    kept = {name: of for name, of in value.items() if name not in _VAD_ONLY and of is not None}
    return {"create_response": True} | kept | {"type": "server_vad"}


def _request(response: dict[str, Any]) -> dict[str, Any]:
    if "output_modalities" not in response:
        return response
    modalities = both_modalities(response["output_modalities"])
    return without(response, "output_modalities") | {"modalities": modalities}


def _with_transcription(session: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The session with the fields of its transcription renamed, and with no foreign model."""
    match session:
        case {"audio": {"input": {"transcription": dict(transcription)}}}:
            said = {names.get(str(name), str(name)): of for name, of in transcription.items()}
            if not text_of(said, "model").startswith(_OWN_MODEL):
                said.pop("model", None)
            audio = session["audio"]
            return session | {"audio": audio | {"input": audio["input"] | {"transcription": said}}}
    return session


def _item(item: Any) -> Any:
    """Whoever is a tool speaks for the assistant, and so does a message that was dictated."""
    match item:
        case {"role": "tool"}:
            return item | {"role": "assistant"}
        case {"type": "force_message"}:
            return item | {"type": "message"}
    return item
