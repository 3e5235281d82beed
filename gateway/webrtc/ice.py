"""ICE (RFC 8445): a way to the peer, on sockets that we bound.

aioice does the checks. It would bind sockets itself, and leaves five things open that are closed
here: who may send what is no STUN (`IceSocket`); what becomes of garbage, and of checks by somebody
who has not read our description, which are counted and not answered; how much is sent to addresses
that a caller names and where nobody answers; how often a peer may refuse a check because the role
that we name is its own; and how long a peer is waited for that named no address.
"""

import asyncio
import ipaddress
import random
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from aioice import Candidate, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol, relayed_candidate
from aioice.utils import random_string

from gateway.sdp import webrtc as sdp
from gateway.webrtc.candidates import usable
from gateway.webrtc.config import PeerConfig, PeerCounters
from gateway.webrtc.ice_socket import Address, HearsSockets, IceSocket, fits
from gateway.webrtc.servers import TurnServer

MAX_PAIRS: Final = 16
"""Pairs of an address of ours with one that the peer named. An innocent one that a caller names
gets no more than 16 checks, each sent 5 times, and as often again if its address is forged."""
MAX_REFLEXIVE: Final = 16
"""Addresses that checks came from and that the peer had not named. A NAT may show it at another for
each address of ours; a caller that forges its source has any number."""
_MAX_CONFLICTS: Final = 4
"""Refusals of one pair's check over who controls. One settles it between two that mean well, and
an even number leaves us in the role that we had."""
_RECEIVE_BUFFER_BYTES: Final = 262_144
"""Holds a large message that arrives at once, while other calls are served."""
_RELEASE_S: Final = 0.5
"""How long a TURN server may take to release what we had of it."""
_COMPONENT: Final = 1  # RTP, and RTCP on the same port


class IceConnection(HearsSockets):
    """The way to one peer.

    Args:
        media: is handed each SRTP and SRTCP packet of the peer, in the datagram's own callback.
        dtls: is handed each DTLS datagram of the peer.
        lost: is called when the peer has been gone from the way for too long.
    """

    def __init__(
        self,
        config: PeerConfig,
        counters: PeerCounters,
        *,
        media: Callable[[bytes], None],
        dtls: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> None:
        # The offerer controls (RFC 8445 section 6.1.1). aioice's names of four letters have a bit
        # less than the randomness that section 5.3 asks for.
        super().__init__(ice_controlling=False, local_username=random_string(8))
        self._config = config
        self.counters = counters
        self.media, self.dtls = media, dtls
        self._lost = lost
        self._defective = False
        self._conflicts: Counter[CandidatePair] = Counter()
        self._queries: list[asyncio.Task[None]] = []
        self._way: tuple[IceSocket, Address] | None = None
        self._checked_again: set[CandidatePair] = set()

    # Candidates of ours.

    async def gather(self, sockets: Sequence[socket.socket]) -> None:
        """Take over the sockets, and ask the servers where else we can be reached.

        Raises:
            ConnectionError: it was closed meanwhile, and the sockets with it.
        """
        waiting = deque(sockets)
        try:
            while waiting:
                self._check_open()
                await self._open(waiting.popleft())
            self._check_open()
            await self._ask_servers()
            self._check_open()
        finally:
            for sock in waiting:
                sock.close()
        self._local_candidates_end = True

    def defect(self, error: Exception) -> None:
        """Once: whoever found a packet that does it would fill the log."""
        if not self._defective:
            self._defective = True
            told = {"message": "A defect in the checks of ICE", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)

    def _check_open(self) -> None:
        if self._closing:
            raise ConnectionError("closed while candidates were gathered")

    def opened(self, ours: IceSocket) -> None:
        """A socket is ours to close; with uvloop even if whoever opened it was cancelled."""
        if self._closing:
            ours.transport.close()
        else:
            self._protocols.append(ours)

    async def _open(self, sock: socket.socket) -> None:
        ours = IceSocket(self, sock)
        host, port = sock.getsockname()[:2]
        ours.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", host),
            component=_COMPONENT,
            transport="udp",
            # The first address is liked best (RFC 8445 section 5.1.2.1).
            priority=candidate_priority(_COMPONENT, "host", 0xFFFF - len(self._protocols)),
            host=self._told(host),
            port=port,
            type="host",
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: ours, sock=sock)
        except OSError:
            sock.close()
            raise
        self._tell(ours.local_candidate)

    def _told(self, host: str) -> str:
        advertised = self._config.advertised_host
        if not advertised or (":" in advertised) != (":" in host):
            return host
        return host if ipaddress.ip_address(host).is_loopback else advertised

    def _tell(self, candidate: Candidate) -> None:
        """Redundant ones are left out (RFC 8445 section 5.1.3)."""
        if all((c.host, c.port) != (candidate.host, candidate.port) for c in self.local_candidates):
            self._local_candidates.append(candidate)

    async def _ask_servers(self) -> None:
        if self._config.stun is not None and not self._config.advertised_host:
            self._queries.append(asyncio.create_task(self._ask_stun(self._config.stun)))
        if self._config.turn is not None:
            self._queries.append(asyncio.create_task(self._ask_turn(self._config.turn)))
        if not self._queries:
            return
        try:
            await asyncio.wait(self._queries, timeout=self._config.gather_s)
        finally:
            await self._end_queries()
        for query in self._queries:
            if query.cancelled() or query.exception() is not None:
                self.counters.silent_servers += 1

    async def _end_queries(self) -> None:
        for query in self._queries:
            query.cancel()
        if self._queries:
            await asyncio.wait(self._queries)

    async def _ask_stun(self, server: tuple[str, int]) -> None:
        """Learn where others see us; in IPv4, because nobody translates the other."""
        address = (await self._config.resolve(server[0]), server[1])
        ours = self._facing(address)
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        response, _ = await ours.request(request, address)
        host, port = response.attributes["XOR-MAPPED-ADDRESS"]
        base = ours.local_candidate
        self._tell(
            Candidate(
                foundation=candidate_foundation("srflx", "udp", base.host),
                component=_COMPONENT,
                transport="udp",
                priority=candidate_priority(_COMPONENT, "srflx"),
                host=host,
                port=port,
                type="srflx",
                related_address=base.host,
                related_port=base.port,
            )
        )

    def _facing(self, server: Address) -> IceSocket:
        """The socket at the address that this host has towards a server.

        Only that one asks: the server often cannot be reached from the others, and each call would
        wait for their answers.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(server)  # sends nothing
            host = probe.getsockname()[0]
        for ours in self._protocols:
            if isinstance(ours, IceSocket) and ours.bound and ours.bound[0] == host:
                return ours
        raise OSError("no socket of ours faces the server")

    async def _ask_turn(self, server: TurnServer) -> None:
        # A certificate is for the name, so that is looked up by whoever opens TLS.
        host = server.host if server.tls else await self._config.resolve(server.host)
        candidate, _ = await relayed_candidate(
            component=_COMPONENT,
            hide_related_address=False,
            protocol_factory=lambda: IceSocket(self),
            turn_server=(host, server.port),
            turn_username=server.username,
            turn_password=server.credential,
            turn_ssl=server.tls,
            turn_transport=server.transport,
        )
        self._tell(candidate)

    # The way.

    async def establish(self, remote: sdp.Transport) -> None:
        """Return when a way to the peer is found, which may be never: it may yet check us.

        Raises:
            ConnectionError: it was closed.
        """
        self.remote_is_lite = remote.ice_lite
        self.ice_controlling = remote.ice_lite  # one of the two has to
        self.remote_username = remote.ufrag
        self.remote_password = remote.pwd
        for candidate in self._usable(remote):
            await self.add_remote_candidate(
                Candidate(
                    foundation=candidate.foundation,
                    component=candidate.component,
                    transport=candidate.protocol,
                    priority=candidate.priority,
                    host=candidate.host,
                    port=candidate.port,
                    type=candidate.type,
                )
            )
        self._form_pairs()
        await super().connect()
        # It has cancelled the checks that still ran, and would never start one of those again: the
        # peer could not move to a pair that turns out better.
        for pair in self._check_list:
            if pair.task is not None:
                pair.task = None
                self.check_state(pair, CandidatePair.State.FAILED)

    def _usable(self, remote: sdp.Transport) -> tuple[sdp.Candidate, ...]:
        bound = [one.bound for one in self._protocols if isinstance(one, IceSocket) and one.bound]
        chosen = usable(
            remote.candidates,
            local=[host for host, _ in bound],
            advertised=self._config.advertised_host,
            allow=self._config.allow,
            own=[*bound, *((one.host, one.port) for one in self.local_candidates)],
        )
        self.counters.ignored_candidates += len(remote.candidates) - len(chosen)
        return chosen

    def send_now(self, data: bytes) -> None:
        """Send to the peer; nothing while there is no way."""
        if self._way is not None:
            ours, address = self._way
            ours.send(data, address)

    async def close(self) -> None:
        self._closing = True
        self._way = None
        await self._end_queries()
        relayed = [one for one in self._protocols if isinstance(one, IceSocket) and not one.bound]
        try:
            async with asyncio.timeout(_RELEASE_S):
                await super().close()
        except TimeoutError:
            self._protocols.clear()
            for ours in relayed:
                ours.abandon()
        # Pairs know their sockets, which know this, and whom we tell knows us: no circle remains.
        for pairs in (self._check_list, self._nominated, self._conflicts, self._checked_again):
            pairs.clear()
        self.media = self.dtls = self._lost = _unheard

    def _form_pairs(self) -> None:
        """Each candidate of the peer gets an address of ours before any gets a second one."""
        for rank in range(len(self._protocols)):
            for remote in self._remote_candidates:
                fitting = [ours for ours in self._protocols if fits(ours, remote)]
                if rank < len(fitting) and len(self._check_list) < MAX_PAIRS:
                    self._check_list.append(CandidatePair(fitting[rank], remote))

    # What aioice calls.

    def _pair_remote_candidate(self, remote_candidate: Candidate) -> None:
        """All are paired together, by `_form_pairs`: aioice would pair them without a bound."""

    async def check_start(self, pair: CandidatePair) -> None:
        """Check a pair. When the peer answers that our role is its own, aioice takes the other role
        and calls this again from within."""
        if pair.state is CandidatePair.State.IN_PROGRESS:
            self._conflicts[pair] += 1
            if self._conflicts[pair] >= _MAX_CONFLICTS:
                self.check_state(pair, CandidatePair.State.FAILED)
                self.check_complete(pair)
                return
        await super().check_start(pair)

    def check_complete(self, pair: CandidatePair) -> None:
        super().check_complete(pair)
        ours = pair.protocol
        if isinstance(ours, IceSocket) and pair.state is CandidatePair.State.SUCCEEDED:
            ours.sources.add(pair.remote_addr)
            if pair is self._nominated.get(_COMPONENT):
                self._way = ours, pair.remote_addr

    def check_incoming(self, message: stun.Message, addr: Address, protocol: StunProtocol) -> None:
        """A check by the peer: it may be at an address that it did not name."""
        named = any((c.host, c.port) == addr for c in self._remote_candidates)
        reflexive = sum(c.type == "prflx" for c in self._remote_candidates)
        if "PRIORITY" not in message.attributes or not (named or reflexive < MAX_REFLEXIVE):
            self.counters.dropped_stun += 1
            return
        if isinstance(protocol, IceSocket):
            # Nobody else could have signed it. Who opens DTLS does so when we have answered, which
            # is before our own check is.
            protocol.sources.add(addr)
        own = [one for one in self._check_list if one.protocol is protocol]
        under_way = [one for one in own if one.state is CandidatePair.State.IN_PROGRESS]
        super().check_incoming(message, addr, protocol)
        for pair in under_way:
            if pair.remote_addr == addr:
                self._check_again(pair)

    def _check_again(self, pair: CandidatePair) -> None:
        """Our check may have died at the peer's NAT, which the peer's own has opened since: it is
        made anew (RFC 8445 section 7.3.1.4), where aioice would only send it again after half a
        second. Once for each pair, because whoever forges its source can name any."""
        if pair.task is not None and pair not in self._checked_again:
            self._checked_again.add(pair)
            pair.task.cancel()
            pair.task = None
            self.check_state(pair, CandidatePair.State.WAITING)
            self.check_start_task(pair)

    def respond_error(
        self,
        request: stun.Message,
        addr: Address,
        protocol: StunProtocol,
        error_code: tuple[int, str],
    ) -> None:
        """Whoever has not read our description gets no answer, longer than the question."""
        if error_code[0] in (400, 401):
            self.counters.dropped_stun += 1
        else:
            super().respond_error(request, addr, protocol, error_code)

    def protocol_lost(self, protocol: StunProtocol) -> None:
        """A TURN server ended what it gave us, say; the checks of consent notice."""

    async def query_consent(self) -> None:
        """Ask the peer again and again whether it still wants what we send (RFC 7675)."""
        if self._closing:
            return  # it was closed just as a way was found, and nobody would end this
        try:
            while True:
                async with asyncio.timeout(self._config.consent_s):
                    await self._consent()
        except TimeoutError:
            self._lost()

    async def _consent(self) -> None:
        """Return when the peer answered."""
        while True:
            await asyncio.sleep(self._config.consent_interval_s * random.uniform(0.8, 1.2))
            if self._way is None or self.remote_password is None:
                continue
            ours, address = self._way
            request = self.build_request(self._nominated[_COMPONENT], nominate=False)
            try:
                # Sent again once, or an answer that takes over half a second came too late for it.
                await ours.request(
                    request, address, self.remote_password.encode(), retransmissions=1
                )
            except stun.TransactionError:
                continue
            return


def _unheard(*told: object) -> None:
    """Who is told when it is over."""
