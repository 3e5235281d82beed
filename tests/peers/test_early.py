"""Early media between two gateways: what one plays while it rings, the agent of the other hears, or
the caller whom it joins to the first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.audio import g711
from tests.peers.audio import Signal, read_samples, write_wav
from tests.peers.calls_api import CALLS, CallsApi
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port
from tests.peers.line import RealtimeThread
from tests.peers.media import Phone
from tests.peers.speech import found, monologue
from tests.peers.wire import Caller, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def _rings(directory: Path, announcement: Signal) -> dict[str, str]:
    """Settings of one who announces something, and never answers."""
    write_wav(directory / "announcement.wav", announcement)
    return {
        "GATEWAY_SIP_EARLY_MEDIA": str(directory / "announcement.wav"),
        "GATEWAY_WEBHOOK_URL": f"http://{HOST}:{free_port()}/nobody",  # so it goes on ringing
    }


@pytest.mark.parametrize("hears", [True, False])
def test_an_announcement_is_heard_before_the_answer(tmp_path: Path, hears: bool) -> None:
    announcement = monologue()
    with (
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url, _rings(tmp_path, announcement)) as callee,
        GatewayProcess(
            realtime.url, {"GATEWAY_CALLS_HEAR_EARLY": "true" if hears else "false"}
        ) as caller,
    ):
        api = CallsApi(caller)
        call_id = api.post(CALLS, {"to": f"sip:agent@{HOST}:{callee.sip_port}"}).body["id"]
        api.until(call_id, "ringing")
        session = realtime.connection(0)

        def heard() -> bool:
            law = bytes(session.audio)
            pcm = session.session["audio"]["input"]["format"]["type"] == "audio/pcm"
            assert not pcm, "the call is joined in G.711"
            samples = read_samples(g711.decode(law, "pcmu").astype(np.int16).tobytes())
            return len(samples) > 16_000 and found(announcement, samples) > 0.9

        assert eventually(heard, 12 if hears else 3, 0.5) == hears
        assert api.summary(call_id)["counters"]["rtp_sent"] == 0
        assert api.hang_up(call_id).status == 200
        ended = callee.wait_for("call.ended")
        assert (ended["reason"], ended["dtmf_count"]) == ("cancelled", 0)


def test_who_is_joined_to_somebody_hears_what_that_one_announces(tmp_path: Path) -> None:
    announcement = monologue()
    with (
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url, _rings(tmp_path, announcement)) as callee,
        GatewayProcess(
            realtime.url, {"GATEWAY_CALLS_HEAR_EARLY": "true", "GATEWAY_CALLS_BRIDGE": "leave"}
        ) as gateway,
        Phone() as phone,
        Caller(UdpWire(gateway.sip), gateway.sip) as caller,
        ThreadPoolExecutor(1) as clerk,
    ):
        phone.talk_to(caller.call(offer(phone.port)).media)
        call_id = gateway.wait_for("call.answered")["call_id"]
        target = f"sip:agent@{HOST}:{callee.sip_port}"
        asked = clerk.submit(CallsApi(gateway).refer, call_id, target)
        caller.answer(caller.wait("REFER", 0), 405, "Method Not Allowed")
        assert asked.result().status == 200

        def heard() -> bool:
            law = b"".join(packet.payload for packet in phone.heard())
            return found(announcement, g711.decode(law, "pcmu") / 32768) > 0.9

        assert eventually(heard, 12, 0.5)
        caller.hang_up()
        assert callee.wait_for("call.ended")["reason"] == "cancelled"
        gateway.check()
