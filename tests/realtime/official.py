"""The official types of both dialects, used strictly."""

from typing import Annotated, Any

from openai.types.beta.realtime import RealtimeClientEvent as BetaClientEvent
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import Field, TypeAdapter, ValidationError

Event = dict[str, Any]

GA_CLIENT: TypeAdapter[Any] = TypeAdapter(
    Annotated[RealtimeClientEvent, Field(discriminator="type")]
)
GA_SERVER: TypeAdapter[Any] = TypeAdapter(
    Annotated[RealtimeServerEvent, Field(discriminator="type")]
)
BETA_CLIENT: TypeAdapter[Any] = TypeAdapter(Annotated[BetaClientEvent, Field(discriminator="type")])
BETA_SERVER: TypeAdapter[Any] = TypeAdapter(Annotated[BetaServerEvent, Field(discriminator="type")])


def types_of(adapter: TypeAdapter[Any]) -> set[str]:
    """Which types of events there are."""
    schema = adapter.json_schema()
    return set(schema["discriminator"]["mapping"])


def fault(adapter: TypeAdapter[Any], event: Event) -> str:
    """Why the event is none of these, or ""."""
    try:
        adapter.validate_python(event)
    except ValidationError as error:
        return "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
    return ""
