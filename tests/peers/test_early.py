"""Early media between two gateways: what one plays while it rings, the agent of the other hears."""

from pathlib import Path

import numpy as np
import pytest

from gateway.audio import g711
from tests.peers.audio import read_samples, write_wav
from tests.peers.calls_api import CALLS, CallsApi
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port
from tests.peers.line import RealtimeThread
from tests.peers.speech import found, monologue

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.mark.parametrize("hears", [True, False])
def test_an_announcement_is_heard_before_the_answer(tmp_path: Path, hears: bool) -> None:
    announcement = monologue()
    write_wav(tmp_path / "announcement.wav", announcement)
    rings = {
        "GATEWAY_SIP_EARLY_MEDIA": str(tmp_path / "announcement.wav"),
        "GATEWAY_WEBHOOK_URL": f"http://{HOST}:{free_port()}/nobody",  # so it goes on ringing
    }
    with (
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url, rings) as callee,
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
