"""The unmodified `@openai/agents-realtime` and `openai` packages call over WebRTC.

Both in Node, on libwebrtc, and on a page in Chromium, whose origin is not the gateway's. The agent
is the embedded one: it greets nobody, as the API has it, but answers texts and speech.

The conversations are held side by side, because they are mostly waiting.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai import OpenAI

from tests.peers.audio import write_wav
from tests.peers.chromium import Chromium, find_chromium
from tests.peers.gateway import eventually
from tests.peers.speech import monologue
from tests.sdk.application import Application, CommandError, NodeApplication
from tests.sdk.embedded import TOOL
from tests.sdk.pages import PageApplication, PageServer
from tests.sdk.schemas import need_wrtc
from tests.sdk.site import KEY, Site, running

pytestmark = [pytest.mark.peer, pytest.mark.slow]

NAMES = ("node-agents", "node-openai", "page-agents", "page-openai")
DIALOGUE = '''
start = "menu"
otherwise = "I am listening."

[states.menu]
say = "I am listening."

[[on]]
result = "any"
say = "Goodbye."

[[on]]
text = "weather"
call = {name = "get_weather", arguments = {city = "Oslo"}}

[[on]]
text = "story"
say = """
One night a storm tore down the line, and the lighthouse rang, and nobody could answer.
That is the end of the story. Thank you for listening to all of it.
"""

[[on]]
any_speech = true
say = "I am still here."
'''
STARTED, STOPPED, CLEARED = (
    f"output_audio_buffer.{what}" for what in ("started", "stopped", "cleared")
)
DTMF = "input_audio_buffer.dtmf_event_received"
REFUSED = "The client secret is not known or has expired."


@dataclass
class Client:
    """One of the packages, in one of the two worlds."""

    application: Application
    world: str
    package: str
    site: Site
    api: OpenAI

    def key(self) -> str:
        """What the package is meant to be given: `agents` a secret for one session."""
        if self.package == "openai":
            return KEY
        session = {"type": "realtime", "instructions": "Be brief."}
        return self.api.realtime.client_secrets.create(session=session).value  # type: ignore[arg-type]

    def connect(self, key: str) -> str:
        """Returns the id of the call, as the package tells it."""
        session = {"type": "realtime", "tools": [TOOL]}
        url = f"{self.site.base_url}/realtime/calls"
        call_id: str = self.application.do("connect", url=url, key=key, session=session)
        return call_id

    def energy(self) -> float:
        """All that was heard so far."""
        return float(self.application.do("heard").get("energy") or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_wrtc()
    folder = tmp_path_factory.mktemp("webrtc")
    write_wav(folder / "speech.wav", monologue())
    (folder / "dialogue.toml").write_text(DIALOGUE)
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    dialogue = str(folder / "dialogue.toml")
    with running(embedded=True, GATEWAY_AGENT_DIALOGUE=dialogue) as site:
        yield site


@pytest.fixture(scope="module")
def api(site: Site) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=site.base_url) as client:
        yield client


@pytest.fixture(scope="module")
def short_lived(api: OpenAI) -> tuple[str, float]:
    """A client secret that soon expires, and when."""
    lifetime = {"anchor": "created_at", "seconds": 10}
    made = api.realtime.client_secrets.create(expires_after=lifetime)  # type: ignore[arg-type]
    return made.value, made.expires_at


@pytest.fixture(scope="module")
def clients(site: Site, api: OpenAI, folder: Path) -> Iterator[dict[str, Client]]:
    """All that can be run here."""
    with ExitStack() as stack:
        if find_chromium():
            browser = stack.enter_context(Chromium(folder / "chromium", folder / "speech.wav"))
            server = stack.enter_context(PageServer())
        found = {}
        for name in NAMES:
            world, package = name.split("-")
            application: Application
            if world == "node":
                speech = str(folder / "speech.wav")
                application = stack.enter_context(
                    NodeApplication("webrtc.mjs", site, None, package, speech)
                )
            elif find_chromium():
                application = stack.enter_context(
                    PageApplication(f"webrtc.html?{package}", server, browser)
                )
            else:
                continue
            found[name] = Client(application, world, package, site, api)
        yield found


@pytest.fixture(scope="module")
def conversations(
    clients: dict[str, Client], short_lived: tuple[str, float]
) -> Iterator[dict[str, Future[None]]]:
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(converse, client) for name, client in clients.items()}


@pytest.fixture(params=NAMES)
def client(
    request: pytest.FixtureRequest,
    clients: dict[str, Client],
    conversations: dict[str, Future[None]],
) -> Client:
    """One that holds no conversation any more."""
    if request.param not in clients:
        pytest.skip("Chromium is not installed (package chromium-headless-shell)")
    conversations[request.param].exception()
    return clients[request.param]


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation(name: str, conversations: dict[str, Future[None]]) -> None:
    if name not in conversations:
        pytest.skip("Chromium is not installed (package chromium-headless-shell)")
    conversations[name].result()


def converse(client: Client) -> None:
    application, site = client.application, client.site
    call_id = client.connect(client.key())
    assert call_id.startswith("rtc_")
    answered = site.gateway.wait_for("call.answered", call_id=call_id)
    assert (answered["codec"], answered["media_security"]) == ("opus", "srtp")
    application.event("session.created")

    silent = client.energy()
    application.do("say", text="hello")
    started = application.event(STARTED)
    assert application.event(STOPPED)["response_id"] == started["response_id"]
    assert client.energy() > silent + 1e-3
    kinds = application.kinds()
    places = [
        kinds.index(kind)
        for kind in ("response.created", "response.content_part.added", STARTED)
        + ("response.done", STOPPED)
    ]
    assert places == sorted(places), kinds
    assert "response.output_audio.delta" not in kinds

    use_the_tool(client)
    interrupt(client)
    if client.world == "page":  # @roamhq/wrtc cannot
        application.do("press", keys="159#")
        assert [application.event(DTMF)["event"] for _ in "159#"] == list("159#")

    client.api.realtime.calls.hangup(call_id)
    ended = site.ended(call_id)
    assert (ended["reason"], ended["leg"]) == ("hangup", "webrtc")
    assert ended["bargeins"]  # a key may be one too
    assert ended["dtmf_count"] == (4 if client.world == "page" else 0)
    if (client.world, client.package) == ("node", "agents"):
        # The package looks at the connection alone, and of its end @roamhq/wrtc tells only when ICE
        # has found out, a quarter of a minute later.
        application.do("close")
    wanted = ("disconnected",) if client.package == "agents" else ("remote", "failed")
    over = eventually(lambda: application.said("connection")[-1] in wanted, 5)
    assert over, application.said("connection")


def use_the_tool(client: Client) -> None:
    application = client.application
    application.do("say", text="How is the weather?")
    called = application.event("response.function_call_arguments.done")
    assert json.loads(called["arguments"]) == {"city": "Oslo"}
    if client.package == "agents":
        assert application.next("tool") == "Oslo"
        assert application.next("tool_end") == "get_weather"
    else:
        application.event("response.done")
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": "clear"}
        application.do("send", event={"type": "conversation.item.create", "item": output})
        application.do("send", event={"type": "response.create"})
    application.event(STOPPED)


def quiet(client: Client) -> bool:
    """Nothing is heard for a while."""
    before = client.energy()
    time.sleep(0.2)
    return client.energy() == pytest.approx(before, abs=1e-4)


def interrupt(client: Client) -> None:
    """Speak into a long story: the voice stops, and what was not heard was not said."""
    application = client.application
    application.do("say", text="Tell me a story.")
    started = application.event(STARTED)
    before = client.energy()
    assert eventually(lambda: client.energy() > before + 1e-3, 5)
    told = len(application.kinds())
    application.do("speak", seconds=1.0)
    application.event("input_audio_buffer.speech_started")
    assert application.event(CLEARED)["response_id"] == started["response_id"]
    # For 300 ms libwebrtc lets the level that it reports fade out. The story is longer than this.
    assert eventually(lambda: quiet(client), 2), "the voice goes on"
    truncated = application.event("conversation.item.truncated", anywhere=True)
    assert 100 < truncated["audio_end_ms"] < 8000
    application.event("input_audio_buffer.speech_stopped")
    application.event(STARTED)  # the answer to it
    events = application.said("event")[told:]
    cut = next(one["response"] for one in events if one["type"] == "response.done")
    assert (cut["id"], cut["status"]) == (started["response_id"], "cancelled")
    assert cut["status_details"]["reason"] == "turn_detected"
    if client.package == "agents":  # it corrects what it believes was said
        retrieved = application.event("conversation.item.retrieved", anywhere=True)
        assert retrieved["item"]["id"] == truncated["item_id"]


def test_who_closes_ends_the_call(client: Client, site: Site) -> None:
    call_id = client.connect(client.key())
    client.application.do("close")
    assert site.ended(call_id)["reason"] in ("channel_closed", "peer_closed")


def test_a_wrong_key(client: Client) -> None:
    with pytest.raises(CommandError) as error:
        client.connect("ek_of_nobody")
    refused(client, error.value)


def test_an_expired_secret(client: Client, short_lived: tuple[str, float]) -> None:
    key, expires_at = short_lived
    time.sleep(max(0, expires_at + 1 - time.time()))
    with pytest.raises(CommandError) as error:
        client.connect(key)
    refused(client, error.value)


def refused(client: Client, error: CommandError) -> None:
    """The package tells the person why, in the gateway's words."""
    fields = error.fields
    if client.package == "agents":
        assert fields["message"] == f"Realtime call request failed with status 401: {REFUSED}"
    else:
        cause = fields["cause"]
        assert (fields["code"], fields["phase"]) == ("signaling_failed", "signaling")
        assert (cause["name"], cause["code"]) == ("AuthenticationError", "invalid_api_key")
        assert cause["message"] == f"401 {REFUSED}"
    if isinstance(client.application, PageApplication):
        # The browser itself tells of it too, and of nothing else.
        assert all("401" in line for line in client.application.console)
        client.application.console.clear()
