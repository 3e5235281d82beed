"""aiortc as a peer that takes our answers, and as a parser that must not stand in front."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription as AiortcDescription

from gateway.sdp.description import SdpError, parse
from gateway.sdp.webrtc import AudioCodecName, answer, read_offer
from tests.sdp.mutants import mutants
from tests.sdp.webrtc_offers import CODECS, local

pytestmark = pytest.mark.loop


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channel", ["taken", "refused", "none"])
async def test_it_takes_our_answer(codec: AudioCodecName, channel: str) -> None:
    peer = RTCPeerConnection()
    tracks: list[MediaStreamTrack] = []
    peer.on("track", tracks.append)
    try:
        transceiver = peer.addTransceiver("audio")
        if channel != "none":
            peer.createDataChannel("oai-events")
        await peer.setLocalDescription(await peer.createOffer())
        offered = parse(peer.localDescription.sdp)
        plan = read_offer(offered, (codec,))
        assert (plan.codec, plan.data is not None) == (codec, channel != "none")
        if channel == "refused":
            plan = replace(plan, data=None)
        ours = local()
        ours = replace(ours, transport=replace(ours.transport, candidates=()))  # nobody is there
        wire = answer(offered, plan, ours).to_bytes().decode()
        await peer.setRemoteDescription(RTCSessionDescription(wire, "answer"))
        assert peer.signalingState == "stable"
        assert transceiver.currentDirection == "sendrecv"
        assert [track.id for track in tracks] == ["audio"]
    finally:
        await peer.close()
        await asyncio.sleep(0)


def test_what_its_parser_does_with_broken_offers_ours_does_not() -> None:
    """It raises whatever comes to hand; of ours the caller knows what to expect."""
    raised: Counter[str] = Counter()
    for body in mutants(1500, seed=9):
        text = body.decode("utf-8", "replace")
        try:
            AiortcDescription.parse(text)
        except ValueError:
            pass
        except Exception as error:
            raised[type(error).__name__] += 1
            try:
                read_offer(parse(text), CODECS)
            except SdpError as refused:
                assert refused.status in (400, 488)
    assert len(raised) >= 4, raised
    assert raised.total() > 200, raised
