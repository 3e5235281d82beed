"""Calls that the gateway makes: SIPp and baresip are called, refuse, ring, and ask who we are."""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.audio import RATE_HZ, likeness, silence, write_wav
from tests.peers.baresip import Baresip
from tests.peers.calls_api import CALLS, CallsApi
from tests.peers.gateway import (
    HOST,
    Footprint,
    GatewayProcess,
    LogLine,
    eventually,
    free_port,
    free_range,
)
from tests.peers.line import Line, RealtimeThread
from tests.peers.sipp import Sipp, need_sipp
from tests.peers.test_baresip import greeting, prompt
from tests.peers.wire import Caller, UdpWire
from tests.sdk.model import model

pytestmark = [pytest.mark.peer, pytest.mark.slow]

USER, PASSWORD, REALM = "line-7", "a pass:word", "trunk.example"
NUMBER = "tel:+1-555-123-4567"
RING_TIMEOUT_S = 1.5
MANY, RATE = 200, 40.0
VERIFY = f'<verifyauth assign_to="known" username="{USER}" password="{PASSWORD}"/>'
VERIFY_ANOTHER = f'<verifyauth assign_to="known" username="{USER}" password="another"/>'
SEE_A_PROOF = (
    f'<ereg regexp="realm=.{REALM}." search_in="hdr" header="Proxy-Authorization:" '
    'assign_to="known"/>'
)
"""SIPp's own verification knows no Proxy-Authorization."""
CHALLENGES = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


@dataclass
class Office:
    """A gateway that calls people."""

    gateway: GatewayProcess
    baseline: Footprint
    """What it held when it had called one."""
    directory: Path
    transport: str
    """Of its trunk; "" without one."""
    trunk_port: int

    @property
    def api(self) -> CallsApi:
        return CallsApi(self.gateway)

    def callee(
        self,
        scenario: str,
        *options: str,
        calls: int = 1,
        transport: str = "udp",
        port: int = 0,
        **fill: str,
    ) -> Sipp:
        """Somebody who waits to be called; use as a context manager."""
        return Sipp(
            scenario,
            None,
            self.directory,
            calls=calls,
            transport="t1" if transport == "tcp" else "u1",
            port=port,
            media_port=free_range(4),
            timeout_s=40,
            options=("-rtp_echo", *options),
            fill={
                **{"THEN": "hears_bye", "HOLD_MS": "200", "ALSO": "Retry-After: 5"},
                **fill,
            },
        )

    def trunk(self, status: int, *options: str, **fill: str) -> Sipp:
        """The trunk, which asks with this status who calls."""
        return self.callee(
            "asking",
            *options,
            calls=1,
            transport=self.transport,
            port=self.trunk_port,
            **{
                **{"STATUS": str(status), "ASKS": CHALLENGES[status][0], "REALM": REALM},
                **{"LOOK": VERIFY if status == 401 else SEE_A_PROOF, "REFUSAL": "403", **fill},
            },
        )

    def ended(self, call_id: str, timeout_s: float = 10.0) -> LogLine:
        """The record of a call, which the API must agree with."""
        record = self.gateway.wait_for("call.ended", timeout_s, call_id=call_id)
        summary = self.api.until(call_id, "ended")
        names = ("direction", "leg", "reason", "sip_status", "duration_s", "codec")
        assert {name: summary[name] for name in names} == {name: record[name] for name in names}
        assert (record["direction"], record["leg"]) == ("outbound", "sip")
        assert bool(summary["answered_at"]) == bool(record["duration_s"])
        return record


def uri(callee: Sipp, transport: str = "udp") -> str:
    return f"sip:callee@{HOST}:{callee.port}" + (";transport=tcp" * (transport == "tcp"))


def assert_went_well(callee: Sipp) -> None:
    """The callee saw all that its scenario says, and nothing else."""
    result = callee.result()
    assert (result.status, result.failed) == (0, 0) and result.successful > 0, str(result)


@contextmanager
def office(
    directory: Path, realtime_url: str, transport: str, greets_port: int, **env: str
) -> Iterator[Office]:
    """A gateway; one callee is called at `greets_port` before anything is counted."""
    need_sipp()
    trunk_port = free_port()
    if transport:
        credentials = f"{USER}:{PASSWORD.replace(' ', '%20').replace(':', '%3A')}"
        env["GATEWAY_SIP_TRUNK"] = (
            f"sip:{credentials}@localhost:{trunk_port};transport={transport};realm={REALM}"
        )
        env["GATEWAY_CALLS_TARGETS"] = f"tel:+1555,sip:*@{HOST}:{greets_port}"
    with GatewayProcess(realtime_url, env) as gateway:
        line = Office(gateway, gateway.footprint(), directory, transport, trunk_port)
        with line.callee("answering", port=greets_port, THEN="hangs_up") as callee:
            line.ended(line.api.call(uri(callee)))
        line.baseline = gateway.footprint()
        yield line


@pytest.fixture(scope="module")
def open_office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The model is the embedded agent; anybody within reach may be called, for want of a trunk."""
    with office(tmp_path_factory.mktemp("open"), "", "", free_port()) as line:
        yield line


@pytest.fixture(scope="module")
def quiet_port() -> int:
    """Where the offices with a trunk may call."""
    return free_port()


@pytest.fixture(scope="module")
def trunk_office(tmp_path_factory: pytest.TempPathFactory, quiet_port: int) -> Iterator[Office]:
    """The model is the embedded agent, few may be called, the trunk takes UDP."""
    with office(tmp_path_factory.mktemp("trunk"), "", "udp", quiet_port) as line:
        yield line


@pytest.fixture(scope="module")
def strict_office(tmp_path_factory: pytest.TempPathFactory, quiet_port: int) -> Iterator[Office]:
    """Few may be called and they may not ring for long; the trunk takes TCP."""
    directory = tmp_path_factory.mktemp("strict")
    ring = {"GATEWAY_CALLS_RING_TIMEOUT_S": str(RING_TIMEOUT_S)}
    with (
        RealtimeThread(model) as realtime,
        office(directory, realtime.url, "tcp", quiet_port, **ring) as line,
    ):
        yield line


@pytest.fixture(scope="module")
def offices(trunk_office: Office, strict_office: Office) -> dict[str, Office]:
    """By the transport of their trunks."""
    return {line.transport: line for line in (trunk_office, strict_office)}


def test_200_calls_at_40_a_second(open_office: Office) -> None:
    line, api = open_office, open_office.api
    mark = line.gateway.mark()
    with line.callee("answering", calls=MANY, THEN="hangs_up", HOLD_MS="1000") as callees:
        began = time.monotonic()
        ids = []
        for number in range(MANY):
            time.sleep(max(began + number / RATE - time.monotonic(), 0))
            ids.append(api.call(uri(callees), **{"from": f"tel:+1555{number:07}"}))
        records = line.gateway.wait_for_lines("call.ended", MANY, 20, mark)
        assert_went_well(callees)
        assert callees.result().successful == MANY
    assert sorted(record["call_id"] for record in records) == sorted(ids)
    assert {record["reason"] for record in records} == {"remote_bye"}
    assert len(line.gateway.lines("call.answered", mark)) == MANY
    assert all(record["rtp_received"] > 0 and record["rtp_sent"] > 0 for record in records)
    # Sockets and media ports are freed with the call; transactions stay a while.
    line.gateway.wait_for_footprint(line.baseline, 5, "sip_transactions", "sip_dialogs")


@pytest.mark.parametrize("who", ["we", "they"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_audio_goes_both_ways_until_somebody_hangs_up(
    open_office: Office, transport: str, who: str
) -> None:
    line, api = open_office, open_office.api
    then = {"we": "hears_bye", "they": "hangs_up"}[who]
    with line.callee("answering", transport=transport, THEN=then) as callee:
        answer = api.dial(uri(callee, transport), **{"from": "tel:+1-555-000-9999"})
        assert answer.status == 201
        call_id = answer.body["id"]
        assert answer.body["object"] == "realtime.call" and answer.body["direction"] == "outbound"
        assert answer.body["state"] in ("connecting", "ringing") and not answer.body["answered_at"]
        line.gateway.wait_for("call.ringing", call_id=call_id, sip_status=180)
        line.gateway.wait_for("call.answered", call_id=call_id, codec="pcmu")
        if who == "we":
            assert api.summary(call_id)["state"] == "active"
            assert api.hears_and_is_heard(call_id)
            assert api.hang_up(call_id).status == 200
        record = line.ended(call_id)
        assert_went_well(callee)
    assert record["reason"] == {"we": "hangup", "they": "remote_bye"}[who]
    assert record["codec"] == "pcmu" and record["setup_ms"] > 0 and record["duration_s"] > 0
    assert record["rtp_received"] > 0 and record["rtp_sent"] > 0


@pytest.mark.parametrize("status", [404, 486, 503, 603])
def test_a_callee_refuses(open_office: Office, status: int) -> None:
    line = open_office
    with line.callee("refusing", STATUS=str(status)) as callee:
        record = line.ended(line.api.call(uri(callee)))
        assert_went_well(callee)
    assert (record["reason"], record["sip_status"]) == ("refused", status)
    assert record["duration_s"] == 0 and record["setup_ms"] is None and record["codec"] is None


def test_a_call_is_given_up_while_it_rings(open_office: Office) -> None:
    line, api = open_office, open_office.api
    with line.callee("ringing") as callee:
        call_id = api.call(uri(callee))
        api.until(call_id, "ringing")
        assert api.refer(call_id, NUMBER).error["code"] == "invalid_call_state"
        assert api.hang_up(call_id).status == 200
        assert api.hang_up(call_id).status == 200
        assert line.ended(call_id)["reason"] == "hangup"
        assert_went_well(callee)


def test_a_telephone_rings_and_another_is_off(strict_office: Office, quiet_port: int) -> None:
    line, api, gateway = strict_office, strict_office.api, strict_office.gateway
    with (
        line.callee("ringing", transport="tcp", port=line.trunk_port) as callee,
        Caller(UdpWire(gateway.sip, HOST, quiet_port), gateway.sip) as off,
    ):
        ids = [api.call(NUMBER), api.call(f"sip:off@{HOST}:{quiet_port}")]
        for call_id in ids:
            record = line.ended(call_id)
            assert (record["reason"], record["sip_status"]) == ("ring_timeout", None)
        assert_went_well(callee)  # it was cancelled
        invites = [off.wait("INVITE", 0) for _ in range(2)]
        assert invites[0] == invites[1]  # sent again, and not to be cancelled while it is unheard
        off.answer(invites[0], 180, "Ringing")
        off.answer(off.wait("CANCEL", 0))
        off.answer(invites[0], 487, "Request Terminated")
        off.wait("ACK", 0)


def test_a_connection_is_refused(open_office: Office) -> None:
    line = open_office
    record = line.ended(line.api.call(f"sip:nobody@{HOST}:{free_port()};transport=tcp"))
    assert record["reason"] == "transport"


def test_an_answer_that_comes_again_is_acknowledged_again(open_office: Office) -> None:
    line, api = open_office, open_office.api
    with line.callee("repeating", "-nr") as callee:
        call_id = api.call(uri(callee))
        api.until(call_id, "active")
        assert api.hears_and_is_heard(call_id)
        api.hang_up(call_id)
        assert line.ended(call_id)["reason"] == "hangup"
        assert_went_well(callee)


# Who are we?


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_trunk_is_told_who_calls(
    offices: dict[str, Office], transport: str, status: int
) -> None:
    line = offices[transport]
    trace = line.directory / f"trace-{status}"
    with line.trunk(status, "-trace_msg", "-message_file", str(trace)) as trunk:
        call_id = line.api.call(NUMBER)
        line.api.until(call_id, "active")
        assert line.api.hears_and_is_heard(call_id)
        line.api.hang_up(call_id)  # the BYE is challenged too
        assert line.ended(call_id)["reason"] == "hangup"
        assert_went_well(trunk)
    proofs = proofs_in(trace.read_text(), CHALLENGES[status][1])
    assert [method for method, _ in proofs] == ["INVITE", "ACK", "BYE"]
    assert all(proof["uri"].startswith("sip:+15551234567@localhost") for _, proof in proofs[:2])
    assert "a pass" not in str(line.gateway.logs) and "a pass" not in trace.read_text()
    for method, proof in proofs:
        # An ACK bears the proof of its INVITE (RFC 3261 section 22.1).
        assert proof["response"] == right_response(proof, method.replace("ACK", "INVITE"))


def test_a_challenged_refer_is_repeated(trunk_office: Office) -> None:
    line, api = trunk_office, trunk_office.api
    with line.trunk(401, THEN="is_referred") as trunk:
        call_id = api.call(NUMBER)
        api.until(call_id, "active")
        assert api.hears_and_is_heard(call_id)
        assert api.refer(call_id, "tel:+15550001111").status == 200
        record = line.ended(call_id)
        assert_went_well(trunk)
    assert (record["reason"], record["transfer"]) == ("transferred", "transferred")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("refusal", [401, 403])
def test_a_wrong_password_is_tried_once(
    offices: dict[str, Office], transport: str, refusal: int
) -> None:
    line = offices[transport]
    with line.trunk(401, LOOK=VERIFY_ANOTHER, REFUSAL=str(refusal)) as trunk:
        record = line.ended(line.api.call(NUMBER))
        assert_went_well(trunk)
    assert (record["reason"], record["sip_status"]) == ("refused", refusal)


def test_a_stranger_is_told_nothing(trunk_office: Office, quiet_port: int) -> None:
    """Also with the realm of our trunk: a proof would let it try passwords."""
    line = trunk_office
    challenge = f'WWW-Authenticate: Digest realm="{REALM}", nonce="a", qop="auth"'
    with line.callee("refusing", port=quiet_port, STATUS="401", ALSO=challenge) as callee:
        record = line.ended(line.api.call(uri(callee)))
        assert_went_well(callee)  # one INVITE, one ACK
    assert (record["reason"], record["sip_status"]) == ("refused", 401)


@pytest.mark.parametrize("realm", ["localhost", REALM.upper(), "evil.example"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_callee_behind_the_trunk_is_told_nothing(
    offices: dict[str, Office], transport: str, realm: str
) -> None:
    """Its challenge comes through the trunk, but by a realm that is not the trunk's."""
    line = offices[transport]
    challenge = f'WWW-Authenticate: Digest realm="{realm}", nonce="a", qop="auth"'
    with line.callee(
        "refusing", transport=transport, port=line.trunk_port, STATUS="401", ALSO=challenge
    ) as callee:
        record = line.ended(line.api.call(NUMBER))
        assert_went_well(callee)  # one INVITE, one ACK
    assert (record["reason"], record["sip_status"]) == ("refused", 401)


def proofs_in(trace: str, name: str) -> list[tuple[str, dict[str, str]]]:
    """Method and proof of each request that bears one, in the messages that SIPp has traced."""
    found = []
    for message in re.split(r"^-{20,}.*$", trace, flags=re.M):
        request = re.search(r"^([A-Z]+) \S+ SIP/2\.0", message, re.M)
        proof = re.search(rf"^{name}: Digest (.*)$", message, re.M)
        if request and proof:
            pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', proof[1])
            found.append((request[1], {key: quoted or plain for key, quoted, plain in pairs}))
    return found


def right_response(proof: dict[str, str], method: str) -> str:
    """What RFC 2617 has for our password."""

    def digest(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()  # noqa: S324

    assert proof["username"] == USER and proof["realm"] == REALM and proof["qop"] == "auth"
    return digest(
        digest(USER, REALM, PASSWORD),
        *(proof[name] for name in ("nonce", "nc", "cnonce", "qop")),
        digest(method, proof["uri"]),
    )


# A real telephone, and calls that are not made.


def test_a_telephone_hears_the_agent(open_office: Office, tmp_path: Path) -> None:
    line, api = open_office, open_office.api
    microphone = tmp_path / "silence.wav"
    write_wav(microphone, silence(30))
    words = prompt(greeting()[0])
    with Baresip(tmp_path / "phone", transport="udp", codec="PCMA", microphone=microphone) as phone:
        call_id = api.call(phone.uri)
        with api.sideband(call_id) as sideband:
            sideband.until("session.created")
            api.until(call_id, "active")
            sideband.send({"type": "response.create"})
            sideband.until("output_audio_buffer.started")
            begun_s = phone.heard_s
            assert eventually(lambda: phone.heard_s > begun_s + len(words) / RATE_HZ + 1, 20)
            recording = phone.stop()
            assert "output_audio_buffer.started" in sideband.until_closed()
            assert sideband.close_code == 1000
        record = line.ended(call_id)
    assert likeness(words, recording.heard)[0] > 0.9
    assert record["reason"] == "remote_bye" and record["codec"] == "pcma"
    assert record["rtp_received"] > 0 and record["rtp_lost"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"to": "tel:+19005551234"}, "target_not_allowed"),
        ({"to": "tel:+882161234567"}, "target_not_allowed"),
        ({"to": f"sip:agent@{HOST}"}, "target_not_allowed"),
        ({"to": "sip:agent@nobody.invalid"}, "target_not_allowed"),
        ({"to": "tel:+1555;phone-context=evil.example"}, "invalid_value"),
        ({"to": "sips:agent@localhost"}, "invalid_value"),
        ({"to": "https://example.com"}, "invalid_value"),
        ({"to": ""}, "invalid_value"),
        ({"to": 15551234567}, "invalid_type"),
        ({}, "missing_required_parameter"),
    ],
)
def test_what_may_not_be_called(strict_office: Office, body: dict[str, object], code: str) -> None:
    line = strict_office
    mark = line.gateway.mark()
    answer = line.api.post(CALLS, body)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == (code, "to")
    assert not line.gateway.lines("call.outgoing", mark)


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("sip:agent@nobody.invalid", "not_allowed"),
        ("sip:agent@example.com", "not_allowed"),
        ("sip:agent@0.0.0.0", "unusable_host"),
        ("sip:agent@224.0.0.1", "unusable_host"),
        ("sip:agent@192.0.2.1", "unusable_host"),
        (f"sip:agent@{HOST};transport=ws", "bad_target"),
    ],
)
def test_who_cannot_be_called(open_office: Office, to: str, code: str) -> None:
    answer = open_office.api.dial(to)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == (code, "to")


def test_a_number_needs_a_trunk(line: Line) -> None:
    answer = CallsApi(line.gateway).dial(NUMBER)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == ("no_trunk", "to")


@pytest.mark.parametrize("name", ["open_office", "trunk_office", "strict_office"])
def test_nothing_is_left_of_any_call(name: str, request: pytest.FixtureRequest) -> None:
    line: Office = request.getfixturevalue(name)
    line.gateway.wait_for_footprint(line.baseline, 5, "sip_transactions", "sip_dialogs")
    line.gateway.check()
