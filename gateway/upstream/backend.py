"""The Realtime server: dials it, and opens sessions with it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from secrets import token_hex
from time import time
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs

from gateway.audio.formats import AudioFormat
from gateway.realtime.session import Session, with_formats
from gateway.upstream.errors import BackendError
from gateway.upstream.session import RealtimeSession
from gateway.upstream.socket import CLOSE_TIMEOUT_S, MAX_MESSAGE_BYTES, BackendSocket
from gateway.upstream.target import BackendConfig, target_of

_LONGEST_WAIT_S = 86_400.0


class Backend:
    """Opens sessions with the configured Realtime server. Use as an async context."""

    def __init__(self, config: BackendConfig) -> None:
        self.config = config
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            ws_response_class=BackendSocket,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def open(self, session: Session, leg_format: AudioFormat) -> RealtimeSession:
        """Connect and configure a session for a leg that speaks `leg_format`.

        Each direction of its audio has the one format that the server is known for, else that which
        `session` names, else the leg's. What the server confirms counts in the end.

        Raises:
            BackendError: see there.
        """
        config = self.config
        if config.only_model:
            session = session | {"model": config.default_model}
        asked = with_formats(session, leg_format, config.input_format, config.output_format)
        async with self.reaching():
            # The session looks at pings itself.
            connection = await self.dial(str(session.get("model") or ""), autoping=False)
            connection.take_over()
            opened = RealtimeSession(connection, config)
            try:
                await opened.configure(asked)
            except BaseException:
                await opened.close()
                raise
            return opened

    async def dial(
        self,
        model: str | None,
        *,
        intent: str = "",
        headers: Mapping[str, str] | None = None,
        autoping: bool = True,
        heartbeat_s: float | None = None,
    ) -> BackendSocket:
        """Connect, and nothing more.

        Args:
            model: goes into the URL; the default model when it is None or empty.
            intent: goes into the URL as `intent=` where the model would stand in its query.
            headers: more of them; ours and the key are added here.
            autoping: whether pings are answered by whoever reads.
            heartbeat_s: how often the server is pinged; None leaves that to the caller.

        Raises:
            BackendError: see there.
        """
        if self._client is None:
            raise RuntimeError("Backend is used outside of its context")
        target = target_of(
            self.config, model, session_id=token_hex(16), intent=intent, headers=headers
        )
        async with self.reaching():
            connection = await self._client.ws_connect(
                target.url,
                headers=target.headers,
                protocols=target.protocols,
                decode_text=False,
                max_msg_size=MAX_MESSAGE_BYTES,
                autoping=autoping,
                heartbeat=heartbeat_s,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )
        if not isinstance(connection, BackendSocket):
            raise RuntimeError("the WebSocket is not of the class that was asked for")
        return connection

    @asynccontextmanager
    async def reaching(self) -> AsyncIterator[None]:
        """Have what is done inside be done in time, and have it fail as BackendError."""
        try:
            async with asyncio.timeout(self.config.connect_timeout_s):
                yield
        except aiohttp.WSServerHandshakeError as error:
            retry_after = error.headers.get(hdrs.RETRY_AFTER) if error.headers else None
            raise BackendError(
                f"handshake answered {error.status}",
                status=error.status,
                retry_after=retry_after,
                retry_after_s=_seconds(retry_after, time()),
            ) from None
        except TimeoutError:
            raise BackendError(f"no answer in {self.config.connect_timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # The text of an OSError names host and port; that of a client error may name the URL.
            detail = error.strerror if isinstance(error, OSError) else None
            raise BackendError(f"{type(error).__name__}: {detail or 'no connection'}") from None


def _seconds(retry_after: str | None, now: float) -> float | None:
    """How long a Retry-After asks to wait: seconds, or an HTTP date (RFC 9110 section 10.2.3).

    None when it says nothing that can be read; never more than a day.
    """
    text = (retry_after or "").strip()
    try:
        if text.isascii() and text.isdigit():
            wait_s = float(text)
        else:
            at = parsedate_to_datetime(text)
            wait_s = at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now
    except ValueError:
        return None
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)
