"""What operators hear of our certificates."""

import asyncio
from math import isnan
from pathlib import Path

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from gateway.legs.tls import TlsFiles
from gateway.legs.tls_watch import TlsWatch
from tests.sdk import authority

pytestmark = pytest.mark.loop


def told(folder: Path, days: float) -> list[tuple[str, int]]:
    """What is said at the start of a certificate that ends in so many days."""
    made = authority.make(folder, days=days)
    with capture_logs() as lines:
        watch = TlsWatch("sip", TlsFiles(str(made.certificate), str(made.key)), get_logger())
        watch.start()
        watch.close()
    return [(line["event"], line["days"]) for line in lines]


@pytest.mark.parametrize(("days", "left"), [(13.5, 13), (0.5, 0), (-0.5, -1), (-3.5, -4)])
async def test_a_certificate_that_runs_out_is_warned_of(
    tmp_path: Path, days: float, left: int
) -> None:
    assert told(tmp_path, days) == [("sip.certificate_expires", left)]


async def test_one_that_lasts_is_not(tmp_path: Path) -> None:
    assert told(tmp_path, 14.5) == []


async def test_it_is_warned_of_again_every_day_and_after_it_was_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.legs.tls_watch.LOOK_AGAIN_S", 0.001)
    made = authority.make(tmp_path, days=5.5)
    with capture_logs() as lines:
        watch = TlsWatch("http", TlsFiles(str(made.certificate), str(made.key)), get_logger())
        watch.start()
        await asyncio.sleep(0.05)
        assert [line["days"] for line in lines] == [5]
        watch.expires_at -= 86400  # a day passes
        await asyncio.sleep(0.05)
        assert [line["days"] for line in lines] == [5, 4]
        lines.clear()
        watch.renew()
        assert [line.get("days") for line in lines] == [None, 5]
        watch.close()


async def test_who_has_no_certificate_is_not_warned() -> None:
    with capture_logs() as lines:
        watch = TlsWatch("sip", TlsFiles(), get_logger())
        watch.start()
        watch.close()
    assert lines == [] and isnan(watch.expires_at)
