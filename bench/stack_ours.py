"""Our SIP alone: every call is answered at once, and there is no media and no session behind it.

`python -m bench.stack_ours PORT`
"""

import asyncio
import secrets
import sys

import uvloop

from bench.yardsticks.buffers import widen_buffers
from gateway import collector
from gateway.sip.agent import SipAgent
from gateway.sip.config import SipConfig
from gateway.sip.events import IncomingCall
from gateway.sip.message import Address

ANSWER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 9 RTP/AVP 0\r\n"
)


class Answering(asyncio.DatagramProtocol):
    """The shell of the agent, and an application that says yes."""

    def __init__(self, port: int) -> None:
        self._agent = SipAgent(
            SipConfig(host="127.0.0.1", udp_port=port), token=lambda: secrets.token_hex(8)
        )
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._agent.receive(data, Address(*addr, "udp"), self._loop.time())
        self._drain()

    def _timeout(self) -> None:
        self._armed_for = None
        self._agent.timeout(self._loop.time())
        self._drain()

    def _drain(self) -> None:
        agent = self._agent
        for event in agent.events():
            if isinstance(event, IncomingCall):
                agent.ring(event.dialog_id, self._loop.time())
                agent.accept(event.dialog_id, ANSWER, self._loop.time())
        for outgoing in agent.datagrams_to_send():
            self._transport.sendto(outgoing.data, (outgoing.to.host, outgoing.to.port))  # type: ignore[attr-defined]
        when = agent.next_timeout()
        if when is not None and (self._armed_for is None or when < self._armed_for):
            if self._timer is not None:
                self._timer.cancel()
            self._armed_for = when
            self._timer = self._loop.call_at(when, self._timeout)


async def main() -> None:
    port = int(sys.argv[1])
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Answering(port), ("127.0.0.1", port))
    widen_buffers()
    collector.settle()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
