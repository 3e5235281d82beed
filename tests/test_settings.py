"""Settings: every variable, its default, and the one line that a bad one gets."""

import os
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.settings import PREFIX, Settings, SettingsError, example

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def complaint(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    return str(caught.value)


def test_example_file_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.example").read_text() == example()


def test_example_file_holds_the_defaults(tmp_path: Path) -> None:
    assert Settings.load(ROOT / ".env.example") == Settings.load(tmp_path / "none")


def test_defaults() -> None:
    settings = Settings.load()
    assert (settings.sip_udp_port, settings.sip_tcp_port, settings.http_port) == (5060, 5060, 8080)
    assert settings.sip_networks is None
    assert settings.session_config == {"type": "realtime"}


def test_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_HTTP_PORT=1111\nGATEWAY_CALLS_MAX=7\n")
    monkeypatch.setenv("GATEWAY_HTTP_PORT", "2222")
    settings = Settings.load()
    assert (settings.http_port, settings.calls_max) == (2222, 7)


def test_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    line = complaint(monkeypatch, SIP_UPD_PORT="5060")
    assert line == "GATEWAY_SIP_UPD_PORT is not a setting of the gateway; see .env.example"


def test_unknown_variable_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_COLOUR=red\n")
    with pytest.raises(SettingsError, match="GATEWAY_COLOUR"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("HTTP_PORT", "http", "0 to 65535"),
        ("HTTP_PORT", "70000", "0 to 65535"),
        ("CALLS_MAX", "0", "1 to 100000"),
        ("CALLS_GREET", "perhaps", "true, false"),
        ("DTMF_TO_MODEL", "tone", "off, item"),
        ("SESSION", "{", 'GA session JSON with "type":"realtime"'),
        ("SESSION", '{"type":"transcription"}', 'GA session JSON with "type":"realtime"'),
        ("REALTIME_URL", "https://example.net", "a ws:// or wss:// URL"),
        ("REALTIME_AUTH", "header:", "bearer, header:<name> or query:<name>"),
        ("SIP_ALLOW", "192.0.2.0/33", "networks like 192.0.2.0/24, comma-separated"),
        ("SIP_HOST", "example.net", "an IP address"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("SIP_TLS_PORT", "5061", "0 (off) (this version does not serve it yet)"),
        ("WEBHOOK_URL", "https://x", "nothing (this version does not serve it yet)"),
    ],
)
def test_bad_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    line = complaint(monkeypatch, **{name: value})
    assert line == f"GATEWAY_{name} holds {value!r}; it may hold {allowed}"


def test_a_secret_never_appears(monkeypatch: pytest.MonkeyPatch) -> None:
    line = complaint(monkeypatch, WEBHOOK_SECRET="whsec_canary")
    assert "canary" not in line and "GATEWAY_WEBHOOK_SECRET holds a secret" in line


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RTP_PORT_MIN": "30000", "RTP_PORT_MAX": "20000"}, "GATEWAY_RTP_PORT_MIN"),
        ({"HTTP_TLS_CERT": "cert.pem"}, "GATEWAY_HTTP_TLS_KEY"),
        ({"HTTP_TLS_CERT": "none.pem", "HTTP_TLS_KEY": "none.key"}, "GATEWAY_HTTP_TLS_CERT"),
        ({"SIP_UDP_PORT": "0", "SIP_TCP_PORT": "0"}, "GATEWAY_SIP_UDP_PORT"),
        ({"HTTP_HOST": "0.0.0.0"}, "GATEWAY_API_KEYS"),
    ],
)
def test_contradictions_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    assert complaint(monkeypatch, **variables).startswith(f"{named} holds ")


def test_off_loopback_nobody_is_allowed_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SIP_HOST", "192.0.2.1")
    assert Settings.load().sip_networks == ()
    monkeypatch.setenv("GATEWAY_SIP_ALLOW", "198.51.100.0/24, 203.0.113.7")
    assert [str(network) for network in Settings.load().sip_networks or ()] == [
        "198.51.100.0/24",
        "203.0.113.7/32",
    ]


def test_serve_stops_with_status_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_HTTP_PORT", "x")
    assert main(["serve"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "gateway: GATEWAY_HTTP_PORT holds 'x'; it may hold 0 to 65535\n"
