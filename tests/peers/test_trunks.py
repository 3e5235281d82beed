"""SIPp as a trunk: what it is told of us, how much it carries, and where it sends us."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ahead import early
from tests.peers.calls_api import CALLS, CallsApi
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port, free_range
from tests.peers.scenario import Scenario
from tests.peers.sipp import Sipp, need_sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

NUMBER, CALLER = "tel:+4930123456", "tel:+4940555"
HEADERS = [{"name": "X-Case", "value": "7"}]


class Carrier:
    """A gateway, its trunk and another telephone that it may call."""

    def __init__(self, gateway: GatewayProcess, directory: Path, ports: tuple[int, int, int]):
        self.gateway, self.directory = gateway, directory
        self.trunk_port, self.small_port, self.other_port = ports
        self.api = CallsApi(gateway)

    def trunk(self, scenario: str | Scenario, *options: str, port: int = 0, **fill: str) -> Sipp:
        return Sipp(
            scenario,
            None,
            self.directory,
            port=port or self.trunk_port,
            media_port=free_range(4),
            timeout_s=30,
            options=options,
            fill={"THEN": "hears_bye", "HOLD_MS": "200", "ALSO": "Retry-After: 5", **fill},
        )


def went_well(callee: Sipp) -> None:
    result = callee.result()
    assert (result.status, result.successful, result.failed) == (0, 1, 0), str(result)


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrier]:
    need_sipp()
    ports = (free_port(), free_port(), free_port())
    trunks = (
        f"sip:line7:secret@localhost:{ports[0]};transport=udp;identity=asserted",
        f"sip:small.example;proxy={HOST}:{ports[1]};transport=udp;calls=1;prefix=+41/+43",
    )
    env = {
        "GATEWAY_SIP_TRUNK": ",".join(trunks),
        "GATEWAY_CALLS_TARGETS": f"tel:+49,tel:+41,sip:*@{HOST}:{ports[2]}",
        "GATEWAY_CALLS_REDIRECTS": "2",
        "GATEWAY_CALLS_ON_INCOMING": "webhook",
        "GATEWAY_WEBHOOK_URL": f"http://{HOST}:{free_port()}/nobody",
    }
    with GatewayProcess("", env) as gateway:
        yield Carrier(gateway, tmp_path_factory.mktemp("carrier"), ports)


def invite_in(trace: Path) -> dict[str, str]:
    """The headers of the INVITE that SIPp saw."""
    text = trace.read_text(errors="replace").replace("\r", "")
    head = text[text.index("INVITE sip:") :].split("\n\n")[0]
    return dict(line.split(": ", 1) for line in head.split("\n")[1:])


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_trunk_is_told_who_calls_and_what_to_tell(carrier: Carrier, anonymous: bool) -> None:
    trace = carrier.directory / f"identity-{anonymous}"
    with carrier.trunk("answering", "-trace_msg", "-message_file", str(trace)) as trunk:
        more = {"from": CALLER, "from_name": 'Zoë "Z"', "anonymous": anonymous}
        call_id = carrier.api.call(NUMBER, **more, sip_headers=HEADERS)
        told = carrier.api.until(call_id, "active")
        carrier.api.hang_up(call_id)
        went_well(trunk)
    seen = invite_in(trace)
    name = '"Zoë \\"Z\\"" <sip:+4940555@localhost>'
    assert seen["P-Asserted-Identity"] == name
    assert seen["X-Case"] == "7"
    assert seen["Call-ID"] == told["sip_call_id"]
    record = carrier.gateway.wait_for("call.ended", call_id=call_id)
    assert record["sip_call_id"] == seen["Call-ID"]
    who = seen["From"].split(";tag=")[0]
    if anonymous:
        assert who == '"Anonymous" <sip:anonymous@anonymous.invalid>'
        assert seen["Privacy"] == "id"
        assert "4940555" not in seen["Contact"] + seen["From"]
    else:
        assert who == name and "Privacy" not in seen


def test_a_trunk_that_is_full_is_not_called(carrier: Carrier) -> None:
    with carrier.trunk("answering", port=carrier.small_port) as trunk:
        call_id = carrier.api.call("tel:+41123")
        carrier.api.until(call_id, "active")
        busy = carrier.api.dial("tel:+41124")
        assert (busy.status, busy.error["code"]) == (429, "trunk_busy")
        assert busy.headers["retry-after"] == "1"
        assert carrier.gateway.metrics()['gateway_trunk_calls{trunk="small.example"}'] == 1
        carrier.api.hang_up(call_id)
        went_well(trunk)
    carrier.gateway.wait_for("call.ended", call_id=call_id)
    with carrier.trunk("answering", port=carrier.small_port) as trunk:
        call_id = carrier.api.call("tel:+41124")
        carrier.api.until(call_id, "active")
        carrier.api.hang_up(call_id)
        went_well(trunk)


def test_a_call_that_a_trunk_passes_on_is_followed(carrier: Carrier) -> None:
    wrong, right = "sip:bob@evil.example", f"sip:bob@{HOST}:{carrier.other_port}"
    also = f"Contact: <{right}>;q=0.2, <{wrong}>;q=0.5, <tel:+1900555>"
    with (
        carrier.trunk("refusing", STATUS="302", ALSO=also) as trunk,
        carrier.trunk("answering", port=carrier.other_port) as other,
    ):
        call_id = carrier.api.call(NUMBER)
        carrier.api.until(call_id, "active")
        carrier.gateway.wait_for("call.redirected", call_id=call_id, sip_status=302)
        carrier.api.hang_up(call_id)
        went_well(trunk)
        went_well(other)
    assert carrier.gateway.wait_for("call.ended", call_id=call_id)["reason"] == "hangup"


def test_a_call_is_not_passed_on_to_whom_may_not_be_called(carrier: Carrier) -> None:
    also = "Contact: <sip:bob@evil.example>, <tel:+1900555>"
    with carrier.trunk("refusing", STATUS="302", ALSO=also) as trunk:
        call_id = carrier.api.call(NUMBER)
        record = carrier.gateway.wait_for("call.ended", call_id=call_id)
        assert (record["reason"], record["sip_status"]) == ("refused", 302)
        went_well(trunk)


def test_the_first_of_two_telephones_that_answer_has_the_call(carrier: Carrier) -> None:
    with carrier.trunk("forked") as trunk:
        call_id = carrier.api.call(NUMBER)
        carrier.api.until(call_id, "active")
        carrier.gateway.wait_for("call.answered", call_id=call_id)
        assert carrier.api.summary(call_id)["state"] == "active"
        carrier.api.hang_up(call_id)
        went_well(trunk)
    assert carrier.gateway.wait_for("call.ended", call_id=call_id)["reason"] == "hangup"


@pytest.mark.parametrize("status", [404, 486, 503])
def test_what_is_announced_is_no_answer(carrier: Carrier, status: int) -> None:
    """Early media, then a refusal: the call never was answered, and costs nothing."""
    with carrier.trunk("announcing", STATUS=str(status)) as trunk:
        call_id = carrier.api.call(NUMBER)
        record = carrier.gateway.wait_for("call.ended", call_id=call_id)
        went_well(trunk)
    assert (record["reason"], record["sip_status"]) == ("refused", status)
    assert record["duration_s"] == 0


def test_a_call_rings_as_long_as_was_asked_for(carrier: Carrier) -> None:
    with carrier.trunk("ringing") as trunk:
        call_id = carrier.api.call(NUMBER, ring_timeout_s=0.8)
        record = carrier.gateway.wait_for("call.ended", call_id=call_id)
        assert (record["reason"], record["sip_status"]) == ("ring_timeout", None)
        went_well(trunk)  # it saw a CANCEL, and an ACK for its 487
    answer = carrier.api.dial(NUMBER, ring_timeout_s=46)
    assert (answer.status, answer.error["param"]) == (400, "ring_timeout_s")


def test_chosen_headers_stand_in_200_refer_and_bye(carrier: Carrier) -> None:
    api, gateway = carrier.api, carrier.gateway
    mark = gateway.mark()
    caller = (
        Scenario("chosen")
        .invite()
        .answered(has="X-Case: 7")
        .ack()
        .asked("REFER", has="X-Case: 7.*Refer-To: <tel:.4930|Refer-To: <tel:.4930.*X-Case: 7")
        .respond(603)
        .asked("BYE", has="X-Case: 7")
        .respond(200)
    )
    with Sipp(caller, gateway.sip, carrier.directory, timeout_s=30) as sipp:
        call_id = gateway.wait_for_lines("call.ringing", 1, 10, mark)[0]["call_id"]
        path = f"{CALLS}/{call_id}"
        session = {"type": "realtime", "sip_headers": HEADERS}
        assert api.post(f"{path}/accept", session).status == 200
        api.until(call_id, "active")
        refer = {"target_uri": NUMBER, "sip_headers": HEADERS}
        assert api.post(f"{path}/refer", refer).error["code"] == "transfer_refused"
        bad = {"sip_headers": [{"name": "Via", "value": "x"}]}
        refused = api.post(f"{path}/hangup", bad)
        assert (refused.status, refused.error["param"]) == (400, "sip_headers[0].name")
        assert api.post(f"{path}/hangup", {"sip_headers": HEADERS}).status == 200
        result = sipp.result()
        assert (result.successful, result.failed) == (1, 0), str(result)
    incoming = gateway.wait_for("call.incoming", call_id=call_id)
    assert re.fullmatch(r".+@.+", str(incoming["sip_call_id"]))
    assert incoming["sip_call_id"] == gateway.wait_for("call.ended", call_id=call_id)["sip_call_id"]


@early
def test_a_trunk_is_asked_whether_it_is_there(directory: Path) -> None:
    need_sipp()
    port = free_port()
    env = {
        "GATEWAY_SIP_TRUNK": f"sip:asked.example;proxy={HOST}:{port};transport=udp;ping=5",
        "GATEWAY_CALLS_TARGETS": "tel:+49",
    }

    def stands(state: str, **more: str) -> bool:
        told = json.loads(gateway.get("/readyz")[1])["trunks"]
        up = gateway.metrics()['gateway_trunk_up{trunk="asked.example"}']
        return told == [{"trunk": "asked.example", "state": state, **more}] and up == (
            state == "up"
        )

    with GatewayProcess("", env) as gateway:
        assert stands("asking")
        with Sipp("pinged", None, directory, port=port, timeout_s=60) as trunk:
            gateway.wait_for("trunk.up", trunk="asked.example", timeout_s=20)
            assert stands("up")
            gateway.wait_for("trunk.down", reason="unavailable", sip_status=503, timeout_s=20)
            assert stands("down", reason="unavailable 503")
            went_well(trunk)
        assert eventually(lambda: stands("up"), 5)
        assert len(gateway.lines("trunk.up")) == 2


def test_nothing_was_broken(carrier: Carrier) -> None:
    carrier.gateway.check()
