"""What a client may ask of a response, as models, field by field.

What it leaves out is as the session says. `audio` has an output alone, and no speed.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from gateway.realtime.config_models import (
    Format,
    MaxOutputTokens,
    OutputModalities,
    Prompt,
    Reasoning,
    Tool,
    ToolChoice,
    Voice,
)
from gateway.realtime.items import InputItem
from gateway.realtime.validation import ABSENT, Array, Model, long_key

_MAX_PAIRS: Final = 16
_MAX_KEY: Final = 64
_MAX_VALUE: Final = 512


def _short_keys(metadata: dict[str, str]) -> dict[str, str]:
    for key in metadata:
        if len(key) > _MAX_KEY:
            raise long_key(key, _MAX_KEY)
    return metadata


Metadata = Annotated[
    dict[str, Annotated[str, Field(max_length=_MAX_VALUE)]],
    Field(max_length=_MAX_PAIRS),
    AfterValidator(_short_keys),
]


class ResponseOutput(Model):
    format: Format = ABSENT
    voice: Voice = ABSENT


class ResponseAudio(Model):
    output: ResponseOutput = ABSENT


class ResponseParams(Model):
    conversation: Literal["auto", "none"] = ABSENT
    input: Array[InputItem] = ABSENT
    output_modalities: OutputModalities = ABSENT
    instructions: str = ABSENT
    audio: ResponseAudio = ABSENT
    tools: Array[Tool] = ABSENT
    tool_choice: ToolChoice = ABSENT
    parallel_tool_calls: bool = ABSENT
    reasoning: Reasoning = ABSENT
    max_output_tokens: MaxOutputTokens = ABSENT
    prompt: Prompt | None = None
    metadata: Metadata | None = None
