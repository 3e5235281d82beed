"""Transports as other programs see them: SIPp and linphone over IPv6, openssl at the door of TLS,
and certificates that are renewed while the gateway runs."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.peers.gateway import HOST, GatewayProcess, free_port
from tests.peers.sipp import need_sipp, run_sipp
from tests.sdk import authority

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]


def need_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_sipp_calls_over_ipv6(tmp_path: Path, transport: str) -> None:
    need_sipp()
    need_ipv6()
    audio = tmp_path / "audio.ulaw"
    audio.write_bytes(b"\xff" * 16_000)
    with GatewayProcess(host="::1") as gateway:
        mark = gateway.mark()
        result = run_sipp(
            "call",
            ("[::1]", gateway.sip_port),
            tmp_path,
            host="::1",
            transport=transport,
            calls=5,
            fill={"AUDIO": str(audio), "HOLD_MS": "1000"},
        )
        assert (result.successful, result.failed) == (5, 0), result
        records = gateway.wait_for_lines("call.ended", 5, 10, mark)
    assert {record["reason"] for record in records} == {"remote_bye"}
    assert all(record["rtp_sent"] > 20 and record["rtp_received"] > 20 for record in records)


def test_linphone_calls_over_ipv6(tmp_path: Path) -> None:
    """Its media is not looked at: what it says of its address depends on the machine's networks."""
    if shutil.which("linphone-daemon") is None:
        pytest.skip("linphone is not installed (package linphone-cli)")
    need_ipv6()
    (tmp_path / "rc").write_text("[sip]\nuse_ipv6=1\n[sound]\nuse_files=1\n")
    with (
        GatewayProcess(host="::1") as gateway,
        (tmp_path / "output").open("w") as output,
        subprocess.Popen(
            ["linphone-daemon", "--config", str(tmp_path / "rc"), "--disable-stats-events"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        ) as phone,
    ):
        assert phone.stdin is not None

        def say(command: str) -> None:
            assert phone.stdin is not None
            phone.stdin.write(f"{command}\n")
            phone.stdin.flush()

        try:
            say(f"port sip {free_port()} udp")
            say("ipv6 enable")
            say(f"call sip:agent@[::1]:{gateway.sip_port}")
            gateway.wait_for("call.answered", 20)
            time.sleep(1)
            say("terminate")
            assert gateway.wait_for("call.ended", 10)["reason"] == "remote_bye"
        finally:
            phone.kill()


@pytest.mark.parametrize(("caller", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_one_port_serves_both_families(
    tmp_path: Path, both: GatewayProcess, caller: str, host: str, transport: str
) -> None:
    need_sipp()
    audio = tmp_path / "audio.ulaw"
    audio.write_bytes(b"\xff" * 16_000)
    mark = both.mark()
    result = run_sipp(
        "call",
        (host, both.sip_port),
        tmp_path,
        host=caller,
        transport=transport,
        calls=3,
        fill={"AUDIO": str(audio), "HOLD_MS": "1000"},
    )
    assert (result.successful, result.failed) == (3, 0), result
    records = both.wait_for_lines("call.ended", 3, 10, mark)
    assert {record["reason"] for record in records} == {"remote_bye"}
    # It was told an address that it can send to, and sent to where it is.
    assert all(record["rtp_sent"] > 20 and record["rtp_received"] > 20 for record in records)


@pytest.fixture(scope="module")
def both() -> Iterator[GatewayProcess]:
    need_ipv6()
    env = {
        "GATEWAY_SIP_ADVERTISED_HOST": "127.0.0.1,::1",
        "GATEWAY_SIP_ALLOW": "127.0.0.0/8,::1/128",
    }
    with GatewayProcess(host="::", env=env) as gateway:
        yield gateway


def openssl(*options: str, text: str = "", wait_s: float = 1.5) -> str:
    """What `openssl s_client` prints when it is told `text` once the handshake is over."""
    with subprocess.Popen(
        ["openssl", "s_client", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as client:
        time.sleep(wait_s / 2)
        try:
            return client.communicate(text, timeout=wait_s)[0]
        except subprocess.TimeoutExpired:
            client.kill()
            return client.communicate()[0]


OPTIONS = (
    f"OPTIONS sip:agent@{HOST} SIP/2.0\r\nVia: SIP/2.0/TLS {HOST}:5061;branch=z9hG4bK-1\r\n"
    f"Max-Forwards: 70\r\nFrom: <sip:a@{HOST}>;tag=1\r\nTo: <sip:b@{HOST}>\r\nCall-ID: door\r\n"
    "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


@pytest.fixture
def certified(tmp_path: Path) -> authority.Files:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return authority.make(tmp_path)


@contextmanager
def guarded(files: authority.Files, **env: str) -> Iterator[tuple[GatewayProcess, int]]:
    port = free_port()
    settings = {
        "GATEWAY_SIP_TLS_PORT": str(port),
        "GATEWAY_SIP_TLS_CERT": str(files.certificate),
        "GATEWAY_SIP_TLS_KEY": str(files.key),
    }
    with GatewayProcess(env=settings | env) as gateway:
        yield gateway, port


@pytest.mark.patient
def test_openssl_at_the_door(tmp_path: Path, certified: authority.Files) -> None:
    """Mutual TLS, nothing older than TLS 1.2, and no renegotiation."""
    files = certified
    with guarded(files, GATEWAY_SIP_TLS_CA=str(files.authority)) as (gateway, port):
        to = ("-connect", f"{HOST}:{port}", "-CAfile", str(files.authority), "-quiet")
        own = ("-cert", str(files.certificate), "-key", str(files.key))
        assert "SIP/2.0 200 OK" in openssl(*to, *own, text=OPTIONS)
        assert "SIP/2.0 200 OK" in openssl(*to, *own, "-tls1_2", text=OPTIONS)
        for refused in (
            openssl(*to, text=OPTIONS),  # no certificate
            openssl(*to, *own, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", text=OPTIONS),
        ):
            assert "SIP/2.0" not in refused, refused
            assert "alert" in refused or "error" in refused, refused
        again = openssl(*to[:-1], *own, "-tls1_2", text="R\n")
        assert "RENEGOTIATING" in again
        assert "no renegotiation" in again, again[-500:]
        assert gateway.wait_for("sip.tls_failed")["peer"] == HOST
        assert gateway.metrics()["gateway_sip_tls_failures"] >= 2


def serial(port: int, believed: Path) -> int:
    """Of the certificate that is shown there."""
    context = ssl.create_default_context(cafile=believed)
    with (
        socket.create_connection((HOST, port), 5) as sock,
        context.wrap_socket(sock, server_hostname=HOST) as shown,
    ):
        certificate = shown.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def test_a_hangup_signal_renews_certificates(tmp_path: Path, certified: authority.Files) -> None:
    files = certified
    (tmp_path / "next").mkdir()
    renewed = authority.make(tmp_path / "next")
    with guarded(files) as (gateway, port):
        first = serial(port, files.authority)
        mark = gateway.mark()
        for new, old in ((renewed.certificate, files.certificate), (renewed.key, files.key)):
            shutil.copyfile(new, old)
        os.kill(gateway.pid, signal.SIGHUP)
        gateway.wait_for("sip.certificate_renewed", 5, mark)
        assert serial(port, renewed.authority) != first
        assert gateway.running
