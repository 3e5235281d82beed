"""TLS and SRTP with a real softphone that we call; and one that has no SRTP, and is refused."""

from pathlib import Path

import pytest

from tests.ahead import early
from tests.peers.audio import RATE_HZ, likeness, silence, write_wav
from tests.peers.baresip import Baresip, need_baresip
from tests.peers.calls_api import CallsApi
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port
from tests.peers.test_baresip import greeting, prompt
from tests.sdk import authority

pytestmark = [pytest.mark.peer, pytest.mark.slow]


def safe(directory: Path, **env: str) -> GatewayProcess:
    made = authority.make(directory)
    settings = {
        "GATEWAY_SIP_TLS_PORT": str(free_port()),
        "GATEWAY_SIP_TLS_CERT": str(made.certificate),
        "GATEWAY_SIP_TLS_KEY": str(made.key),
        "GATEWAY_SIP_TLS_TRUST": str(made.authority),
        "GATEWAY_SIP_SRTP": "require",
    }
    return GatewayProcess(env=settings | env)


def files(directory: Path) -> authority.Files:
    """What `safe` made."""
    return authority.Files(
        directory / "authority.pem", directory / "certificate.pem", directory / "key.pem"
    )


@early
def test_a_telephone_that_we_call_over_tls(directory: Path) -> None:
    need_baresip()
    microphone = directory / "silence.wav"
    write_wav(microphone, silence(40))
    words = prompt(greeting()[0])
    with safe(directory) as gateway:
        api = CallsApi(gateway)
        with Baresip(
            directory / "phone",
            transport="tls",
            codec="PCMU",
            microphone=microphone,
            encryption="srtp-mand",
            files=files(directory),
        ) as phone:
            call_id = api.call(f"sip:caller@{HOST}:{phone.tls_port};transport=tls")
            with api.sideband(call_id) as sideband:
                sideband.until("session.created")
                summary = api.until(call_id, "active")
                assert summary["media_security"] == "srtp"
                sideband.send({"type": "response.create"})
                sideband.until("output_audio_buffer.started")
                begun_s = phone.heard_s
                assert eventually(lambda: phone.heard_s > begun_s + len(words) / RATE_HZ + 1, 20)
                phone.press("42#")
                for key in "42#":
                    event = sideband.until("input_audio_buffer.dtmf_event_received")
                    assert event["event"] == key
                recording = phone.stop()
            record = gateway.wait_for("call.ended", 10, call_id=call_id)
    assert likeness(words, recording.heard)[0] > 0.9
    assert record["reason"] == "remote_bye"
    assert record["rtp_received"] > 0 and record["rtp_lost"] == 0


@early
def test_a_telephone_without_srtp_is_refused(directory: Path) -> None:
    need_baresip()
    microphone = directory / "silence.wav"
    write_wav(microphone, silence(20))
    with safe(directory) as gateway:
        host, port = gateway.sip
        with Baresip(
            directory / "phone",
            transport="udp",
            codec="PCMU",
            microphone=microphone,
            dial=f"sip:agent@{host}:{port}",
        ) as phone:
            line = gateway.wait_for("call.rejected", 10)
            assert eventually(lambda: "488" in phone.output, 5), phone.output[-2000:]
    assert line["sip_status"] == 488


@early
def test_a_telephone_with_a_password_is_let_in_and_others_are_not(directory: Path) -> None:
    passwords_count(directory, "udp")


@early
def test_a_telephone_with_a_password_is_let_in_over_tls(directory: Path) -> None:
    """Nobody else may connect there either, but who knows one is not asked where from."""
    passwords_count(directory, "tls")


def passwords_count(directory: Path, transport: str) -> None:
    need_baresip()
    microphone = directory / "silence.wav"
    write_wav(microphone, silence(20))
    # This telephone knows MD5 only, and does not look beyond the first challenge.
    env = {"GATEWAY_SIP_USERS": "alice:s3cret,bob:other", "GATEWAY_SIP_DIGEST": "MD5"}
    with safe(directory, GATEWAY_SIP_SRTP="off", **env) as gateway:
        host, port = gateway.sip
        if transport == "tls":
            port = int(gateway.env["GATEWAY_SIP_TLS_PORT"])

        def telephone(name: str, password: str) -> Baresip:
            return Baresip(
                directory / name,
                transport=transport,
                codec="PCMU",
                microphone=microphone,
                dial=f"sip:agent@{host}:{port};transport={transport}",
                login=("alice", password),
                files=files(directory) if transport == "tls" else None,
            )

        def refusals() -> float:
            found = gateway.metrics().items()
            return sum(count for name, count in found if 'code="401"' in name)

        with telephone("right", "s3cret") as phone:
            call_id = gateway.wait_for("call.answered", 10)["call_id"]
            assert CallsApi(gateway).hears_and_is_heard(str(call_id))
            phone.hang_up()
            assert gateway.call_ended(0)["reason"] == "remote_bye"
        assert refusals() == 1
        mark = gateway.mark()
        with telephone("wrong", "guess"):
            assert eventually(lambda: refusals() >= 3, 10)
        assert not gateway.lines("call.incoming", mark)
