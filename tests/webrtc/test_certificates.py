"""The certificate that all peers of a process show."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.webrtc.certificates import Certificates, fingerprint

pytestmark = pytest.mark.pure


def test_it_is_made_once() -> None:
    certificates = Certificates()
    first = certificates.current()
    assert certificates.current() is first
    assert first.expires - datetime.now(UTC) > timedelta(days=29)


@pytest.mark.parametrize(("hours_left", "renewed"), [(25, False), (23, True), (-1, True)])
def test_it_is_renewed_before_it_expires(hours_left: int, renewed: bool) -> None:
    certificates = Certificates()
    old: Any = SimpleNamespace(expires=datetime.now(UTC) + timedelta(hours=hours_left))
    certificates._current = old
    assert (certificates.current() is not old) == renewed


def test_its_fingerprint_is_one_that_every_peer_knows() -> None:
    told = fingerprint(Certificates().current())
    assert told.algorithm == "sha-256"
    assert re.fullmatch(r"[0-9A-F]{2}(:[0-9A-F]{2}){31}", told.value)
