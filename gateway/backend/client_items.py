"""Items that a client puts into the conversation, or gives to one response alone.

Their form has been checked (`gateway.realtime.client_events`); what they refer to is checked here.
What this server makes of them:

* Texts, function calls and their results are kept as they came. A call that has no `call_id`
  gets one.
* Audio and images are dropped: an item shows that they were there, and an audio's transcript.
* The assistant's audio cannot be given back to it, only its text. Nor can items of MCP: no MCP
  server is ever reached from here.
* `incomplete` stays; every other status becomes `completed`, because nothing will complete it.
* An item of more than 256 Ki characters of text is refused.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.audio.formats import AudioFormat
from gateway.backend.dialogue import Input, Returned, Spoke, written
from gateway.backend.items import Conversation, Item, called, texts_of
from gateway.backend.transcription import spoke
from gateway.realtime.errors import RealtimeError, invalid, invalid_value, unfit

_KINDS: Final = ("message", "function_call", "function_call_output")
_MAX_CHARACTERS: Final = 256 << 10
_MAX_PARTS: Final = 256


class ClientItems:
    """Makes the items of one session's client.

    Args:
        token: fresh text for ids.
    """

    def __init__(self, conversation: Conversation, token: Callable[[], str]) -> None:
        self._conversation = conversation
        self._token = token

    def created(self, value: dict[str, Any], audio_format: AudioFormat) -> Item:
        """The item of a `conversation.item.create`.

        Raises:
            RealtimeError: its id is taken, it belongs to a call that nobody made, it is too long,
                or it is of a kind that only a server makes.
        """
        given = value.get("id")
        if given is not None and self._conversation.has(given):
            raise invalid("item.id", given, "an id that no item of this conversation has")
        item_id = given or self._conversation.new_id(self._token)
        return self._item(value, item_id, (), audio_format, "item")

    def input(
        self, values: Sequence[dict[str, Any]], audio_format: AudioFormat
    ) -> tuple[Item, ...]:
        """The context of one response: its own items, and items of the conversation.

        Raises:
            RealtimeError: a reference leads nowhere, or as with `created`.
        """
        items: list[Item] = []
        for index, value in enumerate(values):
            path = f"response.input[{index}]"
            if value["type"] == "item_reference":
                found = self._conversation.find(value["id"])
                if found is None:
                    expected = "the id of an item in this conversation"
                    raise invalid(f"{path}.id", value["id"], expected)
                items.append(found)
            else:
                item_id = value.get("id") or ""  # no event shows it
                items.append(self._item(value, item_id, items, audio_format, path))
        return tuple(items)

    def heard(self, item: Item, context: Sequence[Item] = ()) -> Input | None:
        """What an item says to the dialogue; None when it is the agent's own, or the system's.

        Args:
            context: the other items of a response's own input.
        """
        body = item.body
        if body["type"] == "function_call_output":
            return Returned(self._called(body["call_id"], context) or "", body["output"])
        if body.get("role") != "user":
            return None
        parts = body["content"]
        texts = (part.get("text") or part.get("transcript") or "" for part in parts)
        text = " ".join(filter(None, texts)).strip()
        if not text and any(part["type"] == "input_audio" for part in parts):
            return Spoke(item.audio_ms)
        return spoke(text) or written(text)

    def _item(
        self,
        value: dict[str, Any],
        item_id: str,
        context: Sequence[Item],
        audio_format: AudioFormat,
        path: str,
    ) -> Item:
        kind = value["type"]
        _check_size(value, path)
        body = {"id": item_id, "object": "realtime.item", "type": kind, "status": _status(value)}
        if kind == "message":
            content = [
                _part(part, f"{path}.content[{n}]") for n, part in enumerate(value["content"])
            ]
            body |= {"role": value["role"], "content": content}
        elif kind == "function_call":
            call_id = value.get("call_id") or self._conversation.new_call_id(self._token)
            body |= {"call_id": call_id, "name": value["name"], "arguments": value["arguments"]}
        elif kind == "function_call_output":
            call_id = value["call_id"]
            if self._called(call_id, context) is None:
                message = f"Tool call ID '{call_id}' not found in conversation."
                raise RealtimeError(message, code="invalid_tool_call_id")
            body |= {"call_id": call_id, "output": value["output"]}
        elif kind == "mcp_approval_response":
            request = value["approval_request_id"]
            raise invalid(f"{path}.approval_request_id", request, "a request of this conversation")
        else:
            raise invalid_value(f"{path}.type", kind, _KINDS)
        return Item(body, _audio_ms(value.get("content", ()), audio_format))

    def _called(self, call_id: str, context: Sequence[Item]) -> str | None:
        return called(context, call_id) or self._conversation.called(call_id)


def _check_size(value: dict[str, Any], path: str) -> None:
    parts = len(value.get("content", ()))
    if parts > _MAX_PARTS:
        expected = f"an array with maximum length {_MAX_PARTS}"
        got = f"an array with length {parts}"
        code = "array_above_max_length"
        raise unfit(f"{path}.content", "array too long", expected, got=got, code=code)
    room = _MAX_CHARACTERS
    for place, text in texts_of(value):
        room -= len(text)
        if room < 0:
            expected = f"an item of at most {_MAX_CHARACTERS} characters in all"
            code = "string_above_max_length"
            raise unfit(f"{path}.{place}", "string too long", expected, code=code)


def _status(value: dict[str, Any]) -> str:
    return "incomplete" if value.get("status") == "incomplete" else "completed"


def _part(part: dict[str, Any], path: str) -> dict[str, Any]:
    match part["type"]:
        case "input_audio":
            return {"type": "input_audio", "transcript": part.get("transcript")}
        case "input_image":
            return {"type": "input_image", "detail": part.get("detail", "auto")}
        case "output_audio":
            raise invalid_value(f"{path}.type", "output_audio", ["output_text"])
    return {"type": part["type"], "text": part["text"]}


def _audio_ms(content: Sequence[dict[str, Any]], audio_format: AudioFormat) -> int:
    """How long the audio is that came in base64."""
    encoded = [part["audio"] for part in content if part.get("audio")]
    size = sum(len(text) // 4 * 3 - text[-2:].count("=") for text in encoded)
    length_ms: int = size // audio_format.bytes_per_ms
    return length_ms
