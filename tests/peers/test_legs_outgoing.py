"""SIPp is called by a leg of ours, in either law, and sends back what it hears."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.audio.playout import ItemPart
from gateway.legs.leg import LegAnswered, LegEnded, LegRinging
from tests.legs.office import HOST, Office, free_port
from tests.peers.sipp import Sipp, need_sipp

pytestmark = pytest.mark.peer

FRAME = random.Random(1).randbytes(160)


@pytest.mark.parametrize(("codec", "payload_type"), [("pcmu", "0"), ("pcma", "8")])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_sipp_answers_and_echoes(
    tmp_path: Path, transport: str, codec: str, payload_type: str
) -> None:
    need_sipp()
    office = Office()
    await office.open()
    with Sipp(
        "uas",
        None,
        tmp_path,
        transport={"udp": "u1", "tcp": "t1"}[transport],
        media_port=free_port(),
        timeout_s=20,
        options=("-rtp_echo",),
        fill={"CODECS": payload_type},
    ) as sipp:
        leg = office.leg(f"sip:tester@{HOST}:{sipp.port};transport={transport}")
        media: Any = await leg.dial()
        await office.until(LegAnswered())
        assert office.events == [LegRinging(180), LegAnswered()]
        assert leg.codec == codec
        heard: list[bytes] = []
        media.join(heard.append)
        media.playout.push(ItemPart("resp_1", "item_1", 0), FRAME * 5)
        async with asyncio.timeout(5):
            while not any(len(set(frame)) > 50 for frame in heard):  # noise, as nothing else is
                media.tick()
                await asyncio.sleep(0.02)
        leg.hang_up()
        assert office.events[-1] == LegEnded("local_bye")
        result = await asyncio.to_thread(sipp.result)
        assert (result.successful, result.failed) == (1, 0), str(result)
    await office.close()
    assert office.left() == {}
