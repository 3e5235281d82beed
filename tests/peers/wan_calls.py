"""Calls by hand across a network that loses packets, and what their callers must see and hear.

Each is a function of a `Place`. It returns how its calls have to end at the gateway, or else it
raises. What is heard is counted by RTP sequence numbers: what the network lost is missing, and
nothing else may be.
"""

import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import numpy as np

from gateway.audio import g711
from tests.peers.audio import Signal
from tests.peers.calls_api import CallsApi
from tests.peers.fake_realtime import FakeConnection
from tests.peers.gateway import GatewayProcess, eventually
from tests.peers.line import RealtimeThread
from tests.peers.media import FRAME_BYTES, SILENCE, Packet, Phone, frames
from tests.peers.patient import PATIENCE_S, PatientCaller, PatientWire
from tests.peers.speech import found, monologue
from tests.peers.test_srtp import SealedPhone
from tests.peers.wan import Host, Link
from tests.peers.wire import Caller, TcpWire, UdpWire, offer

AnyPhone = TypeVar("AnyPhone", bound=Phone)
Reasons = Counter[str]

CALLS = 3
"""Of each kind."""
CROSSINGS = 12
SHOUTED = 3
USER, PASSWORD = "alice", "s3cret"
RINGS_S = 3.0
"""So long the guarded gateway waits for its model."""
GREETING_S = 5
_GREETING = random.Random("greeting").randbytes(3 * GREETING_S * 8000).translate(None, b"\xff\x7f")
GREETING = _GREETING[: GREETING_S * 8000]
SHOUTS = [bytes((0x10 + 4 * number,)) * FRAME_BYTES for number in range(CALLS)]
"""Frames of one byte each, by which callers interrupt: loud, and none that concealment makes."""
_SHOUT = re.compile(b"|".join(SHOUTS))
PLACES = {frame: number for number, frame in enumerate(frames(GREETING))}
"""Each of its frames, by what is in it."""


@dataclass
class Place:
    """Who is at both ends of a network, and what it does."""

    near: Host
    link: Link
    open: GatewayProcess
    """For everybody; speaks TLS as well, as `certificate` says."""
    guarded: GatewayProcess
    """For who has the password; plays an announcement while it rings."""
    certificate: Path
    realtime: RealtimeThread
    ports: list[int]
    """Of callers to whom others may be sent."""
    interrupted: dict[bytes, int] = field(default_factory=dict)
    """By the frame that a caller interrupted with: how much of the voice was heard, in ms."""

    async def script(self, session: FakeConnection, _: int) -> None:
        """The model: it greets, and stops when a caller says a frame of one byte."""
        await session.expect("response.create", PATIENCE_S)
        name = f"{id(session)}"
        await session.speak(f"item_{name}", f"resp_{name}", GREETING)
        shouts: list[bytes] = []
        looked = 0

        def shouted() -> bool:
            nonlocal looked
            if not shouts and (match := _SHOUT.search(session.audio, looked)):
                shouts.append(match[0])
            looked = max(0, len(session.audio) - FRAME_BYTES)
            return bool(shouts)

        if await session.until(shouted, 2 * PATIENCE_S):
            await session.speech_started()
            truncated = await session.expect("conversation.item.truncate", PATIENCE_S)
            self.interrupted[shouts[0]] = truncated["audio_end_ms"]

    def phone(self, make: Callable[[str], AnyPhone]) -> AnyPhone:
        return self.near.run(lambda: make(self.near.address))

    def caller(self, gateway: GatewayProcess, port: int = 0) -> PatientCaller:
        def make() -> PatientCaller:
            wire = PatientWire(UdpWire(gateway.sip, self.near.address, port))
            return PatientCaller(wire, gateway.sip)

        return self.near.run(make)

    def tls_caller(self) -> Caller:
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False  # it is of a host that is not called so here
        port = int(self.open.env["GATEWAY_SIP_TLS_PORT"])
        gateway = self.open.host, port
        return self.near.run(lambda: Caller(TcpWire(gateway, PATIENCE_S, context), gateway))

    def sdp(self, phone: Phone, formats: str = "0 101") -> str:
        return offer(phone.port, formats, host=self.near.address)

    @contextmanager
    def call(self) -> Iterator[tuple[Phone, list[Packet]]]:
        """One that is up; what comes from its 200 on is heard, and hung up at the end."""
        with self.phone(Phone) as phone, self.caller(self.open) as caller:
            caller.invite(self.sdp(phone))
            final = caller.final()
            before = len(phone.packets)
            assert final.status == 200, final.start
            caller.ack(final)
            phone.talk_to(final.media)
            heard: list[Packet] = []
            yield phone, heard
            heard += phone.heard(before)
            caller.hang_up()


def _by_place(packets: list[Packet]) -> dict[int, bytes]:
    """Payloads in the order in which they were sent, where frame 0 of the greeting is at 0. All of
    its frames are in their places then, and besides them there is silence."""
    at: dict[int, bytes] = {}
    for packet in packets:
        ahead = (packet.sequence - packets[0].sequence + 0x8000 & 0xFFFF) - 0x8000
        at[ahead] = packet.payload
    begins = {place - PLACES[payload] for place, payload in at.items() if payload in PLACES}
    assert len(begins) == 1, f"the greeting is torn apart: {sorted(begins)}"
    begin = begins.pop()
    assert set(at.values()) <= {*PLACES, SILENCE}
    return {place - begin: payload for place, payload in sorted(at.items())}


def _assert_heard(packets: list[Packet], place: Place) -> None:
    """All of the greeting but what the network may have lost, and no pause in it."""
    at = _by_place(packets)
    there = [number for number in range(len(PLACES)) if number in at]
    assert all(at[number] in PLACES for number in there), "a pause"
    # So many are lost by chance in none of a million calls.
    may_be_lost = 2 * len(PLACES) * place.link.loss + 10 if place.link.loss else 0
    lost = len(PLACES) - len(there)
    assert lost <= may_be_lost, f"{lost} frames missing; heard: {there[:3]} to {there[-3:]}"
    assert any(number > len(PLACES) for number in at), "not heard to the end"


def _begins(phone: Phone) -> bool:
    return any(packet.payload in PLACES for packet in phone.heard())


def _ends(phone: Phone) -> bool:
    """The greeting has begun, and is over for ten frames."""
    latest = {packet.payload for packet in phone.heard()[-10:]}
    return latest == {SILENCE} and _begins(phone)


def _several(one: Callable[[int], str], calls: int = CALLS) -> Reasons:
    """At the same time; each says how it is to end at the gateway."""
    with ThreadPoolExecutor(calls) as pool:
        return Counter(pool.map(one, range(calls)))


def greeting_is_heard_whole(place: Place) -> Reasons:
    """From its first word on, also by who is told late that the call is answered."""

    def one(_: int) -> str:
        with place.call() as (phone, heard):
            assert eventually(lambda: _ends(phone), PATIENCE_S)
        _assert_heard(heard, place)
        return "remote_bye"

    return _several(one)


def barge_in(place: Place) -> Reasons:
    """The voice stops for good, and the model is told which frame was the last."""

    def one(number: int) -> str:
        shout = SHOUTS[number]
        with place.call() as (phone, heard):
            assert eventually(lambda: _begins(phone), PATIENCE_S)
            time.sleep(random.Random(number).uniform(0.2, 1.5))
            for _ in range(SHOUTED):  # like anybody who is not listened to
                phone.say([shout] * 10)
                if eventually(lambda: shout in place.interrupted, 1):
                    break
            assert shout in place.interrupted, f"by {[one[:1] for one in place.interrupted]}"
            assert eventually(lambda: _ends(phone), PATIENCE_S)
        at = _by_place(heard)
        last = max(number for number, payload in at.items() if payload in PLACES)
        silent = min(number for number in at if number > last)
        assert last < len(PLACES) - 10, "nobody was interrupted"
        assert all(at[number] in PLACES for number in at if 0 <= number <= last), "a pause"
        # Between those two, frames were lost that may have been the last ones of the voice.
        frames_heard = place.interrupted[shout] / 20
        assert last <= frames_heard <= silent + 1, f"{frames_heard}, not {last + 1} to {silent}"
        return "remote_bye"

    return _several(one)


def tls_with_srtp(place: Place) -> Reasons:
    """Signalling over TLS, keys in SDP, both sides heard."""

    def one(number: int) -> str:
        words = frames(random.Random(number).randbytes(50 * FRAME_BYTES))
        sealed = place.phone(lambda host: SealedPhone("AES_CM_128_HMAC_SHA1_80", host))
        with sealed as phone, place.tls_caller() as caller:
            caller.invite(phone.offer(phone.crypto(number), host=place.near.address))
            final = caller.final(timeout_s=PATIENCE_S)
            assert final.status == 200 and final.sdp("m=audio ")[0].split()[1] == "RTP/SAVP"
            phone.take(final)
            caller.ack(final)
            phone.talk_to(final.media)
            phone.say(words)
            assert eventually(lambda: _ends(phone), PATIENCE_S)
            _assert_heard(phone.heard(), place)
            assert phone.unreadable == 0
            sessions = place.realtime.server.connections
            most = max(sum(word in one.audio for word in words) for one in sessions)
            # On the other way a jitter buffer gives up what is late.
            assert most >= len(words) * 0.6, f"{most} of ours"
            caller.bye()
            assert caller.final("BYE", timeout_s=PATIENCE_S).status == 200
        return "remote_bye"

    return _several(one)


def early_media(place: Place) -> Reasons:
    """An announcement is heard before the call is answered. The 183 for it arrives for certain
    (RFC 3262), and the caller also has to prove who it is."""
    announcement = monologue()

    def one(_: int) -> str:
        with place.phone(Phone) as phone, place.caller(place.guarded) as caller:
            caller.invite_as(USER, PASSWORD, place.sdp(phone), "Require: 100rel")
            progress = caller.wait("INVITE", 183)
            phone.talk_to(progress.media)
            caller.prack(progress)
            final = caller.final()
            early = phone.heard()
            assert final.status == 200, final.start
            caller.ack(final)
            caller.hang_up()
        likeness = found(announcement, _signal(early))
        assert likeness > 0.8, f"{likeness:.2f} in {len(early)} packets"
        return "remote_bye"

    return _several(one)


def cancel_and_answer_cross(place: Place) -> Reasons:
    """Who is answered after all hangs up; no call is both, or neither."""
    chance = random.Random(1)
    delays_s = [chance.uniform(0, 0.3) for _ in range(CROSSINGS)]

    def one(number: int) -> str:
        with place.caller(place.open) as caller:
            caller.invite(offer(16_000 + 2 * number, host=place.near.address))
            final = caller.wait("INVITE", 100, 180, 183, 200)
            if final.status < 200:
                time.sleep(delays_s[number])
                caller.cancel()
                final = caller.final()
                assert caller.final("CANCEL").status in (200, 481)
            caller.ack(final)
            if final.status == 200:
                caller.hang_up()
                return "remote_bye"
            assert final.status == 487, final.start
            time.sleep(1.0)  # a 487 whose ACK was lost comes again
            return "cancelled"

    return _several(one, CROSSINGS)


def attended_transfer(place: Place) -> Reasons:
    """Both callers are up; one is sent into the call of the other, with nothing but messages that
    may be lost, and both are let go."""
    api = CallsApi(place.open)

    def one(number: int) -> str:
        with (
            place.phone(Phone) as phone,
            place.phone(Phone) as other_phone,
            place.caller(place.open) as caller,
            place.caller(place.open, place.ports[number]) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            for who, has in ((caller, phone), (other, other_phone)):
                who.invite(place.sdp(has))
                final = who.final()
                assert final.status == 200, final.start
                who.ack(final)
                has.talk_to(final.media)
            ids = {one["sip_call_id"]: one["id"] for one in api.calls()}
            for who in (caller, other):
                api.until(ids[who.call_id], "active", PATIENCE_S)
            asked = pool.submit(api.refer_into, ids[caller.call_id], ids[other.call_id])
            refer = caller.wait("REFER", 0)
            caller.answer(refer, 202, "Accepted")
            assert asked.result(PATIENCE_S).status == 200
            target = refer.header("refer-to")
            assert f"Replaces={quote(other.call_id)}%3B" in target and "caller@" in target, target
            caller.tell(refer, "active;expires=60", "100 Trying")
            other.hang_up()  # the telephones speak with each other now
            caller.tell(refer, "terminated;reason=noresource", "200 OK")
            caller.answer(caller.wait("BYE", 0))
            assert api.summary(ids[caller.call_id])["transfer"]["result"] == "transferred"
        return "transferred"

    return _several(one) + Counter(transferred=CALLS)  # the other call counts as transferred too


def _signal(packets: list[Packet]) -> Signal:
    """What they say, in their order, silence for those that are missing."""
    base = packets[0].sequence
    at = {(one.sequence - base + 0x8000 & 0xFFFF) - 0x8000: one.payload for one in packets}
    law = b"".join(at.get(number, SILENCE) for number in range(min(at), max(at) + 1))
    signal: Signal = g711.decode(law, "pcmu").astype(np.float64) / 32768
    return signal


HEARD: dict[str, Callable[[Place], Reasons]] = {
    "greeting heard whole": greeting_is_heard_whole,
    "barge-in": barge_in,
    "TLS with SRTP": tls_with_srtp,
    "early media": early_media,
}
UNHEARD: dict[str, Callable[[Place], Reasons]] = {
    "CANCEL and answer cross": cancel_and_answer_cross,
    "attended transfer": attended_transfer,
}
