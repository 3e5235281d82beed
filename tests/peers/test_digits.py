"""Key presses, replayed by SIPp from captures in which packets are missing, doubled or late."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers import pcap
from tests.peers.calls_api import CALLS, CallsApi
from tests.peers.gateway import HOST, GatewayProcess
from tests.peers.line import Line, RealtimeThread
from tests.peers.pcap import KEYS, Fate
from tests.peers.sipp import Sipp, need_sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow]

FATES: dict[str, Fate] = {
    "whole": pcap.whole,
    "first lost": pcap.first_lost,
    "ends lost": pcap.ends_lost,
    "all but one lost": pcap.all_but_one_lost,
    "doubled": pcap.doubled,
    "late": pcap.shuffled_ends,
}


def test_each_key_is_reported_once(line: Line, tmp_path: Path) -> None:
    need_sipp(raw_socket=True)
    gateway = line.gateway
    calls: dict[str, str] = {}
    sessions = len(line.realtime.server.connections)
    # Twice the same key in a row is two presses.
    keys = KEYS + "00##"
    with ExitStack() as stack:
        runs = []
        for number, (name, fate) in enumerate(FATES.items()):
            capture = tmp_path / f"keys-{number}.pcap"
            duration_s = pcap.write(capture, pcap.key_presses(keys, fate))
            mark = gateway.mark()
            run = Sipp(
                "replay",
                gateway.sip,
                tmp_path,
                timeout_s=30,
                fill={"CAPTURE": str(capture), "HOLD_MS": f"{(duration_s + 0.4) * 1000:.0f}"},
            )
            runs.append(stack.enter_context(run))
            calls[name] = gateway.wait_for("call.incoming", since=mark)["call_id"]
        for run in runs:
            result = run.result()
            assert (result.status, result.successful) == (0, 1), str(result)

    reported = {}
    for name, call_id in calls.items():
        record = gateway.wait_for("call.ended", call_id=call_id)
        digits = [line["digit"] for line in gateway.lines("dtmf.received", call_id=call_id)]
        reported[name] = "".join(digits)
        assert record["dtmf_count"] == len(digits)
        assert record["reason"] == "remote_bye"
    assert reported == dict.fromkeys(FATES, keys)

    # The model got them too: as events' text, a line for each `#`.
    for session in line.realtime.server.connections[sessions:]:
        texts = [
            event["item"]["content"][0]["text"]
            for event in session.events("conversation.item.create")
        ]
        assert "".join(texts).replace("DTMF ", "") in (keys, keys[:-1])
        assert texts[0] == "DTMF 0123456789*#"


@pytest.mark.parametrize("way", ["rfc4733", "info"])
def test_keys_that_we_press_arrive(way: str) -> None:
    """From one gateway to another, asked for by the API and over a sideband; then back."""
    with (
        RealtimeThread() as realtime,
        GatewayProcess(realtime.url) as callee,
        GatewayProcess(realtime.url, {"GATEWAY_DTMF_OUT": way}) as caller,
    ):
        api = CallsApi(caller)
        call_id = api.post(CALLS, {"to": f"sip:agent@{HOST}:{callee.sip_port}"}).body["id"]
        api.until(call_id, "active")
        with api.sideband(call_id, "events") as sideband:
            answer = api.post(f"{CALLS}/{call_id}/dtmf", {"digits": "1#"})
            assert answer.status == 200, answer
            sideband.send({"type": "gateway.dtmf.send", "digits": "w99d"})
            assert sideband.until("gateway.dtmf.sent")["digits"] == "w99D"
            sideband.send({"type": "gateway.dtmf.send", "event_id": "e", "digits": "no"})
            error = sideband.until("error")["error"]
            assert (error["param"], error["event_id"]) == ("digits", "e")
            heard = callee.wait_for_lines("dtmf.received", 5)
            assert "".join(line["digit"] for line in heard) == "1#99D"
            (other,) = CallsApi(callee).calls()
            answer = CallsApi(callee).post(f"{CALLS}/{other['id']}/dtmf", {"digits": "7"})
            assert answer.status == 200, answer
            assert sideband.until("input_audio_buffer.dtmf_event_received")["event"] == "7"
        api.hang_up(call_id)
        assert callee.wait_for("call.ended")["dtmf_count"] == 5
        assert caller.wait_for("call.ended")["dtmf_count"] == 1
        assert not caller.lines("dtmf.refused")
