"""Which web pages are this machine's own."""

import pytest

from gateway.origin import is_local_host, is_page_of, loopback_origin

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("http://localhost", "http://localhost"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("http://app.localhost:3000", "http://app.localhost:3000"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("HTTP://LOCALHOST/path", "http://localhost"),
        ("http://example.com", None),
        ("http://localhost.example.com", None),
        ("http://notlocalhost", None),
        ("http://192.0.2.1", None),
        ("http://127.0.0.1.example.com", None),
        ("http://127.0.0.1@example.com", None),
        ("file://localhost", None),
        ("null", None),
        ("", None),
        ("http://[", None),
        ("http://localhost:99999", None),
    ],
)
def test_origins(origin: str, own: str | None) -> None:
    assert loopback_origin(origin) == own


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        (None, True),
        ("", True),
        ("localhost:5066", True),
        ("line.localhost", True),
        ("127.0.0.1", True),
        ("192.0.2.1:80", True),
        ("[2001:db8::1]:80", True),
        ("example.com", False),
        ("example.com:5066", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("[", False),
        ("a b", False),
    ],
)
def test_hosts(host: str | None, is_local: bool) -> None:
    assert is_local_host(host) is is_local


@pytest.mark.parametrize(
    ("host", "origin", "own"),
    [
        ("phone.example.org:5066", "https://phone.example.org", True),
        ("phone.example.org", "http://phone.example.org:8080", True),
        ("[2001:db8::1]:5066", "https://[2001:db8::1]", True),
        ("phone.example.org:5066", "https://example.org", False),
        ("phone.example.org:5066", "https://evil.example", False),
        ("127.0.0.1:5066", "https://evil.example", False),
        ("phone.example.org", "null", False),
        (None, "https://phone.example.org", False),
        ("", "", False),
    ],
)
def test_pages_of_a_host(host: str | None, origin: str, own: bool) -> None:
    assert is_page_of(host, origin) is own
