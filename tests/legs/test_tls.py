"""The two sides of TLS as they are made of files, and made again."""

import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.legs.tls import TlsContexts, TlsFiles
from tests.sdk import authority

pytestmark = pytest.mark.pure


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    made = authority.make(tmp_path, "trunk.example")
    return TlsFiles(str(made.certificate), str(made.key), "", str(made.authority))


def lock(path: Path) -> None:
    """Have the key in a file need a passphrase."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(pem, form, locked))
    os.utime(path, (1, 1))


def test_nobody_is_asked_for_a_passphrase(files: TlsFiles) -> None:
    """OpenSSL would ask on the terminal, and every call would wait for the answer."""
    contexts = TlsContexts(files)
    lock(Path(files.key))
    told: list[OSError] = []
    assert not contexts.refresh(told.append)
    assert [str(error) for error in told] == [f"the key in {files.key} has a passphrase"]
    with pytest.raises(OSError, match="has a passphrase"):
        TlsContexts(files)


@pytest.mark.parametrize("which", ["certificate", "key", "client_ca", "trust"])
@pytest.mark.parametrize("fault", ["garbage", "empty", "missing"])
def test_the_file_at_fault_is_named(files: TlsFiles, which: str, fault: str) -> None:
    path = Path(files.trust).with_name("wrong.pem")
    if fault != "missing":
        path.write_text("no PEM at all" if fault == "garbage" else "")
    wrong = replace(files, **{which: str(path)})
    with pytest.raises(OSError) as caught:
        TlsContexts(wrong)
    what = {"certificate": "certificate", "key": "key"}.get(which, "certificate of an authority")
    missing = f"{path}: No such file or directory"
    expected = missing if fault == "missing" else f"no {what} can be read from {path}"
    assert str(caught.value) == expected


def test_a_key_of_another_certificate_is_told_as_such(files: TlsFiles, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    other = authority.make(tmp_path / "next")
    with pytest.raises(OSError) as caught:
        TlsContexts(replace(files, key=str(other.key)))
    fit = f"the key in {other.key} does not fit the certificate in {files.certificate}"
    assert str(caught.value) == fit


def test_what_browsers_are_shown_is_changed_with_all_else_or_not_at_all(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may change between two looks at it."""
    contexts = TlsContexts(files)
    before = contexts.client, contexts.server, contexts.web
    load = ssl.SSLContext.load_cert_chain

    def changes(context: ssl.SSLContext, *args: str, **kwargs: object) -> None:
        if context is contexts.web:
            raise ssl.SSLError("key values mismatch")
        load(context, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", changes)
    told: list[OSError] = []
    assert not contexts.refresh(told.append, force=True)
    assert len(told) == 1
    assert (contexts.client, contexts.server, contexts.web) == before
    monkeypatch.undo()
    assert contexts.refresh(told.append, force=True)
    assert contexts.client is not before[0] and contexts.web is before[2]
