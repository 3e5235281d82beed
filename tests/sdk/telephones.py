"""Telephones that are not ours, as callers of a site: SIPp and baresip."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.audio import Signal, silence, write_wav
from tests.peers.baresip import Baresip
from tests.peers.gateway import HOST, free_range
from tests.peers.sipp import Sipp
from tests.sdk.site import Site


def baresip(site: Site, directory: Path, words: Signal | None = None) -> Baresip:
    """A softphone that calls at once; it is silent, or says these words. Use as a context manager.

    Args:
        directory: for its files; it is made.
    """
    directory.mkdir()
    microphone = directory / "microphone.wav"
    write_wav(microphone, silence(60) if words is None else words)
    return Baresip(
        directory / "phone",
        transport="udp",
        codec="PCMU",
        microphone=microphone,
        dial=f"sip:agent@{HOST}:{site.gateway.sip_port}",
    )


@contextmanager
def sipp(
    site: Site | None, scenario: str, directory: Path, *options: str, **fill: str
) -> Iterator[Sipp]:
    """A SIPp that calls, or waits to be called when there is no site.

    Leaving it waits for the end of the call, which must have gone as the scenario says.
    """
    gateway = None if site is None else site.gateway.sip
    port = free_range(4)
    with Sipp(
        scenario, gateway, directory, media_port=port, timeout_s=25, options=options, fill=fill
    ) as run:
        yield run
        result = run.result()
        assert (result.status, result.successful, result.failed) == (0, 1, 0), str(result)


REFERRED = {"THEN": "reports", "ANSWER": "202", "OUTCOME": "200", "FIRST": "takes"}
"""A caller that goes where it is referred to; `FIRST="waits"` is one that waits for a BYE."""
