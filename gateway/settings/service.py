"""Settings of the process."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.settings.values import Group, Meaning


class ServiceSettings(Group):
    log_format: Annotated[
        Literal["", "json", "console"],
        Meaning("empty: console on a terminal, else json", "json, console"),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meaning(
            "lowest level that is logged; debug shows the keys that callers press",
            "debug, info, warning, error",
        ),
    ] = "info"
    drain_s: Annotated[
        float, Field(ge=0, le=86400), Meaning("how long SIGTERM lets calls finish", "0 to 86400")
    ] = 30
