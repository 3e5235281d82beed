"""Fakes of other people's Realtime servers: each refuses what the real one refuses.

`SERVERS` has one for every preset of `GATEWAY_REALTIME_PRESET`. What a server is said to do, and
where that is written, stands in the docstring of its fake; what they share is in `server`.
"""

from tests.peers.servers.azure import Azure, AzureBeta
from tests.peers.servers.fish import Fish
from tests.peers.servers.huggingface import HuggingFace
from tests.peers.servers.inworld import Inworld
from tests.peers.servers.localai import LocalAI
from tests.peers.servers.openai import OpenAI, OpenAIBeta
from tests.peers.servers.qwen import Qwen
from tests.peers.servers.server import Server
from tests.peers.servers.speaches import Speaches
from tests.peers.servers.xai import XAI

SERVERS: dict[str, type[Server]] = {
    "openai": OpenAI,
    "openai-beta": OpenAIBeta,
    "azure": Azure,
    "azure-beta": AzureBeta,
    "xai": XAI,
    "inworld": Inworld,
    "qwen": Qwen,
    "speaches": Speaches,
    "localai": LocalAI,
    "huggingface": HuggingFace,
    "fish": Fish,
}
