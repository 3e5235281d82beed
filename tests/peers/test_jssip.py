"""JsSIP, on libwebrtc, calls over SIP on a WebSocket with TLS, straight to the gateway."""

import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.audio import RATE_HZ, likeness, read_samples, resampled, write_wav
from tests.peers.calls_api import CallsApi
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port
from tests.peers.line import RealtimeThread
from tests.peers.speech import pcm, prompt
from tests.sdk import authority
from tests.sdk.application import NodeApplication
from tests.sdk.schemas import need_node

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

    def packets(self) -> int:
        """How many the phone has received in this call."""
        return int(self.phone.do("heard")["packets"])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    need_node()
    folder: Path = tmp_path_factory.mktemp("jssip")
    write_wav(folder / "speech.wav", prompt("one-night"))
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

    said, told = prompt("one-night"), prompt("in-a-small-town")
    phone.do("speak", seconds=len(said) / RATE_HZ + 3)
    office.realtime.run(session.speak("item_1", "resp_1", pcm(told, 24_000)))
    piece = said[: 2 * RATE_HZ]  # of what it says over and over: once it is heard in one piece
    model_heard = eventually(lambda: len(session.audio) > 48_000 * (len(said) / RATE_HZ + 2.2), 15)
    assert model_heard, len(session.audio)
    heard = resampled(read_samples(bytes(session.audio)), 24_000)
    print("UP", [[round(float(likeness(said[int(a*RATE_HZ):int((a+n)*RATE_HZ)], heard)[0]),3) for a in (0,.5,1,1.5,2,2.5,3,3.5)] for n in (0.5,1,1.5,2)]); import numpy as np; np.save("/tmp/up.npy",heard); np.save("/tmp/said.npy",said);print(gateway.wait_for("call.answered"), len(said)/RATE_HZ); assert likeness(piece, heard)[0] > 0.9

    recording = phone.do("recording")
    heard = resampled(read_samples(b64decode(recording["samples"])), recording["rate"])
    print("DOWN", [[round(float(likeness(told[int(a*RATE_HZ):int((a+n)*RATE_HZ)], heard)[0]),3) for a in (0,.5,1,1.5,2,2.5,3,3.5)] for n in (0.5,1,1.5,2)]); import numpy as np; np.save("/tmp/down.npy",heard); np.save("/tmp/told.npy",told); assert likeness(told[: 2 * RATE_HZ], heard)[0] > 0.9

    phone.do("digits", keys="159#")
    reported = gateway.wait_for_lines("dtmf.received", 4, call_id=call_id)
    assert [line["digit"] for line in reported] == list("159#")

    phone.do("hold")
    time.sleep(0.1)
    held = office.packets()
    time.sleep(0.3)
    assert office.packets() == held
    phone.do("unhold")
    assert eventually(lambda: office.packets() > held + 10, 5)
    before = len(session.audio)
    assert eventually(lambda: len(session.audio) > before + 24_000, 5)

    phone.do("hang_up")
    assert phone.next("ended")["originator"] == "local"
    assert gateway.wait_for("call.ended", call_id=call_id)["reason"] == "remote_bye"
    phone.do("close")


def test_the_gateway_hangs_up(office: Office) -> None:
    call_id = office.call()
    assert CallsApi(office.gateway).hang_up(call_id).status == 200
    assert office.phone.next("ended")["originator"] == "remote"
    assert office.gateway.wait_for("call.ended", call_id=call_id)["reason"] == "hangup"
    office.phone.do("close")
