"""JsSIP, on libwebrtc, calls over SIP on a WebSocket with TLS, straight to the gateway."""

import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.audio import read_samples, resampled, write_wav
from tests.peers.calls_api import CallsApi
from tests.peers.chromium import Chromium, need_chromium
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port
from tests.peers.line import RealtimeThread
from tests.peers.speech import found, monologue, pcm, prompt
from tests.sdk import authority
from tests.sdk.application import NodeApplication
from tests.sdk.pages import PageApplication, PageServer
from tests.sdk.schemas import need_wrtc

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@dataclass
class Office:
    """A gateway that speaks wss, the model behind it, and a browser's SIP phone."""

    gateway: GatewayProcess
    realtime: RealtimeThread
    phone: NodeApplication
    url: str

    def call(self) -> str:
        """Place a call; returns its id."""
        mark = self.gateway.mark()
        self.phone.do("connect", url=self.url, target=f"sip:agent@{HOST}")
        answered: dict[str, Any] = self.gateway.wait_for("call.answered", since=mark)
        assert (answered["codec"], answered["media_security"]) == ("opus", "srtp")
        call_id: str = answered["call_id"]
        return call_id


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    need_wrtc()
    folder: Path = tmp_path_factory.mktemp("jssip")
    write_wav(folder / "speech.wav", prompt("if-you-can"))
    files = authority.make(folder)
    port = free_port()
    settings = {
        "GATEWAY_SIP_WS_PORT": str(port),
        "GATEWAY_SIP_TLS_CERT": str(files.certificate),
        "GATEWAY_SIP_TLS_KEY": str(files.key),
    }
    speech = str(folder / "speech.wav")
    with (
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url, settings) as gateway,
        NodeApplication("webrtc.mjs", None, files.authority, "jssip", speech) as phone,
    ):
        yield Office(gateway, realtime, phone, f"wss://{HOST}:{port}")


def test_a_call_with_all_that_a_phone_does(office: Office) -> None:
    phone, gateway = office.phone, office.gateway
    call_id = office.call()
    session = office.realtime.connection(0)

    said, told = prompt("if-you-can"), monologue()
    phone.do("speak", seconds=30)  # the same over and over
    office.realtime.run(session.speak("item_1", "resp_1", pcm(told, 24_000)))

    def understood() -> bool:
        return found(said, resampled(read_samples(bytes(session.audio)), 24_000)) > 0.9

    def recorded() -> bool:
        recording = phone.do("recording")
        heard = read_samples(b64decode(recording["samples"]))
        return found(told, resampled(heard, recording["rate"])) > 0.9

    assert eventually(understood, 20, 0.5)
    assert eventually(recorded, 20, 0.5)

    api = CallsApi(gateway)
    phone.do("hold")
    sent = api.summary(call_id)["counters"]["rtp_sent"]
    time.sleep(0.3)
    assert api.summary(call_id)["counters"]["rtp_sent"] == sent
    phone.do("unhold")
    assert api.hears_and_is_heard(call_id)

    phone.do("hang_up")
    assert phone.next("ended")["originator"] == "local"
    assert gateway.wait_for("call.ended", call_id=call_id)["reason"] == "remote_bye"
    phone.do("close")


def test_digits_from_a_page(office: Office, tmp_path: Path) -> None:
    """In a browser, because @roamhq/wrtc has no telephone-events."""
    need_chromium()
    with (
        Chromium(tmp_path) as browser,
        PageServer() as server,
        PageApplication("webrtc.html?jssip", server, browser) as page,
    ):
        mark = office.gateway.mark()
        page.do("connect", url=office.url, target=f"sip:agent@{HOST}")
        page.do("digits", keys="159#", transport="RFC2833")
        reported = office.gateway.wait_for_lines("dtmf.received", 4, since=mark)
        assert [line["digit"] for line in reported] == list("159#")
        page.do("digits", keys="22*")  # as JsSIP does of itself: by INFO
        reported = office.gateway.wait_for_lines("dtmf.received", 7, since=mark)
        assert [line["digit"] for line in reported[4:]] == list("22*")
        page.do("hang_up")
        ended = office.gateway.wait_for("call.ended", since=mark)
        assert (ended["reason"], ended["dtmf_count"]) == ("remote_bye", 7)


def test_digits_as_jssip_sends_them_of_itself(office: Office) -> None:
    """By INFO, as by any page that does not ask for anything else."""
    mark = office.gateway.mark()
    call_id = office.call()
    office.phone.do("digits", keys="159##")
    reported = office.gateway.wait_for_lines("dtmf.received", 5, since=mark)
    assert [line["digit"] for line in reported] == list("159##")
    office.phone.do("hang_up")
    office.phone.next("ended")
    assert office.gateway.wait_for("call.ended", call_id=call_id)["dtmf_count"] == 5
    office.phone.do("close")


def test_the_gateway_hangs_up(office: Office) -> None:
    call_id = office.call()
    assert CallsApi(office.gateway).hang_up(call_id).status == 200
    assert office.phone.next("ended")["originator"] == "remote"
    assert office.gateway.wait_for("call.ended", call_id=call_id)["reason"] == "hangup"
    office.phone.do("close")
