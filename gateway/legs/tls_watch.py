"""Certificates of ours, kept fresh: their files are looked at, and what comes of it is logged."""

import asyncio
from typing import Final

from structlog.typing import FilteringBoundLogger

from gateway.legs.tls import TlsContexts, TlsFiles

LOOK_AGAIN_S: Final = 60.0


class TlsWatch:
    """The TLS of one server, SIP's or the web's.

    Args:
        of: `sip` or `http`; the events of the log are named by it.

    Raises:
        OSError: a file cannot be used.
    """

    def __init__(self, of: str, files: TlsFiles, log: FilteringBoundLogger) -> None:
        self._of = of
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._next_look: asyncio.TimerHandle | None = None
        self.contexts = TlsContexts(files)

    def start(self) -> None:
        """Look at the files from now on."""
        self._look_later()

    def renew(self) -> None:
        """Read the files again now, for the connections to come."""
        self._look(force=True)

    def close(self) -> None:
        """Look no more."""
        if self._next_look is not None:
            self._next_look.cancel()

    def _look_later(self) -> None:
        self._next_look = self._loop.call_later(LOOK_AGAIN_S, self._look)

    def _look(self, *, force: bool = False) -> None:
        try:
            if self.contexts.refresh(self._tell_unusable, force=force):
                self._log.info(f"{self._of}.certificate_renewed")
        finally:
            self.close()
            self._look_later()

    def _tell_unusable(self, error: OSError) -> None:
        self._log.error(f"{self._of}.certificate_unusable", why=error.strerror or str(error))
