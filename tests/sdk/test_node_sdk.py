"""The unmodified `openai` and `@openai/agents` packages for Node run calls, over TLS.

Both open WebSockets as wss only.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.audio import voiced
from tests.peers.baresip import need_baresip
from tests.peers.gateway import eventually
from tests.peers.sipp import need_sipp
from tests.sdk import authority
from tests.sdk.application import CommandError, NodeApplication
from tests.sdk.phone import CallingPhone
from tests.sdk.schemas import need_node
from tests.sdk.site import Site, running
from tests.sdk.telephones import REFERRED, baresip, sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> authority.Files:
    need_node()
    return authority.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def site(files: authority.Files) -> Iterator[Site]:
    with running(tls=(str(files.certificate), str(files.key))) as site:
        yield site


@pytest.fixture(scope="module")
def openai(site: Site, files: authority.Files) -> Iterator[NodeApplication]:
    """The `openai` package; every test has a call of its own."""
    with NodeApplication("openai_loop.mjs", site, files.authority) as application:
        yield application


def incoming(site: Site, application: NodeApplication) -> str:
    """The id of the call that the next webhook is about."""
    delivery = site.hooks.next()
    event: dict[str, Any] = application.do(
        "unwrap", body=delivery.body.decode(), headers=delivery.headers
    )
    assert event["type"] == "realtime.call.incoming"
    assert event["data"]["sip_media_security"] == "rtp"
    call_id: str = event["data"]["call_id"]
    return call_id


def accepted(site: Site, application: NodeApplication, phone: CallingPhone, **session: Any) -> str:
    call_id = incoming(site, application)
    application.do("accept", call_id=call_id, session={"type": "realtime", **session})
    phone.wait_for_status(200)
    return call_id


def test_openai_runs_a_call(site: Site, openai: NodeApplication) -> None:
    with site.phone() as phone:
        call_id = accepted(site, openai, phone, instructions="Be brief.")
        openai.do("attach", call_id=call_id)
        created = openai.event("session.created")
        assert created["session"]["instructions"] == "Be brief."
        session = {"type": "realtime", "tools": [TOOL]}
        openai.do("send", event={"type": "session.update", "session": session})
        assert openai.event("session.updated")["session"]["tools"][0]["name"] == "get_weather"

        text = {"type": "input_text", "text": "How is the weather?"}
        item = {"type": "message", "role": "user", "content": [text]}
        openai.do("send", event={"type": "conversation.item.create", "item": item})
        openai.do("send", event={"type": "response.create"})
        called = openai.event("response.function_call_arguments.done")
        assert json.loads(called["arguments"]) == {"city": "Oslo"}
        openai.event("response.done")
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": "clear"}
        openai.do("send", event={"type": "conversation.item.create", "item": output})
        openai.do("send", event={"type": "response.create"})
        openai.event("output_audio_buffer.stopped")

        orders = {"instructions": "A long story."}
        openai.do("send", event={"type": "response.create", "response": orders})
        started = openai.event("output_audio_buffer.started")
        openai.do("send", event={"type": "output_audio_buffer.clear"})
        cleared = openai.event("output_audio_buffer.cleared")
        assert cleared["response_id"] == started["response_id"]
        openai.event("conversation.item.truncated", anywhere=True)

        phone.press("7")
        assert openai.event("input_audio_buffer.dtmf_event_received")["event"] == "7"

        openai.do("hangup", call_id=call_id)
        assert openai.next("closed") == 1000
        assert phone.over.wait(5) and phone.ended_by_gateway
    site.ended(call_id)


@pytest.mark.parametrize(("outcome", "result"), [(200, "transferred"), (486, "busy")])
def test_openai_transfers(site: Site, openai: NodeApplication, outcome: int, result: str) -> None:
    with site.phone(transfer=outcome) as phone:
        call_id = accepted(site, openai, phone)
        openai.do("refer", call_id=call_id, target_uri="tel:+15557654321")
        line = site.gateway.wait_for("transfer.result", call_id=call_id)
        assert line["result"] == result
        assert phone.over.wait(5) if outcome == 200 else not phone.over.is_set()
    site.ended(call_id)


def test_openai_runs_the_call_of_a_sipp(
    site: Site, openai: NodeApplication, tmp_path: Path
) -> None:
    """The caller is referred to somebody busy, is back, and is hung up."""
    need_sipp()
    fill = {**REFERRED, "OUTCOME": "486", "REFER_TO": r"tel:\+15557654321"}
    with sipp(site, "referred", tmp_path, "-rtp_echo", **fill):
        call_id = incoming(site, openai)
        openai.do("accept", call_id=call_id, session={"type": "realtime"})
        openai.do("attach", call_id=call_id)
        openai.event("session.created")
        openai.do("refer", call_id=call_id, target_uri="tel:+15557654321")
        line = site.gateway.wait_for("transfer.result", call_id=call_id)
        assert (line["result"], line["sip_status"]) == ("busy", 486)
        openai.do("send", event={"type": "response.create"})
        openai.event("output_audio_buffer.stopped")
        openai.do("hangup", call_id=call_id)
        assert openai.next("closed") == 1000
    assert site.ended(call_id)["reason"] == "hangup"


def test_openai_runs_the_call_of_a_baresip(
    site: Site, openai: NodeApplication, tmp_path: Path
) -> None:
    need_baresip()
    with baresip(site, tmp_path / "caller") as phone:
        call_id = incoming(site, openai)
        openai.do("accept", call_id=call_id, session={"type": "realtime"})
        openai.do("attach", call_id=call_id)
        openai.event("session.created")
        phone.press("7")
        assert openai.event("input_audio_buffer.dtmf_event_received")["event"] == "7"
        openai.do("send", event={"type": "response.create"})
        openai.event("output_audio_buffer.stopped")
        assert eventually(lambda: phone.sound_s > 0.2, 5)
        openai.do("hangup", call_id=call_id)
        assert openai.next("closed") == 1000
        assert eventually(lambda: "session closed" in phone.output, 5), phone.output
    assert site.ended(call_id)["reason"] == "hangup"


def test_openai_rejects(site: Site, openai: NodeApplication) -> None:
    for body, status in (({}, 603), ({"status_code": 486}, 486)):
        with site.phone() as phone:
            openai.do("reject", call_id=incoming(site, openai), body=body)
            phone.wait_for_status(status)


def test_openai_is_told_what_cannot_be_done(site: Site, openai: NodeApplication) -> None:
    with site.phone() as phone:
        call_id = incoming(site, openai)
        wrong = {"type": "realtime", "audio": {"output": {"speed": 9}}}
        with pytest.raises(CommandError) as failed:
            openai.do("accept", call_id=call_id, session=wrong)
        assert failed.value.fields["name"] == "BadRequestError"
        assert failed.value.fields["param"] == "session.audio.output.speed"
        phone.wait_for_status(180)
        phone.hang_up()
        site.ended(call_id)
        with pytest.raises(CommandError) as failed:
            openai.do("accept", call_id=call_id, session={"type": "realtime"})
        assert failed.value.fields["name"] == "NotFoundError"
        assert failed.value.fields["code"] == "call_id_not_found"
    with pytest.raises(CommandError, match="404"):
        openai.do("attach", call_id="rtc_unknown")


def test_openai_opens_a_session_with_a_client_secret(site: Site, openai: NodeApplication) -> None:
    secret = openai.do("secret", body={"session": {"type": "realtime"}})["value"]
    openai.do("open", model="a-model", key=secret)
    with pytest.raises(CommandError, match="401"):
        openai.do("open", model="a-model", key="ek_unknown")


def test_agents_session_runs_a_call(site: Site, files: authority.Files, tmp_path: Path) -> None:
    need_baresip()
    with (
        NodeApplication("agents_loop.mjs", site, files.authority) as agents,
        baresip(site, tmp_path / "caller") as phone,
    ):
        call_id = incoming(site, agents)
        agents.do("accept", call_id=call_id)
        agents.do("connect", call_id=call_id)
        created = agents.event("session.created", anywhere=True)
        assert "Tell the weather." in created["session"]["instructions"]
        agents.event("session.updated", anywhere=True)

        # Its tool is called, and the output goes back without a word from us.
        agents.do("say", text="How is the weather?")
        assert agents.next("tool") == "Oslo"
        assert agents.next("tool_end") == "get_weather"
        agents.event("output_audio_buffer.stopped")

        # The server owns the playout: an interruption is one event, and nothing is truncated here.
        agents.do("respond", response={"instructions": "A long story."})
        assert eventually(lambda: agents.kinds().count("output_audio_buffer.started") == 2, 10)
        assert eventually(lambda: agents.kinds().count("response.done") == 3, 10)
        agents.do("interrupt")
        agents.event("output_audio_buffer.cleared")
        agents.event("conversation.item.truncated", anywhere=True)
        agents.event("conversation.item.retrieved")

        phone.press("7")
        assert agents.event("input_audio_buffer.dtmf_event_received")["event"] == "7"
        phone.hang_up()
        assert eventually(lambda: "disconnected" in agents.said("connection"), 10)
        assert not agents.said("session_error")
        roles = [item.get("role") for item in agents.said("history")[-1]]
        assert {"user", "assistant"} <= set(roles)
        assert voiced(phone.stop().heard)
    assert site.ended(call_id)["reason"] == "remote_bye"
