"""ICE on loopback: our candidates, and how a way to a peer is found, kept, and changed."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aioice import stun

from gateway.webrtc.config import PeerConfig, PeerCounters
from gateway.webrtc.ice import MAX_PAIRS, MAX_REFLEXIVE, IceConnection
from gateway.webrtc.servers import TurnServer as Server
from tests.webrtc.parties import both_loops, bound, until
from tests.webrtc.remotes import (
    MAPPED,
    Address,
    Remote,
    StunServer,
    TcpTurnServer,
    TurnServer,
    described,
)

pytestmark = pytest.mark.loop

HOST = "127.0.0.1"
MESSAGE = bytes(stun.Message(stun.Method.BINDING, stun.Class.INDICATION))


@dataclass
class Bench:
    """One connection, and the others."""

    counters: PeerCounters = field(default_factory=PeerCounters)
    lost: list[bool] = field(default_factory=list)
    media: list[bytes] = field(default_factory=list)
    dtls: list[bytes] = field(default_factory=list)
    parties: list[Remote | StunServer | TurnServer] = field(default_factory=list)
    ice: IceConnection = field(init=False)
    finding: asyncio.Task[None] | None = None

    async def open(self, *hosts: str, config: PeerConfig | None = None) -> None:
        self.ice = IceConnection(
            config or PeerConfig(),
            self.counters,
            media=self.media.append,
            dtls=self.dtls.append,
            lost=lambda: self.lost.append(True),
        )
        await self.ice.gather(bound(*hosts))

    async def remote(self, host: str = HOST) -> Remote:
        remote = Remote()
        await remote.listen(bound(host)[0])
        self.parties.append(remote)
        return remote

    async def server(self, server: StunServer | TurnServer) -> Address:
        await server.listen(bound(HOST)[0])
        self.parties.append(server)
        return server.address

    def find(self, *named: Remote, lite: bool = False) -> None:
        self.finding = asyncio.create_task(self.ice.establish(described(*named, lite=lite)))

    def check(self, remote: Remote, *, nominate: bool = False, priority: int | None = 5) -> None:
        ours = self.ice.local_candidates[0]
        remote.check(
            (ours.host, ours.port),
            self.ice.local_username,
            self.ice.local_password,
            nominate=nominate,
            priority=priority,
        )

    @property
    def way(self) -> Address | None:
        return None if self.ice._way is None else self.ice._way[1]

    def told(self) -> list[tuple[str, str, int]]:
        return [(one.type, one.host, one.port) for one in self.ice.local_candidates]

    async def close(self) -> None:
        if self.finding is not None:
            self.finding.cancel()
            await asyncio.wait([self.finding])
        await self.ice.close()
        for party in self.parties:
            party.close() if isinstance(party, TurnServer) else party.transport.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


# Candidates of ours.


async def test_each_socket_is_a_candidate_the_first_liked_best(bench: Bench) -> None:
    await bench.open(HOST, "127.0.0.2", "::1")
    assert [host for _, host, _ in bench.told()] == [HOST, "127.0.0.2", "::1"]
    priorities = [one.priority for one in bench.ice.local_candidates]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == len({one.foundation for one in bench.ice.local_candidates}) == 3


async def test_an_advertised_address_stands_for_those_of_its_kind(bench: Bench) -> None:
    server = await bench.server(silent := StunServer())
    config = PeerConfig(advertised_host="198.51.100.9", stun=server)
    await bench.open("0.0.0.0", HOST, config=config)
    port = bench.ice.local_candidates[0].port
    assert bench.told()[0] == ("host", "198.51.100.9", port)
    assert bench.told()[1][1] == HOST  # whoever gets there is on this machine
    assert not silent.seen  # it is told already


async def test_a_stun_server_tells_where_others_see_us(bench: Bench) -> None:
    server = await bench.server(StunServer())
    await bench.open(HOST, "::1", config=PeerConfig(stun=server))
    assert ("srflx", *MAPPED) in bench.told()
    found = bench.ice.local_candidates[-1]
    base = bench.ice.local_candidates[0]
    assert (found.related_address, found.related_port) == (base.host, base.port)
    assert bench.counters.silent_servers == 0


async def test_only_the_socket_that_faces_a_stun_server_asks(bench: Bench) -> None:
    address = await bench.server(server := StunServer())
    await bench.open("127.0.0.9", HOST, config=PeerConfig(stun=address))
    assert len(server.seen) == 1
    assert bench.ice.local_candidates[-1].related_address == HOST


@pytest.mark.parametrize("stun_too", [True, False])
async def test_servers_that_do_not_answer_are_not_waited_for(bench: Bench, stun_too: bool) -> None:
    deaf = StunServer()
    deaf.mute = True
    host, port = await bench.server(deaf)
    turn = Server(host, port, "udp", False, "u", "p")
    config = PeerConfig(stun=(host, port) if stun_too else None, turn=turn, gather_s=0.05)
    await bench.open(HOST, config=config)
    assert [kind for kind, _, _ in bench.told()] == ["host"]
    assert bench.counters.silent_servers == (2 if stun_too else 1)


async def test_servers_are_looked_up_as_whoever_has_the_peer_says(bench: Bench) -> None:
    asked: list[str] = []

    async def resolve(host: str) -> str:
        asked.append(host)
        return HOST

    _, stun_port = await bench.server(StunServer())
    _, turn_port = await bench.server(turn := TurnServer(HOST))
    config = PeerConfig(
        stun=("stun.invalid", stun_port),
        turn=Server("turn.invalid", turn_port, "udp", False, turn.USER, turn.PASSWORD),
        resolve=resolve,
    )
    await bench.open(HOST, config=config)
    assert sorted(asked) == ["stun.invalid", "turn.invalid"]
    assert sorted(kind for kind, _, _ in bench.told()) == ["host", "relay", "srflx"]
    assert bench.counters.silent_servers == 0


async def test_a_server_with_a_certificate_keeps_its_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: list[object] = []

    async def connect(*_: object, host: str, **__: object) -> None:
        hosts.append(host)
        raise OSError

    async def resolve(host: str) -> str:
        raise AssertionError(host)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect, raising=False)
    turn = Server("turn.invalid", 5349, "tcp", True, "u", "p")
    await bench.open(HOST, config=PeerConfig(turn=turn, resolve=resolve))
    assert hosts == ["turn.invalid"]
    assert bench.counters.silent_servers == 1


async def test_a_server_without_an_address_is_no_reason_to_fail(bench: Bench) -> None:
    await bench.open(HOST, config=PeerConfig(stun=("nobody.invalid", 3478), gather_s=0.2))
    assert bench.counters.silent_servers == 1


@both_loops
async def test_a_socket_that_the_loop_opens_after_the_end_is_closed(bench: Bench) -> None:
    await bench.open()
    (sock,) = bound(HOST)
    opening = asyncio.create_task(bench.ice.gather([sock]))
    await asyncio.sleep(0)  # it is asked for, and no more
    await bench.ice.close()
    with pytest.raises(ConnectionError):
        await opening
    await until(lambda: sock.fileno() == -1)


# The way.


@pytest.mark.parametrize("host", [HOST, "::1"])
async def test_the_peer_nominates_and_its_other_traffic_gets_through(
    bench: Bench, host: str
) -> None:
    await bench.open(host)
    remote, stranger = await bench.remote(host), await bench.remote(host)
    bench.find(remote)
    await until(lambda: remote.seen)
    assert bench.way is None
    bench.check(remote, nominate=True)
    assert bench.finding is not None
    await asyncio.wait_for(bench.finding, 5)
    assert bench.way == remote.address
    ours = bench.told()[0][1:]
    for party in (stranger, remote):
        for first in (20, 63, 128, 191, 19, 64, 192):
            party.transport.sendto(bytes([first]) + bytes(20), ours)
    await until(lambda: bench.counters.dropped_other == 6)
    assert [data[0] for data in bench.dtls] == [20, 63]
    assert [data[0] for data in bench.media] == [128, 191]
    assert bench.counters.dropped_source == 4


async def test_the_peer_moves_to_a_pair_that_did_not_answer_before(bench: Bench) -> None:
    """A check was under way when the other was nominated; aioice would never start it again."""
    await bench.open(HOST)
    first, second = await bench.remote(), await bench.remote()
    second.mute = True
    bench.find(first, second)
    await until(lambda: second.seen)
    bench.check(first, nominate=True)
    assert bench.finding is not None
    await asyncio.wait_for(bench.finding, 5)
    assert bench.way == first.address
    second.mute = False
    bench.check(second, nominate=True)
    await until(lambda: bench.way == second.address)


async def test_a_check_that_was_lost_is_made_anew_when_the_peer_checks_us(bench: Bench) -> None:
    """A NAT lets nothing in before something went out; ours is not sent again for half a second."""
    await bench.open(HOST)
    remote = await bench.remote()
    remote.mute = True
    bench.find(remote)
    await until(lambda: remote.seen)
    remote.mute = False
    bench.check(remote, nominate=True)
    assert bench.finding is not None
    await asyncio.wait_for(bench.finding, 5)
    assert bench.way == remote.address
    first, second = remote.seen[:2]
    assert first.transaction_id != second.transaction_id


async def test_a_peer_that_only_answers_is_nominated_by_us(bench: Bench) -> None:
    await bench.open(HOST)
    remote = await bench.remote()
    bench.find(remote, lite=True)
    assert bench.finding is not None
    await asyncio.wait_for(bench.finding, 5)
    assert bench.way == remote.address
    assert ["USE-CANDIDATE" in one.attributes for one in remote.seen] == [False, True]
    assert all("ICE-CONTROLLING" in one.attributes for one in remote.seen)


async def test_a_peer_that_claims_either_role_is_not_argued_with(bench: Bench) -> None:
    await bench.open(HOST)
    remote = await bench.remote()
    remote.refusals = 1_000_000
    bench.find(remote)
    await until(lambda: bench.ice._check_list)
    (pair,) = bench.ice._check_list
    await until(lambda: pair.state.name == "FAILED")
    assert len(remote.seen) == 4
    bench.check(remote)  # which has a check of ours follow, as always, and no more than one
    await until(lambda: len(remote.seen) == 6)
    await until(lambda: pair.state.name == "FAILED")
    await asyncio.sleep(0.05)
    assert len(remote.seen) == 6
    remote.refusals = 0
    bench.check(remote, nominate=True)
    await until(lambda: bench.way == remote.address)


async def test_a_conflict_of_roles_is_settled(bench: Bench) -> None:
    await bench.open(HOST)
    remote = await bench.remote()
    remote.refusals = 1
    bench.find(remote)
    await until(lambda: bench.way == remote.address)  # we control now, and so nominate
    roles = [
        next(name for name in one.attributes if name.startswith("ICE-")) for one in remote.seen
    ]
    assert roles == ["ICE-CONTROLLED", "ICE-CONTROLLING"]


async def test_a_defect_is_told_from_garbage_and_reported_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(context["exception"])
    )
    defect = AssertionError("a packet that nobody thought of")

    def fail(*_: object) -> None:
        raise defect

    await bench.open(HOST)
    remote = await bench.remote()
    bench.find()
    monkeypatch.setattr(bench.ice, "check_incoming", fail)
    await asyncio.sleep(0)  # until that is what handles checks
    remote.transport.sendto(b"\x00 garbage", bench.told()[0][1:])
    for _ in range(3):
        bench.check(remote)
    await until(lambda: bench.counters.dropped_stun == 4)
    assert reported == [defect]


async def test_who_has_not_read_our_description_is_not_answered(bench: Bench) -> None:
    await bench.open(HOST)
    remote = await bench.remote()
    bench.find()
    ours = bench.told()[0][1:]
    remote.check(ours, bench.ice.local_username, "x" * 22)
    remote.check(ours, "somebody", bench.ice.local_password)
    bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    remote.transport.sendto(bytes(bare), ours)
    bench.check(remote, priority=None)  # answered, because it can be, and then no use
    await until(lambda: bench.counters.dropped_stun == 4)
    assert [one.message_class for one in remote.seen] == [stun.Class.RESPONSE]


async def test_checks_from_ever_new_places_are_not_all_answered_with_checks(bench: Bench) -> None:
    await bench.open(HOST)
    bench.find()
    remotes = [await bench.remote() for _ in range(MAX_REFLEXIVE + 9)]
    for remote in remotes:
        bench.check(remote)
    await until(lambda: bench.counters.dropped_stun == 9)
    await until(
        lambda: sum(len(one.seen) > 1 for one in remotes) == MAX_REFLEXIVE
    )  # more than the response


async def test_each_place_of_a_peer_is_tried_once_before_any_is_tried_twice(bench: Bench) -> None:
    await bench.open(HOST, "127.0.0.2", "127.0.0.3")
    remotes = [await bench.remote() for _ in range(MAX_PAIRS - 2)]
    bench.find(*remotes)
    await until(lambda: all(one.seen for one in remotes))
    pairs = bench.ice._check_list
    assert len(pairs) == MAX_PAIRS
    assert {pair.remote_addr for pair in pairs} == {one.address for one in remotes}


async def test_consent_is_asked_for_where_we_send(bench: Bench) -> None:
    config = PeerConfig(consent_interval_s=0.01, consent_s=0.5)
    await bench.open(HOST, config=config)
    remote = await bench.remote()
    bench.find(remote)
    bench.check(remote, nominate=True)
    await until(lambda: len(remote.seen) > 8)
    assert not bench.lost
    remote.mute = True
    await until(lambda: bench.lost)
    await asyncio.sleep(0.05)
    assert bench.lost == [True]


async def test_nothing_goes_on_when_it_is_closed_just_as_a_way_is_found(bench: Bench) -> None:
    before = asyncio.all_tasks()
    await bench.open(HOST)
    remote = await bench.remote()
    bench.find(remote)
    await until(lambda: remote.seen)
    bench.check(remote, nominate=True)
    while bench.way is None:  # noqa: ASYNC110 - until the very moment
        await asyncio.sleep(0)
    await bench.ice.close()
    await until(lambda: asyncio.all_tasks() == before)


# Through a relay.


async def _relayed(bench: Bench, server: TurnServer, transport: str = "udp") -> Remote:
    """A peer that wants to be reached through a server."""
    host, port = await bench.server(server)
    turn = Server(host, port, transport, False, server.USER, server.PASSWORD)
    await bench.open(HOST, config=PeerConfig(turn=turn))
    (relayed,) = (one for one in bench.ice.local_candidates if one.type == "relay")
    remote = await bench.remote()
    bench.find(remote)
    await until(lambda: server.bound)
    remote.check(
        (relayed.host, relayed.port),
        bench.ice.local_username,
        bench.ice.local_password,
        nominate=True,
    )
    await until(lambda: bench.ice._way and bench.ice._way[0].local_candidate is relayed)
    bench.ice.send_now(MESSAGE)
    await until(lambda: remote.seen[-1].message_class is stun.Class.INDICATION)
    remote.transport.sendto(b"\x80" + bytes(20), (relayed.host, relayed.port))
    await until(lambda: bench.media)
    return remote


async def test_a_relay_of_a_server_is_a_way(bench: Bench) -> None:
    server = TurnServer(HOST)
    await _relayed(bench, server)
    await bench.ice.close()
    assert server.released


async def test_a_server_that_does_not_release_a_relay_is_not_waited_for(bench: Bench) -> None:
    before = asyncio.all_tasks()
    await _relayed(bench, TurnServer(HOST, keeps=True))
    assert asyncio.all_tasks() != before
    async with asyncio.timeout(5):
        await bench.ice.close()
    await until(lambda: asyncio.all_tasks() == before)


async def test_few_packets_wait_for_a_server_to_be_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stun, "RETRY_RTO", 0.02)
    server = TurnServer(HOST)
    await _relayed(bench, server)
    other = await bench.remote()
    assert bench.ice._way is not None
    relay, _ = bench.ice._way
    server.mute = True  # it prepares no channel to the other
    for _ in range(200):
        relay.send(MESSAGE, other.address)
        await asyncio.sleep(0)
    assert bench.counters.dropped_sending == 200 - 64
    server.mute = False
    await until(lambda: len(other.seen) == 64)
    relay.send(MESSAGE, other.address)
    await until(lambda: len(other.seen) == 65)
    assert bench.counters.dropped_sending == 200 - 64


async def test_little_waits_for_a_server_that_does_not_read(bench: Bench) -> None:
    server = TcpTurnServer(HOST)
    remote = await _relayed(bench, server, "tcp")
    assert bench.ice._way is not None
    relay, _ = bench.ice._way
    stream = vars(relay.transport)["_TurnTransport__inner_protocol"].transport
    stream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = cast(Any, server.transport)
    client.pause_reading()
    for _ in range(9000):  # over 10 MB, where the system takes a few
        bench.ice.send_now(bytes(1200))
        await asyncio.sleep(0)
        if bench.counters.dropped_sending >= 100:
            break
    assert 65_536 < stream.get_write_buffer_size() < 2 * 65_536
    remote.mute = True
    remote.seen.clear()
    client.resume_reading()
    await until(lambda: stream.get_write_buffer_size() == 0)
    bench.ice.send_now(MESSAGE)
    await until(lambda: remote.seen)
