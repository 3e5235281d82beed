"""Certificates of ours, kept fresh: their files are looked at, and what comes of it is logged."""

import asyncio
import time
from math import isnan, nan
from typing import Final

from structlog.typing import FilteringBoundLogger

from gateway.legs.tls import TlsContexts, TlsFiles, ends_at

LOOK_AGAIN_S: Final = 60.0
SOON_DAYS: Final = 14
"""A certificate that runs out within this is warned of."""
_DAY_S: Final = 86400


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
        self._certificate = files.certificate
        self._told_days: int | None = None
        self.contexts = TlsContexts(files)
        self.expires_at = self._end()
        """When our certificate runs out, as a Unix time; nan if there is none."""

    def start(self) -> None:
        """Look at the files from now on."""
        self._warn()
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
                self.expires_at, self._told_days = self._end(), None
            self._warn()
        finally:
            self.close()
            self._look_later()

    def _end(self) -> float:
        return ends_at(self._certificate) if self._certificate else nan

    def _warn(self) -> None:
        """Tell that our certificate has run out or soon will: once, and then every day."""
        if isnan(self.expires_at):
            return
        days = int((self.expires_at - time.time()) // _DAY_S)
        if days < SOON_DAYS and days != self._told_days:
            self._told_days = days
            self._log.warning(f"{self._of}.certificate_expires", days=days)

    def _tell_unusable(self, error: OSError) -> None:
        self._log.error(f"{self._of}.certificate_unusable", why=error.strerror or str(error))
