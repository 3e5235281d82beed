"""What a response is asked to be: the session's settings, with those of the `response.create` over
them; and what becomes of a reply of the dialogue under these terms.

* Instructions `say: ...` are spoken exactly. Other instructions are for models that understand
  them; so are prompts and reasoning.
* A forced `tool_choice` calls that function and says nothing. With `required` the first function is
  called if the dialogue calls none. Their arguments are made from the schema. `none` leaves calls
  out, and so does an MCP tool as the choice: no MCP server is ever reached.
* A function that was not declared is not called: the agent says so instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

from gateway.audio.formats import AudioFormat
from gateway.backend.arguments import example_arguments
from gateway.backend.dialogue import LONGEST_LINE, Line, Reply, ToolCall, phrases_of
from gateway.backend.items import Item
from gateway.backend.session_config import SessionConfig, voice_is_locked, voice_name
from gateway.realtime.errors import invalid
from gateway.realtime.resources import ResponseTerms
from gateway.realtime.session_resources import Format

_SAY: Final = "say:"
_MAX_LINE: Final = 4096

Calls = Literal["none", "auto", "required"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The terms of one response."""

    in_band: bool
    """False for one outside of the conversation."""
    context: Sequence[Item] | None
    """What it is about; None for the conversation."""
    line: Line
    """What to say word for word; empty to leave it to the dialogue."""
    instructions: str
    written: bool
    """Its message is text, not audio."""
    format: AudioFormat
    resource: ResponseTerms
    """The fields that the response shows of all this."""
    functions: dict[str, dict[str, Any]]
    """The schema of the parameters of each function, by its name."""
    calls: Calls
    forced: str | None
    """The function that is to be called."""

    def decided(self) -> Reply | None:
        """The reply, where the client has decided on it and the dialogue is not asked."""
        if self.forced is not None:
            return Reply(call=self._example(self.forced))
        return self.allowed(Reply(self.line)) if self.line else None

    def allowed(self, reply: Reply) -> Reply:
        """What may be made of a reply of the dialogue."""
        call = reply.call
        if self.calls == "none":
            return replace(reply, call=None)
        if call is not None and call.name not in self.functions:
            regret = f"The function {call.name} is not among the tools of this session."
            reply, call = Reply((*reply.line, regret)), None
        if call is None and self.calls == "required" and self.functions:
            return replace(reply, call=self._example(next(iter(self.functions))))
        return reply

    def _example(self, name: str) -> ToolCall:
        return ToolCall(name, example_arguments(self.functions[name]))


def plan_response(
    config: SessionConfig,
    asked: dict[str, Any],
    context: Sequence[Item] | None,
    *,
    voice_locked: bool,
) -> Plan:
    """The terms of a response.

    Args:
        asked: the `response` of a checked `response.create`; empty for one that nobody asked for.
        context: the items of its `input`, if it has one.

    Raises:
        RealtimeError: it asks for a line that cannot be spoken, for a function that there is not,
            or for another voice than was heard.
    """
    terms = config.fields | asked
    output = asked.get("audio", {}).get("output", {})
    voice = voice_name(output.get("voice", config.voice))
    if voice_locked and voice != config.voice:
        raise voice_is_locked("response.audio.output.voice")
    audio_format = config.output_format
    if "format" in output:
        audio_format = AudioFormat.from_session(output["format"])
    functions = {
        tool["name"]: tool.get("parameters", {})
        for tool in terms["tools"]
        if tool["type"] == "function"
    }
    calls, forced = _choice(terms["tool_choice"])
    if forced not in functions:
        if forced is not None and "tool_choice" in asked:
            expected = "the name of one of the functions in 'tools'"
            raise invalid("response.tool_choice.name", forced, expected)
        forced = None  # the session's own choice, for functions that this response has not
    return Plan(
        in_band=asked.get("conversation", "auto") == "auto",
        context=context,
        line=_line(asked.get("instructions", "")),
        instructions=terms["instructions"],
        written=terms["output_modalities"] == ["text"],
        format=audio_format,
        resource={
            "output_modalities": terms["output_modalities"],
            "max_output_tokens": terms["max_output_tokens"],
            "audio": {
                "output": {"format": cast("Format", audio_format.to_session()), "voice": voice}
            },
            "metadata": asked.get("metadata"),
        },
        functions=functions,
        calls=calls,
        forced=forced,
    )


def _choice(choice: Any) -> tuple[Calls, str | None]:
    """A `tool_choice` as what is said of calls in general, and the function that is forced."""
    match choice:
        case {"type": "function", "name": str(name)}:
            return "auto", name
        case "auto" | "required":
            return choice, None
    return "none", None


def _line(instructions: str) -> Line:
    if not instructions.lstrip().lower().startswith(_SAY):
        return ()
    text = instructions.lstrip()[len(_SAY) :].strip()
    line = phrases_of(text) if 0 < len(text) <= _MAX_LINE else ()
    if not 0 < len(line) <= LONGEST_LINE:
        expected = (
            f"1 to {_MAX_LINE} characters after '{_SAY}', in no more than {LONGEST_LINE} sentences"
        )
        raise invalid("response.instructions", instructions, expected)
    return line
