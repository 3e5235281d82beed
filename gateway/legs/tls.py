"""Who we are over TLS, and whom we believe: certificates in files, of SIP or of the web server.

The files are looked at again now and then, and when somebody asks for it, so that a certificate can
be renewed while calls go on. New connections use the new one; a file that cannot be used leaves
everything as it was.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths; "" where there is none."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    """Whoever connects to us must show a certificate of one of these authorities."""
    trust: str = ""
    """The authorities that whoever we connect to is believed by; "" for those of the system."""


class TlsContexts:
    """The two sides of TLS, made of files.

    Raises:
        OSError: a file cannot be read, or is none of its kind; the text says which one.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._stamps()
        self.client = _client(files)
        self.server = _server(files, files.client_ca) if files.certificate else None
        """Of those who connect to us; None without a certificate."""
        self.web = _server(files, "") if files.certificate else None
        """Of browsers, which have no certificates of their own. It stays the same object."""

    def refresh(self, tell: Callable[[OSError], None], *, force: bool = False) -> bool:
        """Read the files again if they have changed, or `force`; returns whether they were.

        `tell` is handed what is wrong with them.
        """
        seen = self._stamps()
        if seen == self._seen and not force:
            return False
        self._seen = seen
        try:
            client = _client(self._files)
            server = _server(self._files, self._files.client_ca) if self.server else None
            if self.web is not None:
                _load(self.web, self._files)  # fails if a file has changed just now
        except OSError as error:
            tell(error)
            return False
        self.client, self.server = client, server
        return True

    def _stamps(self) -> tuple[float, ...]:
        names = (self._files.certificate, self._files.key, self._files.client_ca, self._files.trust)
        return tuple(_changed_at(Path(name)) for name in names if name)


def _client(files: TlsFiles) -> ssl.SSLContext:
    """Of connections that we open: the other side has to prove its name."""
    context = _believing(ssl.Purpose.SERVER_AUTH, files.trust)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, files)
    return context


def _server(files: TlsFiles, client_ca: str) -> ssl.SSLContext:
    """Of connections that others open."""
    context = _believing(ssl.Purpose.CLIENT_AUTH, client_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
    _load(context, files)
    return context


def _believing(purpose: ssl.Purpose, authorities: str) -> ssl.SSLContext:
    """What believes the authorities in a file, or with "" those of the system.

    Raises:
        OSError: the file is of no use.
    """
    try:
        return ssl.create_default_context(purpose, cafile=authorities or None)
    except ssl.SSLError:
        raise OSError(f"no certificate of an authority can be read from {authorities}") from None
    except OSError as error:
        raise OSError(f"{authorities}: {error.strerror or error}") from None


def ends_at(certificate: str) -> float:
    """When the certificate in a file runs out, as a Unix time; nan if that cannot be told."""
    try:
        ours, *_ = load_pem_x509_certificates(Path(certificate).read_bytes())
    except (OSError, ValueError):
        return nan
    return ours.not_valid_after_utc.timestamp()


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Prove who we are by these files.

    Raises:
        OSError: they are of no use. A key with a passphrase is none: OpenSSL would ask for it on
            the terminal, and whatever else the process does would wait.
    """

    def passphrase() -> str:
        raise OSError(f"the key in {key} has a passphrase")

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        raise OSError(_fault(certificate, key, error)) from None
    except OSError as error:
        # The system does not say which of the two it could not open.
        raise OSError(_unreadable(certificate) or _unreadable(key) or str(error)) from None


def _fault(certificate: str, key: str, error: ssl.SSLError) -> str:
    """What OpenSSL, which names no file, finds wrong with these two."""
    reason: str | None = getattr(error, "reason", None)  # OpenSSL's name for it, if it has one
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key} does not fit the certificate in {certificate}"
    try:
        load_pem_x509_certificates(Path(certificate).read_bytes())
    except (OSError, ValueError):
        return f"no certificate can be read from {certificate}"
    if reason in (None, "PEM_LIB"):
        return f"no key can be read from {key}"
    return f"{certificate} with {key}: {reason.replace('_', ' ').lower()}"


def _unreadable(name: str) -> str:
    """Why a file cannot be read; "" if it can."""
    try:
        Path(name).read_bytes()
    except OSError as error:
        return f"{name}: {error.strerror or error}"
    return ""


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.certificate:
        _load_chain(context, files.certificate, files.key)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
