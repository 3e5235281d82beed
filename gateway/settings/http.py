"""Settings of the HTTP server."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from gateway.settings import values
from gateway.settings.errors import SettingsError
from gateway.settings.values import PORT, PREFIX, Group, Meaning, Port, is_loopback


class HttpSettings(Group):
    http_host: Annotated[str, Meaning("address of the HTTP server", "a host")] = "127.0.0.1"
    http_port: Annotated[
        Port, Meaning("port of the HTTP server: softphone, API, health, metrics", PORT)
    ] = 8080
    http_tls_cert: Annotated[str, Meaning("certificate file: serve https", "a file")] = ""
    http_tls_key: Annotated[str, Meaning("its key file", "a file")] = ""
    api_keys: Annotated[
        str,
        AfterValidator(values.keys),
        Meaning(
            "bearer keys of the HTTP API; empty: programs of this machine need none, which only "
            "goes while GATEWAY_HTTP_HOST is loopback",
            "keys, comma-separated",
            secret=True,
        ),
    ] = ""

    @property
    def http_is_loopback(self) -> bool:
        return is_loopback(self.http_host)


def check(settings: HttpSettings) -> None:
    """Raises SettingsError: two settings contradict each other."""
    if bool(settings.http_tls_cert) != bool(settings.http_tls_key):
        missing = "KEY" if settings.http_tls_cert else "CERT"
        raise SettingsError(
            f"GATEWAY_HTTP_TLS_{missing} holds nothing; it may hold a file, because "
            "certificate and key are only of use together"
        )
    for name in ("http_tls_cert", "http_tls_key"):
        if (path := getattr(settings, name)) and not Path(path).is_file():
            raise SettingsError(f"{PREFIX}{name.upper()} holds {path!r}; it may hold a file")
    if not settings.api_keys and not settings.http_is_loopback:
        raise SettingsError(
            "GATEWAY_API_KEYS holds nothing; it may hold keys, comma-separated, and must when "
            f"GATEWAY_HTTP_HOST is not loopback ({settings.http_host!r})"
        )
