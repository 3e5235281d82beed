"""OpenAI's own server, in both dialects that it has had.

Its OpenAPI description and the types of its SDKs say what it takes. 24 kHz is the one rate of its
PCM. The beta dialect is one of another age, asked for by a header; without that the server speaks
GA, and it refuses either shape of a session in the other dialect.
"""

from typing import ClassVar

from tests.peers.servers.beta import BetaServer
from tests.peers.servers.ga import GAServer
from tests.peers.servers.server import Door

FORMATS = {"pcm": (24_000,), "pcmu": (8000,), "pcma": (8000,)}


class OpenAI(GAServer):
    """Deltas carry `obfuscation`; the usage is whole; limits are told behind a response."""

    door: ClassVar = Door("/v1/realtime", refused=frozenset({"openai-beta"}))
    formats: ClassVar = FORMATS


class OpenAIBeta(BetaServer):
    """`OpenAI-Beta: realtime=v1`; items are created and never done."""

    door: ClassVar = Door("/v1/realtime", wanted={"openai-beta": "realtime=v1"})
    formats: ClassVar = FORMATS
