"""Two legs in one call, with real telephones: a bridge for who knows no REFER, a call that is sent
into another one, and peers who pass the call on themselves (REFER, Replaces)."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.audio import g711
from tests.peers.audio import RATE_HZ, likeness, silence, spoken, voiced, write_wav
from tests.peers.baresip import Baresip, need_baresip
from tests.peers.calls_api import CallsApi
from tests.peers.gateway import (
    HOST,
    Footprint,
    GatewayProcess,
    LogLine,
    eventually,
    free_port,
    free_range,
)
from tests.peers.line import RealtimeThread
from tests.peers.media import SILENCE, Phone
from tests.peers.sipp import Sipp, need_sipp
from tests.peers.wire import Caller, Message, UdpWire, offer
from tests.sdk.model import model

pytestmark = [pytest.mark.peer, pytest.mark.slow]

ROUND_TRIP_S = 0.35
"""Through the bridge, to an echo, and back through it: no more than twice 60 ms wait, some frames
of 20 ms are on the way, and the rest is for a busy machine."""
ATTEMPTS = 3
TONE = bytes(range(160))


@dataclass
class Desk:
    """A gateway that joins callers to others."""

    gateway: GatewayProcess
    directory: Path
    ports: tuple[int, ...]
    """Where it may call people."""
    baseline: Footprint

    @property
    def api(self) -> CallsApi:
        return CallsApi(self.gateway)

    def callee(self, scenario: str = "answering", **fill: str) -> Sipp:
        """A telephone that gives back what it hears."""
        return Sipp(
            scenario,
            None,
            self.directory,
            port=self.ports[0],
            media_port=free_range(4),
            timeout_s=40,
            options=("-rtp_echo",),
            fill={**{"THEN": "hears_bye", "HOLD_MS": "200", "ALSO": "X-None: 1"}, **fill},
        )

    @property
    def target(self) -> str:
        """Where that one is called."""
        return f"sip:callee@{HOST}:{self.ports[0]}"

    def ended(self, call_id: str) -> LogLine:
        return self.gateway.wait_for("call.ended", 10, call_id=call_id)


@dataclass
class Person:
    """Somebody who has called, by hand, and is heard."""

    desk: Desk
    caller: Caller
    phone: Phone
    answered: Message
    call_id: str

    def refer(self, status: int = 405) -> dict[str, Any]:
        """The application transfers this call, and its telephone says this to REFER; returns what
        the application is told."""
        with ThreadPoolExecutor(1) as clerk:
            told = clerk.submit(self.desk.api.refer, self.call_id, self.desk.target)
            self.caller.answer(self.caller.wait("REFER", 0), status, "As it is")
            return told.result().body

    def is_echoed(self) -> None:
        """What it says comes back from an echo, soon and nearly whole. As anybody would who is not
        understood, it says it again: a busy machine does not always let it speak in time."""
        attempts: list[str] = []
        while len(attempts) < ATTEMPTS:
            since = len(self.phone.heard())
            said_at = time.time() + 50 * 0.02
            self.phone.say([SILENCE] * 50 + [TONE] * 25)
            time.sleep(50 * 0.02 + 25 * 0.02 + 2 * ROUND_TRIP_S)
            back = [one.at_s for one in self.phone.heard(since) if one.payload == TONE]
            delay_s = back[0] - said_at if back else 0
            print(f"{len(back)} of 25 frames came back, the first after {delay_s * 1000:.0f} ms")
            if len(back) > 20 and delay_s < ROUND_TRIP_S:
                return
            attempts.append(f"{len(back)} after {delay_s:.3f} s")
        raise AssertionError(f"of 25 frames came back: {attempts}")


@contextmanager
def person(desk: Desk, *headers: str) -> Iterator[Person]:
    """A call that has come in."""
    gateway = desk.gateway
    with Phone() as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        mark = gateway.mark()
        answered = caller.call(offer(phone.port), headers)
        phone.talk_to(answered.media)
        yield Person(
            desk,
            caller,
            phone,
            answered,
            gateway.wait_for("call.answered", since=mark)["call_id"],
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    need_sipp()
    ports = tuple(free_port() for _ in range(3))
    env = {
        "GATEWAY_CALLS_BRIDGE": "leave",
        "GATEWAY_CALLS_TRANSFER_TIMEOUT_S": "5",
        "GATEWAY_SIP_ACCEPT_REFER": "true",
        "GATEWAY_SIP_ACCEPT_REPLACES": "true",
        "GATEWAY_CALLS_TARGETS": ",".join(f"sip:*@{HOST}:{port}" for port in ports),
    }
    directory = tmp_path_factory.mktemp("bridge")
    with RealtimeThread(model) as realtime, GatewayProcess(realtime.url, env) as gateway:
        desk = Desk(gateway, directory, ports, gateway.footprint())
        with person(desk) as one, desk.callee():  # what is made once is there from here on
            assert one.refer() == {}
            gateway.wait_for("transfer.result", 10, call_id=one.call_id)
            one.caller.hang_up()
            desk.ended(one.call_id)
        desk.baseline = gateway.footprint()
        yield desk


def test_a_caller_whose_telephone_knows_no_refer_is_joined_to_the_target(desk: Desk) -> None:
    with person(desk) as one, desk.callee() as callee:
        assert one.refer() == {}
        told = desk.gateway.wait_for("transfer.result", 10, call_id=one.call_id)
        assert (told["result"], told["sip_status"], told["how"]) == ("transferred", 200, "bridge")
        assert desk.api.summary(one.call_id)["state"] == "bridged"
        one.is_echoed()
        one.caller.hang_up()
        record = desk.ended(one.call_id)
        result = callee.result()
    assert (record["reason"], record["transfer"], record["bridged"]) == (
        *("remote_bye", "transferred"),
        True,
    )
    assert (result.successful, result.failed) == (1, 0), str(result)


def test_a_target_that_hangs_up_ends_the_call(desk: Desk) -> None:
    with person(desk) as one, desk.callee(THEN="hangs_up", HOLD_MS="500") as callee:
        one.refer(501)
        one.caller.answer(one.caller.wait("BYE", 0))
        record = desk.ended(one.call_id)
        assert callee.result().successful == 1
    assert (record["reason"], record["bridged"]) == ("transferred", True)


@pytest.mark.parametrize(
    ("status", "result"), [(486, "busy"), (603, "declined"), (480, "no_answer")]
)
def test_a_target_that_refuses_gives_the_caller_back(desk: Desk, status: int, result: str) -> None:
    with person(desk) as one, desk.callee("refusing", STATUS=str(status)) as callee:
        assert one.refer() == {}  # our call was on its way
        told = desk.gateway.wait_for("transfer.result", 10, call_id=one.call_id)
        assert (told["result"], told["sip_status"], told["how"]) == (result, status, "bridge")
        assert desk.api.summary(one.call_id)["state"] == "active"
        assert desk.api.hears_and_is_heard(one.call_id)
        one.caller.hang_up()
        record = desk.ended(one.call_id)
        assert callee.result().failed == 0
    assert (record["reason"], record["transfer"], record["bridged"]) == (
        *("remote_bye", result),
        False,
    )


def test_a_call_is_joined_to_another_one(desk: Desk) -> None:
    with person(desk) as one, desk.callee() as callee:
        other_id = desk.api.call(desk.target)
        desk.gateway.wait_for("call.answered", 10, call_id=other_id)
        with ThreadPoolExecutor(1) as clerk:
            told = clerk.submit(desk.api.refer_into, one.call_id, other_id)
            refer = one.caller.wait("REFER", 0)
            target = refer.header("refer-to")
            assert f"callee@{HOST}:{desk.ports[0]}" in target and "?Replaces=" in target
            one.caller.answer(refer, 405, "Method Not Allowed")
            assert told.result().status == 200
        assert desk.ended(other_id)["reason"] == "transferred"
        one.is_echoed()
        one.caller.hang_up()
        assert desk.ended(one.call_id)["reason"] == "remote_bye"
        assert callee.result().successful == 1


def test_one_telephone_is_sent_into_a_call_with_another(desk: Desk, tmp_path: Path) -> None:
    """They talk to each other, without us; both calls tell so."""
    need_baresip()
    gateway, api = desk.gateway, desk.api
    speaking, silent = tmp_path / "speaking.wav", tmp_path / "silent.wav"
    words = spoken("I was told that you can help me.", tmp_path)
    write_wav(speaking, np.tile(words, 12))
    write_wav(silent, silence(40))
    kind: dict[str, Any] = {"transport": "udp", "codec": "PCMU"}
    mark = gateway.mark()
    with (
        Baresip(tmp_path / "b", **kind, microphone=silent, port=desk.ports[1]) as second,
        Baresip(
            tmp_path / "a",
            **kind,
            microphone=speaking,
            dial=f"sip:agent@{HOST}:{gateway.sip_port}",
        ) as first,
    ):
        call_id = gateway.wait_for("call.answered", 10, mark)["call_id"]
        other_id = api.call(second.uri)
        gateway.wait_for("call.answered", 10, call_id=other_id)
        assert api.refer_into(call_id, other_id).status == 200
        told = gateway.wait_for("transfer.result", 15, call_id=call_id)
        assert (told["result"], told["how"]) == ("transferred", "replaces")
        for one in (call_id, other_id):
            assert desk.ended(one)["reason"] == "transferred"
        heard = second.sound_s
        assert eventually(lambda: second.sound_s > heard + 2, 15)
        first.stop()
        second.stop()


def test_what_is_said_in_a_bridge_is_heard_as_it_was_said(desk: Desk, tmp_path: Path) -> None:
    """A real telephone in A-law at one end, one by hand in mu-law at the other."""
    need_baresip()
    gateway, api = desk.gateway, desk.api
    microphone = tmp_path / "speaking.wav"
    words = spoken("Nine of ten lighthouses are painted white.", tmp_path)
    write_wav(microphone, np.concatenate([np.concatenate((words, silence(1)))] * 10))
    with (
        person(desk) as one,
        Baresip(
            tmp_path / "b",
            transport="udp",
            codec="PCMA",
            microphone=microphone,
            port=desk.ports[1],
        ) as phone,
    ):
        with ThreadPoolExecutor(1) as clerk:
            told = clerk.submit(api.refer, one.call_id, phone.uri)
            one.caller.answer(one.caller.wait("REFER", 0), 405, "Method Not Allowed")
            assert told.result().status == 200
        gateway.wait_for("transfer.result", 10, call_id=one.call_id)
        since = len(one.phone.heard())
        assert eventually(lambda: len(one.phone.heard(since)) > 500, 20)
        one.caller.hang_up()
        desk.ended(one.call_id)
        payloads = b"".join(packet.payload for packet in one.phone.heard(since))
        heard = g711.decode(payloads, "pcmu") / 32768
    start, end = max(voiced(words), key=lambda span: span[1] - span[0])
    part = words[int(start * RATE_HZ) : int(end * RATE_HZ)]
    likely, _ = likeness(part, heard)
    print(f"speech of {end - start:.1f} s through the bridge: likeness {likely:.3f}")
    assert likely > 0.9


def test_the_other_side_has_the_call_passed_on(desk: Desk) -> None:
    with person(desk) as one, desk.callee() as callee:
        caller = one.caller
        caller.cseq += 1
        caller.wire.send(caller.request("REFER", headers=[f"Refer-To: <{desk.target}>"]))
        assert caller.final("REFER").status == 202
        heard: list[str] = []
        while "200" not in "".join(heard):
            notify = caller.wait("NOTIFY", 0, timeout_s=10)
            heard.append(notify.body.strip())
            caller.answer(notify)
        assert heard[0].startswith("SIP/2.0 100") and heard[-1].startswith("SIP/2.0 200")
        caller.answer(caller.wait("BYE", 0))
        desk.gateway.wait_for("call.referred", 10, call_id=one.call_id, result="transferred")
        # The agent speaks on with whoever that is.
        assert desk.api.summary(one.call_id)["state"] == "active"
        assert desk.api.hears_and_is_heard(one.call_id)
        desk.api.hang_up(one.call_id)
        assert desk.ended(one.call_id)["reason"] == "hangup"
        assert callee.result().successful == 1


def test_nobody_is_called_for_others_whom_the_operator_does_not_name(desk: Desk) -> None:
    with person(desk) as one:
        caller = one.caller
        for target in ("tel:+19005551234", f"sip:x@{HOST}:{free_port()}"):
            caller.cseq += 1
            caller.wire.send(caller.request("REFER", headers=[f"Refer-To: <{target}>"]))
            assert caller.final("REFER").status == 603
        assert desk.api.hears_and_is_heard(one.call_id)
        caller.hang_up()
        desk.ended(one.call_id)


def test_a_caller_takes_the_place_of_another_one(desk: Desk) -> None:
    gateway = desk.gateway
    with (
        person(desk) as one,
        Phone() as phone,
        Caller(UdpWire(gateway.sip), gateway.sip) as second,
    ):
        ours = one.answered.to_tag
        theirs = one.answered.header("from").rpartition("tag=")[2]
        named = f"{one.caller.call_id};to-tag={ours};from-tag={theirs}"
        answered = second.call(offer(phone.port), [f"Replaces: {named}", "Require: replaces"])
        phone.talk_to(answered.media)
        one.caller.answer(one.caller.wait("BYE", 0))
        gateway.wait_for("call.replaced", 10, call_id=one.call_id)
        assert desk.api.summary(one.call_id)["state"] == "active"
        before = len(phone.heard())
        assert desk.api.hears_and_is_heard(one.call_id)
        assert len(phone.heard(before)) > 5
        with Caller(UdpWire(gateway.sip), gateway.sip) as late:  # that one has gone
            late.invite(offer(phone.port), [f"Replaces: {named}"])
            final = late.final()
            assert final.status in (481, 603)
            late.ack(final)
        second.hang_up()
        assert desk.ended(one.call_id)["reason"] == "remote_bye"


def test_nothing_is_left_of_any_call(desk: Desk) -> None:
    desk.gateway.wait_for_footprint(desk.baseline, 10, "sip_transactions", "sip_dialogs")
    desk.gateway.check()
