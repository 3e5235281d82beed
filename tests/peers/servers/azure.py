"""Azure OpenAI: OpenAI's server behind another door.

`/openai/v1/realtime?model=<deployment>` speaks GA; the dated `/openai/realtime?api-version=&
deployment=` is the preview and speaks beta, asked for by the path and by no header. The key comes
as `api-key`, or a token of Entra as Bearer. (learn.microsoft.com, "Migration from preview to GA";
the handler for Azure in litellm and the service of that name in pipecat do the same.)
"""

from typing import ClassVar

from tests.peers.servers.beta import BetaServer
from tests.peers.servers.ga import GAServer
from tests.peers.servers.openai import FORMATS
from tests.peers.servers.server import KEY, MODEL, Door

API_VERSION = "2025-04-01-preview"


class Azure(GAServer):
    door: ClassVar = Door("/openai/v1/realtime", (("api-key", KEY),))
    formats: ClassVar = FORMATS


class AzureBeta(BetaServer):
    door: ClassVar = Door(
        "/openai/realtime", (("api-key", KEY),), {"api-version": API_VERSION, "deployment": MODEL}
    )
    formats: ClassVar = FORMATS
