"""The events that a client may send (GA), as models, field by field."""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.realtime.config_models import AnySession, Milliseconds
from gateway.realtime.errors import invalid_type, invalid_value, missing
from gateway.realtime.events import Event
from gateway.realtime.items import AudioBytes, Item
from gateway.realtime.responses import ResponseParams
from gateway.realtime.validation import Model, check


class _ClientEvent(Model):
    """Null is taken for what is not there, where servers themselves show null and clients write out
    what they did not set."""

    event_id: str | None = None


class SessionUpdate(_ClientEvent):
    type: Literal["session.update"]
    session: AnySession


class InputAudioBufferAppend(_ClientEvent):
    type: Literal["input_audio_buffer.append"]
    audio: AudioBytes


class InputAudioBufferCommit(_ClientEvent):
    type: Literal["input_audio_buffer.commit"]


class InputAudioBufferClear(_ClientEvent):
    type: Literal["input_audio_buffer.clear"]


class OutputAudioBufferClear(_ClientEvent):
    type: Literal["output_audio_buffer.clear"]


class ConversationItemCreate(_ClientEvent):
    type: Literal["conversation.item.create"]
    item: Item
    previous_item_id: str | None = None


class ConversationItemRetrieve(_ClientEvent):
    type: Literal["conversation.item.retrieve"]
    item_id: str


class ConversationItemDelete(_ClientEvent):
    type: Literal["conversation.item.delete"]
    item_id: str


class ConversationItemTruncate(_ClientEvent):
    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: Annotated[int, Field(ge=0)]
    audio_end_ms: Milliseconds


class ResponseCreate(_ClientEvent):
    type: Literal["response.create"]
    response: ResponseParams | None = None


class ResponseCancel(_ClientEvent):
    type: Literal["response.cancel"]
    response_id: str | None = None


CLIENT_EVENTS: Final[dict[str, type[Model]]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": InputAudioBufferAppend,
    "input_audio_buffer.commit": InputAudioBufferCommit,
    "input_audio_buffer.clear": InputAudioBufferClear,
    "output_audio_buffer.clear": OutputAudioBufferClear,
    "conversation.item.create": ConversationItemCreate,
    "conversation.item.retrieve": ConversationItemRetrieve,
    "conversation.item.delete": ConversationItemDelete,
    "conversation.item.truncate": ConversationItemTruncate,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
}
"""By `type`."""


def check_client_event(event: Event) -> Event:
    """Check an event of a client.

    Returns:
        `event` itself.

    Raises:
        RealtimeError: status 400; names the first fault, the least deep one before others.
    """
    if "type" not in event:
        raise missing("type")
    kind = event["type"]
    if not isinstance(kind, str):
        raise invalid_type("type", kind, "a string")
    if kind not in CLIENT_EVENTS:
        raise invalid_value("type", kind, list(CLIENT_EVENTS))
    return check(CLIENT_EVENTS[kind], event, "")
