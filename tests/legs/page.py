"""A browser's side of SIP over WebSocket: sends text, keeps what comes."""

import asyncio
import contextlib
import itertools
import re
import ssl
from typing import Any

import aiohttp

from tests.legs.office import HOST, header
from tests.legs.test_sip_leg import sdp

_names = itertools.count(1)


class Page:
    """One WebSocket.

    Args:
        binary: whether it sends bytes instead of text.
    """

    def __init__(self, session: aiohttp.ClientSession, socket: Any, *, binary: bool) -> None:
        self.socket = socket
        self.heard: list[str] = []
        self._session = session
        self._binary = binary
        self._name = f"page{next(_names)}"
        self._reader: asyncio.Task[None] | None = None
        self._more = asyncio.Event()

    @classmethod
    async def open(
        cls,
        port: int,
        *,
        trust: ssl.SSLContext | None = None,
        binary: bool = False,
        listen: bool = True,
        **options: Any,
    ) -> "Page":
        """Connect to an endpoint, to a secure one if `trust` says whom to believe.

        Raises:
            aiohttp.WSServerHandshakeError: it was refused.
        """
        session = aiohttp.ClientSession()
        scheme = "ws" if trust is None else "wss"
        try:
            socket = await session.ws_connect(
                f"{scheme}://{HOST}:{port}/",
                **{"protocols": ("sip",), "ssl": trust or True, "autoping": True} | options,
            )
        except BaseException:
            await session.close()
            raise
        page = cls(session, socket, binary=binary)
        if listen:
            page._reader = asyncio.get_running_loop().create_task(page._listen())
        return page

    async def close(self) -> None:
        """Go as a page does that is left."""
        await self.socket.close()
        await self._end()

    async def vanish(self) -> None:
        """Go without a word."""
        if (transport := self.socket._response.connection.transport) is not None:
            transport.abort()
        await self._end()

    @property
    def close_code(self) -> int | None:
        code: int | None = self.socket.close_code
        return code

    async def ended(self) -> None:
        """Wait until the other side has closed."""
        assert self._reader is not None
        async with asyncio.timeout(3):
            await self._reader

    async def send(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        if self._binary:
            await self.socket.send_bytes(data)
        else:
            await self.socket.send_str(data.decode())

    async def until(self, start: str) -> str:
        """The first message that begins so, once it is there; it is not found again."""
        async with asyncio.timeout(3):
            while True:
                for at, text in enumerate(self.heard):
                    if text.startswith(start):
                        return self.heard.pop(at)
                self._more.clear()
                await self._more.wait()

    def invite(self, body: bytes | None = None) -> str:
        """A call, as browsers write it: with a host that nobody can resolve, and no length."""
        body = sdp() if body is None else body
        lines = self._lines("INVITE", "sip:agent@gateway.example", "<sip:agent@gateway.example>", 1)
        return "\r\n".join([*lines, "Content-Type: application/sdp", "", body.decode()])

    def options(self, padding: int = 0) -> str:
        """Outside of any dialog; the body has `padding` bytes."""
        lines = self._lines(
            "OPTIONS", "sip:agent@gateway.example", "<sip:agent@gateway.example>", 7
        )
        return "\r\n".join([*lines, f"Content-Length: {padding}", "", "x" * padding])

    def within(self, method: str, of: str, number: int, *lines: str, body: str = "") -> str:
        """A request inside the dialog that a response to our INVITE has made."""
        target = header(of, "Contact").strip("<>")
        head = self._lines(method, target, header(of, "To"), number)
        return "\r\n".join([*head, *lines, f"Content-Length: {len(body)}", "", body])

    def answer(self, request: str, status: int) -> str:
        copied = [
            line for line in request.split("\r\n") if re.match("(Via|From|To|Call-ID|CSeq):", line)
        ]
        return "\r\n".join([f"SIP/2.0 {status} Text", *copied, "Content-Length: 0", "", ""])

    async def call(self) -> str:
        """Call; the 180."""
        await self.send(self.invite())
        await self.until("SIP/2.0 100")
        return await self.until("SIP/2.0 180")

    async def acknowledge(self) -> str:
        """Wait for the 200 and acknowledge it; the 200."""
        ok = await self.until("SIP/2.0 200")
        await self.send(self.within("ACK", ok, 1))
        return ok

    def _lines(self, method: str, uri: str, to: str, number: int) -> list[str]:
        host = f"{self._name}.invalid"
        return [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/WS {host};branch=z9hG4bK{self._name}{method}{number}",
            "Max-Forwards: 69",
            f"From: <sip:page@gateway.example>;tag={self._name}",
            f"To: {to}",
            f"Call-ID: {self._name}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:page@{host};transport=ws;ob>",
        ]

    async def _listen(self) -> None:
        async for message in self.socket:
            assert message.type is aiohttp.WSMsgType.TEXT, "what everybody understands"
            self.heard.append(message.data)
            self._more.set()

    async def _end(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._session.close()
