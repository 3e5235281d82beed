"""Settings of the embedded agent."""

from typing import Annotated

from pydantic import AfterValidator

from gateway.settings import values
from gateway.settings.values import SECONDS, Group, Meaning, Seconds


class AgentSettings(Group):
    agent_dialogue: Annotated[
        str,
        AfterValidator(lambda value: value and values.dialogue(value)),
        Meaning("what the embedded agent says and does; empty: the built-in dialogue", "a file"),
    ] = ""
    agent_seed: Annotated[
        str,
        AfterValidator(lambda value: value and values.integer(value)),
        Meaning("makes its ids and delays repeat from run to run; empty: random", "an integer"),
    ] = ""
    agent_session_limit_s: Annotated[
        Seconds, Meaning("its sessions end after so long", SECONDS)
    ] = 3600
