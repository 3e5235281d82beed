"""Settings: every variable, its default, and the one line that a bad one gets."""

import os
import wave
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.settings import PREFIX, Settings, SettingsError, example, values
from gateway.upstream.presets import PRESETS

pytestmark = pytest.mark.pure

FORMAT = "leg, pcmu, pcma or pcm@<rate>, whose rate is 8000 to 48000 in whole thousands"
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
    ("text", "line"),
    [
        ("# who\n\nGATEWAY_LOG_LEVEL=info\nGATEWAY_SIP_USERS alice:canary\n", 4),
        ("GATEWAY_SIP_USERS: alice:canary\n", 1),
        ("GATEWAY_CALLS_MAX=7\n\n\n  GATEWAY_SIP_USERS alice:canary", 4),
        ("GATEWAY_CALLS_MAX=7\r\n\r\nGATEWAY_SIP_USERS\r\n", 3),
        ("GATEWAY_SIP_USERS='alice:canary\nGATEWAY_CALLS_MAX=7\n", 1),
        ('GATEWAY_SIP_USERS="alice:canary" bob\n', 1),
        ("PATH_OF_OTHERS canary\n", 1),
        ("=canary\n", 1),
    ],
)
def test_a_line_of_the_file_that_says_nothing_stops_the_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, line: int
) -> None:
    (tmp_path / ".env").write_bytes(text.encode())
    assert main(["serve"]) == 2
    out, err = capfd.readouterr()
    assert (out, err) == (
        "",
        f"gateway: .env line {line} cannot be read; it may hold NAME=value, or a comment after #\n",
    )


def test_lines_that_may_stand_in_the_file(tmp_path: Path) -> None:
    lines = (
        "\ufeff# a comment",
        "",
        "  # another",
        "export GATEWAY_CALLS_MAX = 7 # so many",
        "GATEWAY_LOG_LEVEL=",
        "GATEWAY_CALLS_GOODBYE='Say\ngoodbye.'",
        "OTHERS=${HOME}",
    )
    (tmp_path / ".env").write_text("\n".join(lines))
    settings = Settings.load()
    assert (settings.calls_max, settings.log_level) == (7, "info")
    assert settings.calls_goodbye == "Say\ngoodbye."


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"GATEWAY_CALLS_GOODBYE=Tsch\xfcss\n")
    with pytest.raises(SettingsError, match=r"^\.env is not text in UTF-8$"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("HTTP_PORT", "http", "0 to 65535"),
        ("HTTP_PORT", "70000", "0 to 65535"),
        ("CALLS_MAX", "0", "1 to 100000"),
        ("CALLS_GREET", "perhaps", "true, false"),
        ("DTMF_TO_MODEL", "tone", "off, item"),
        ("REALTIME_URL", "https://example.net", "a ws:// or wss:// URL"),
        (
            "REALTIME_AUTH",
            "header:",
            "bearer, header:<name>, query:<name>, basic or subprotocol",
        ),
        ("REALTIME_PRESET", "opnai", ", ".join(sorted(PRESETS))),
        ("REALTIME_FALLBACK_PRESET", "opnai", ", ".join(sorted(PRESETS))),
        ("REALTIME_FALLBACK_URL", "http://h/", "a ws:// or wss:// URL"),
        ("REALTIME_URL", "ws://", "a ws:// or wss:// URL"),
        ("REALTIME_DIALECT", "alpha", "ga, beta, xai, qwen"),
        ("REALTIME_SESSION_SHAPE", "round", "nested, flat"),
        ("REALTIME_DROP_EVENTS", "ping,Ping!", "event types, comma-separated"),
        ("REALTIME_OMIT", "a b", "names of fields, comma-separated"),
        ("REALTIME_INPUT_FORMAT", "pcm@11025", FORMAT),
        ("REALTIME_OUTPUT_FORMAT", "opus", FORMAT),
        ("REALTIME_TRUNCATE", "maybe", "send, skip"),
        ("REALTIME_CONFIRM", "maybe", "wait, skip"),
        ("REALTIME_INTERRUPT", "me", "server, cancel"),
        ("REALTIME_MODEL", "..", "a name that the server knows"),
        ("REALTIME_SESSION_LIMIT_S", "-1", "seconds, or 0"),
        ("REALTIME_GIVE_UP_S", "0", "seconds, above 0"),
        ("AGENT_SEED", "seven", "an integer"),
        ("AGENT_SESSION_LIMIT_S", "0", "seconds, above 0"),
        ("CALLS_NO_INPUT_S", "-1", "seconds, or 0 (off)"),
        ("CALLS_NO_INPUT_TIMES", "-1", "0 to 100"),
        ("CALLS_IDLE_S", "x", "seconds, or 0 (off)"),
        ("CALLS_FILLER_AFTER_S", "0", "seconds, above 0"),
        (
            "CALLS_FALLBACK_TARGET",
            "sip:a@b?subject=x",
            "a URI like tel:+15551234567 or sip:user@host",
        ),
        ("SIP_ALLOW", "192.0.2.0/33", "networks like 192.0.2.0/24, comma-separated"),
        ("SIP_HOST", "example.net", "an IP address"),
        ("SIP_WS_PORT", "65536", "0 to 65535"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("SIP_TLS_PORT", "70000", "0 to 65535"),
        ("RECORD_DIR", "calls", "nothing (this version does not serve it yet)"),
        ("CALLS_ON_INCOMING", "ask", "webhook, accept, reject"),
        ("CALLS_ON_BACKEND_FAILURE", "wait", "ring, reject"),
        ("CALLS_TRANSFER_TIMEOUT_S", "0", "seconds, above 0"),
        ("CALLS_TARGETS", "+49", "patterns like tel:+49 and sip:*@example.com, comma-separated"),
        (
            "CALLS_TARGETS",
            "tel:+49,*",
            "patterns like tel:+49 and sip:*@example.com, comma-separated",
        ),
    ],
)
def test_bad_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    line = complaint(monkeypatch, **{name: value})
    assert line == f"GATEWAY_{name} holds {value!r}; it may hold {allowed}"


def test_a_secret_never_appears(monkeypatch: pytest.MonkeyPatch) -> None:
    line = complaint(monkeypatch, WEBHOOK_SECRET="whsec_canary!")
    assert "canary" not in line
    assert line.startswith("GATEWAY_WEBHOOK_SECRET holds a secret that cannot be used: ")


@pytest.mark.parametrize("value", ("canary", "sips:canary@x", "sip:u:canary@h;transport=ws"))
def test_a_bad_trunk_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    line = complaint(monkeypatch, SIP_TRUNK=value)
    assert "canary" not in line
    assert line.startswith("GATEWAY_SIP_TRUNK holds what is no trunk (")
    assert "; it may hold sip:user:password@host" in line


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("sip:u:canary@h;colour=red", "a parameter colour that says nothing here"),
        ("sip:h;colour=red", "a parameter colour that says nothing here"),
        ("sip:u:canary@h;ping=30;PING=60", "ping stands twice"),
        ("sip:u:canary@h;Ping", "ping without a value"),
        ("sip:h;calls=0", "calls that are not 1 to 99999; without one there is no limit"),
        ("sip:h;rate=0", "a rate that is not 0.001 to 9999.999; without one there is no limit"),
        ("sip:a;prefix=+49/+43,sip:b;prefix=+1/+43", "a prefix that two trunks have"),
        ("sip:a;ping=30,sip:A", "a host that stands twice"),
        # What may be the rest of a password is not quoted.
        ("sip:u:p@ss;canary@h", "not a SIP URI"),
        ("sip:u:p@ss;canary=x@h", "not a SIP URI"),
        ("sip:u:p@h;canary", "a parameter that says nothing here"),
        ("sip:u:p@h;Canary=x", "a parameter that says nothing here"),
        (f"sip:u:p@h;{'canary' * 6}=x", "a parameter that says nothing here"),
        ("sip:u:12;canary=x", "a parameter that says nothing here"),
        ("sip:u:p@ss;canary=x,y@h", "not a SIP URI; a comma in one is %2C"),
    ],
)
def test_what_is_wrong_with_a_trunk(
    monkeypatch: pytest.MonkeyPatch, value: str, wrong: str
) -> None:
    line = complaint(monkeypatch, SIP_TRUNK=value, CALLS_TARGETS="tel:+49")
    assert line.startswith(f"GATEWAY_SIP_TRUNK holds what is no trunk ({wrong}); it may hold ")
    assert "canary" not in line.lower()


def test_one_trunk_may_name_a_prefix_of_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    trunks = "sip:a;prefix=+49/+49,sip:b;prefix=+4930/49,sip:c,sip:d"
    monkeypatch.setenv("GATEWAY_SIP_TRUNK", trunks)
    monkeypatch.setenv("GATEWAY_CALLS_TARGETS", "tel:+49")
    assert Settings.load().sip_trunk == trunks


def test_a_realm_goes_with_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SIP_REALM", "line")
    monkeypatch.setenv("GATEWAY_SIP_USERS", "alice:secret")
    assert Settings.load().sip_realm == "line"


def test_a_certificate_is_of_use_to_who_only_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SIP_TLS_CERT", "SIP_TLS_KEY"):
        (tmp_path / name).touch()
        monkeypatch.setenv(PREFIX + name, name)
    assert Settings.load().sip_tls_port == 0


@pytest.mark.parametrize(
    "url", ("ftp://x", "http://169.254.169.254/latest", "https://0x7f.1/", "http:///x")
)
def test_a_webhook_that_may_not_be_called_stops_start_up(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    line = complaint(monkeypatch, WEBHOOK_URL=url)
    assert line.startswith("GATEWAY_WEBHOOK_URL ")
    assert line.endswith("; it may hold an http:// or https:// URL")


@pytest.mark.parametrize(
    "name", ("API_KEYS", "CALLS_TARGETS", "WEBHOOK_SECRET", "SIP_ALLOW", "REALTIME_HEADERS")
)
@pytest.mark.parametrize("value", (",", " , ", ",,"))
def test_nothing_between_commas_is_not_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    line = complaint(monkeypatch, **{name: value})
    assert line.startswith(f"GATEWAY_{name} holds nothing between its commas; it may hold ")


@pytest.mark.parametrize("name", ("REALTIME_API_KEY", "REALTIME_FALLBACK_API_KEY"))
@pytest.mark.parametrize("key", ("canary\n", "cänary"))
def test_a_key_that_no_header_carries_is_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, key: str
) -> None:
    line = complaint(monkeypatch, **{name: key})
    assert line == f"GATEWAY_{name} holds a key that no header can carry; it may hold a key"


@pytest.mark.parametrize("value", ("canary", "X-Key", "X-Key: cänary", "Host: canary"))
def test_a_header_that_cannot_be_sent_is_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    line = complaint(monkeypatch, REALTIME_HEADERS=value)
    assert "nary" not in line
    assert line.startswith("GATEWAY_REALTIME_HEADERS holds a header ") or "X-Key" in line
    assert line.endswith("; it may hold name: value, comma-separated")


def test_a_placeholder_that_nothing_fills_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    line = complaint(monkeypatch, REALTIME_URL="ws://h/?d={deployment}")
    assert line.startswith(
        "GATEWAY_REALTIME_URL holds a placeholder other than {model} and {session}; "
    )


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("CALLS_APOLOGY", "a WAV file"),
        ("CALLS_FILLER", "off, tone or a WAV file"),
        ("AGENT_DIALOGUE", "a file"),
    ],
)
def test_files_are_read_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, allowed: str
) -> None:
    line = complaint(monkeypatch, **{name: "none"})
    assert line == (
        f"GATEWAY_{name} holds 'none', which cannot be read: No such file or directory; "
        f"it may hold {allowed}"
    )
    (tmp_path / "wrong").write_bytes(b"\xff = ]")
    line = complaint(monkeypatch, **{name: "wrong"})
    assert line.startswith(f"GATEWAY_{name} holds 'wrong', which ")
    assert line.endswith(f"; it may hold {allowed}")


def test_files_that_are_what_they_should_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    dialogue = ROOT / "gateway" / "backend" / "dialogues" / "default.toml"
    for name, value in (
        ("CALLS_APOLOGY", "sound.wav"),
        ("CALLS_FILLER", "sound.wav"),
        ("AGENT_DIALOGUE", str(dialogue)),
        ("AGENT_SEED", "-7"),
    ):
        monkeypatch.setenv(PREFIX + name, value)
    settings = Settings.load()
    assert (settings.calls_apology, settings.calls_filler) == ("sound.wav", "sound.wav")
    assert (settings.agent_dialogue, settings.agent_seed) == (str(dialogue), "-7")


@pytest.mark.parametrize("key", ("ek_canary", "sk canary", "sk-cänary"))
def test_a_key_that_could_never_be_used_is_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    line = complaint(monkeypatch, API_KEYS=f"sk-good,{key}")
    assert line.startswith("GATEWAY_API_KEYS holds a key ")
    assert "nary" not in line and "sk-good" not in line


def test_a_trunk_needs_to_be_told_what_may_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    line = complaint(monkeypatch, SIP_TRUNK="sip:u:p@trunk.example")
    assert line.startswith("GATEWAY_CALLS_TARGETS holds nothing; it may hold patterns like tel:+49")
    monkeypatch.setenv("GATEWAY_CALLS_TARGETS", "tel:+49")
    assert Settings.load().sip_trunk


def test_what_happens_to_calls_follows_from_the_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().on_incoming == "accept"
    monkeypatch.setenv("GATEWAY_WEBHOOK_URL", "http://127.0.0.1:9000/hook")
    assert Settings.load().on_incoming == "webhook"
    monkeypatch.setenv("GATEWAY_CALLS_ON_INCOMING", "accept")
    assert Settings.load().on_incoming == "accept"


def test_a_webhook_that_decides_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    line = complaint(monkeypatch, CALLS_ON_INCOMING="webhook")
    assert line.startswith("GATEWAY_WEBHOOK_URL holds nothing; it may hold an http://")


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ('{"tools": canary}', "is not JSON at character 11"),
        ('{"tools": "canary', "is not JSON at character 11"),
        (" ", "is not JSON at character 2"),
        ('["canary"]', "is JSON but no object"),
        ('{"canary": 1}', "is no session config: see session.type"),
        ('{"type": "canary"}', "is no session config: see session.type"),
        (
            '{"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", '
            '"threshold": 7}}}}',
            "is no session config: see session.audio.input.turn_detection.threshold",
        ),
        ("[" * 100_000, "holds too long a number or is nested too deeply"),
        ("1" * 5000, "holds too long a number or is nested too deeply"),
    ],
)
def test_a_bad_session_is_explained_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str, wrong: str
) -> None:
    line = complaint(monkeypatch, SESSION=value)
    assert line == f'GATEWAY_SESSION {wrong}; it may hold GA session JSON with "type":"realtime"'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.net/v1?api_key=canary#x", "https://example.net/v1?…"),
        ("https://canary:canary@example.net/v1", "https://…@example.net/v1"),
        ("https://can@ary:can/ary@example.net?canary@x", "https://…@example.net?…"),
        ("example.net?canary\ncanary", "example.net?…"),
    ],
)
def test_a_bad_url_is_shown_without_its_keys(
    monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    line = complaint(monkeypatch, REALTIME_URL=url)
    assert line == f"GATEWAY_REALTIME_URL holds {shown!r}; it may hold a ws:// or wss:// URL"


@pytest.mark.parametrize(
    "variables",
    [
        {"SIP_HOST": "0.0.0.0"},
        {"SIP_HOST": "::"},
        {"SIP_HOST": "0.0.0.0", "SIP_ADVERTISED_HOST": "0.0.0.0"},
        {"SIP_HOST": "192.0.2.1", "SIP_ADVERTISED_HOST": "0.0.0.0"},
        {"SIP_HOST": "0.0.0.0", "SIP_ADVERTISED_HOST": "2001:db8::1"},
        {"SIP_HOST": "::", "SIP_ADVERTISED_HOST": "192.0.2.1"},
        {"SIP_HOST": "2001:db8::1", "SIP_ADVERTISED_HOST": "192.0.2.1"},
        {"SIP_HOST": "::", "SIP_ADVERTISED_HOST": "192.0.2.1,::"},
        {"SIP_HOST": "::", "SIP_ADVERTISED_HOST": "192.0.2.1,192.0.2.2"},
        {"SIP_HOST": "::", "SIP_ADVERTISED_HOST": "192.0.2.1,2001:db8::1,2001:db8::2"},
        {"SIP_HOST": "0.0.0.0", "SIP_ADVERTISED_HOST": "192.0.2.1,2001:db8::1"},
    ],
)
def test_callers_must_be_told_an_address_that_they_can_reach(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    line = complaint(monkeypatch, **variables)
    assert line.startswith("GATEWAY_SIP_ADVERTISED_HOST holds ")
    assert "; it may hold " in line and "\n" not in line


@pytest.mark.parametrize(
    ("host", "advertised"),
    [
        *(("0.0.0.0", "192.0.2.1"), ("::", "2001:db8::1"), ("10.0.0.1", "192.0.2.1"), ("::1", "")),
        ("::", "192.0.2.1,2001:db8::1"),
    ],
)
def test_an_advertised_address_of_the_same_family_is_taken(
    monkeypatch: pytest.MonkeyPatch, host: str, advertised: str
) -> None:
    monkeypatch.setenv("GATEWAY_SIP_HOST", host)
    monkeypatch.setenv("GATEWAY_SIP_ADVERTISED_HOST", advertised)
    assert Settings.load().sip_advertised_host == advertised


@pytest.mark.parametrize(
    "value", ["ns.example", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.1:99999", "[::1", "::1]:53", ","]
)
def test_a_name_server_is_an_address(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert "GATEWAY_SIP_DNS holds" in complaint(monkeypatch, SIP_DNS=value)


def test_name_servers_may_have_ports() -> None:
    servers = values.parse_name_servers("192.0.2.1, 192.0.2.2:5353,2001:db8::1, [2001:db8::2]:54")
    assert servers == (
        *(("192.0.2.1", 53), ("192.0.2.2", 5353)),
        *(("2001:db8::1", 53), ("2001:db8::2", 54)),
    )


def test_compose_passes_every_setting_of_the_env_file() -> None:
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    assert "env_file:\n      - path: ../.env\n        required: false\n" in text
    # What `environment` sets would win over the file.
    assert "\n    environment:" not in text


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RTP_PORT_MIN": "30000", "RTP_PORT_MAX": "20000"}, "GATEWAY_RTP_PORT_MIN"),
        ({"RTP_PORT_MIN": "20001", "RTP_PORT_MAX": "20002"}, "GATEWAY_RTP_PORT_MIN"),
        ({"SIP_TLS_CA": "ca.pem"}, "GATEWAY_SIP_TLS_PORT"),
        (
            {"SIP_TLS_CA": "c", "SIP_TLS_CERT": "c", "SIP_TLS_KEY": "k", "SIP_WS_PORT": "5066"},
            "GATEWAY_SIP_TLS_PORT",
        ),
        ({"CALLS_REDIRECTS": "1"}, "GATEWAY_CALLS_TARGETS"),
        ({"SIP_REALM": "line"}, "GATEWAY_SIP_REALM"),
        ({"HTTP_TLS_CERT": "cert.pem"}, "GATEWAY_HTTP_TLS_KEY"),
        ({"HTTP_TLS_CERT": "none.pem", "HTTP_TLS_KEY": "none.key"}, "GATEWAY_HTTP_TLS_CERT"),
        ({"SIP_UDP_PORT": "0", "SIP_TCP_PORT": "0"}, "GATEWAY_SIP_UDP_PORT"),
        ({"SIP_WS_PORT": "5066", "SIP_TCP_PORT": "5066"}, "GATEWAY_SIP_WS_PORT"),
        ({"SIP_TLS_CERT": "cert.pem"}, "GATEWAY_SIP_TLS_KEY"),
        ({"SIP_TLS_KEY": "key.pem"}, "GATEWAY_SIP_TLS_CERT"),
        ({"SIP_TLS_CERT": "none.pem", "SIP_TLS_KEY": "none.key"}, "GATEWAY_SIP_TLS_CERT"),
        ({"HTTP_HOST": "0.0.0.0"}, "GATEWAY_API_KEYS"),
        ({"REALTIME_PRESET": "azure"}, "GATEWAY_REALTIME_URL"),
        ({"REALTIME_PRESET": "openai"}, "GATEWAY_REALTIME_API_KEY"),
        ({"REALTIME_FALLBACK_PRESET": "localai"}, "GATEWAY_REALTIME_FALLBACK_URL"),
        ({"REALTIME_FALLBACK_PRESET": "xai"}, "GATEWAY_REALTIME_FALLBACK_API_KEY"),
        ({"REALTIME_FALLBACK_API_KEY": "k"}, "GATEWAY_REALTIME_FALLBACK_URL"),
        ({"REALTIME_API_KEY": "k"}, "GATEWAY_REALTIME_URL"),
        ({"REALTIME_FALLBACK_MODEL": "m"}, "GATEWAY_REALTIME_FALLBACK_URL"),
        ({"REALTIME_OMIT": "audio.input.format"}, "GATEWAY_REALTIME_INPUT_FORMAT"),
        (
            {"REALTIME_OMIT": "output_audio_format", "REALTIME_OUTPUT_FORMAT": "leg"},
            "GATEWAY_REALTIME_OUTPUT_FORMAT",
        ),
        (
            {"REALTIME_DIALECT": "beta", "REALTIME_SESSION_SHAPE": "flat"},
            "GATEWAY_REALTIME_SESSION_SHAPE",
        ),
    ],
)
def test_contradictions_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    assert complaint(monkeypatch, **variables).startswith(f"{named} holds ")


def test_a_preset_says_what_its_address_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint(monkeypatch, REALTIME_PRESET="speaches") == (
        "GATEWAY_REALTIME_URL holds nothing; it may hold a ws:// or wss:// URL like "
        "ws://HOST:8000/v1/realtime?model={model}, and must when GATEWAY_REALTIME_PRESET is "
        "speaches"
    )
    monkeypatch.setenv("GATEWAY_REALTIME_URL", "ws://127.0.0.1:8000/v1/realtime?model={model}")
    assert Settings.load().has_server


def test_a_header_may_stand_for_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_REALTIME_PRESET", "openai")
    monkeypatch.setenv("GATEWAY_REALTIME_HEADERS", "Authorization: Bearer sk-1")
    assert Settings.load().has_server


def test_browsers_alone_may_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SIP_UDP_PORT", "SIP_TCP_PORT"):
        monkeypatch.setenv(PREFIX + name, "0")
    monkeypatch.setenv("GATEWAY_SIP_WS_PORT", "5066")
    assert Settings.load().sip_ws_port == 5066
    for name in ("SIP_TLS_CERT", "SIP_TLS_KEY"):
        (tmp_path / name).touch()
        monkeypatch.setenv(PREFIX + name, name)
    settings = Settings.load()
    assert (settings.sip_tls_cert, settings.sip_tls_key) == ("SIP_TLS_CERT", "SIP_TLS_KEY")


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


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("sip:a:hunter2@h;colour=red", "a parameter colour that says nothing here"),
        ("sip:a:hunter2@h;auth=b;auth=c", "auth stands twice"),
        ("sip:a:x@h;hunter2", "a parameter that says nothing here"),
        ("sip:a:x@y;hunter=z,hunter2@h", "not a SIP URI; a comma in one is %2C"),
        ("sip:a:hunter2@h,sip:A:other@h", "holds a registration twice"),
        (",".join(f"sip:a{number}@h" for number in range(33)), "holds more than 32"),
        (",", "holds nothing between its commas"),
    ],
)
def test_registrations_that_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, value: str, wrong: str
) -> None:
    monkeypatch.setenv("GATEWAY_SIP_REGISTER", value)
    with pytest.raises(SettingsError, match=wrong) as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_trunk_over_a_transport_that_is_off(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    trunks = f"sip:a.example,sip:a:hunter2@h;transport={transport}"
    named = f"GATEWAY_SIP_{transport.upper()}_PORT"
    variables = {"SIP_TRUNK": trunks, "CALLS_TARGETS": "tel:+49"}
    line = complaint(monkeypatch, **{named.removeprefix(PREFIX): "0"}, **variables)
    assert line == (
        f"{named} holds 0; it may hold 1 to 65535, because GATEWAY_SIP_TRUNK has a trunk over "
        f"{transport}"
    )


def test_a_trunk_over_tls_needs_no_port_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SIP_TRUNK", "sip:a.example;transport=tls")
    monkeypatch.setenv("GATEWAY_CALLS_TARGETS", "tel:+49")
    assert Settings.load().sip_tls_port == 0


def test_one_pair_of_media_ports_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, port in (("MIN", "20001"), ("MAX", "20003")):
        monkeypatch.setenv(f"GATEWAY_RTP_PORT_{name}", port)
    assert Settings.load().rtp_port_max == 20_003


def test_a_registration_over_a_transport_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SIP_REGISTER", "sip:a:hunter2@h;transport=tcp")
    monkeypatch.setenv("GATEWAY_SIP_TCP_PORT", "0")
    with pytest.raises(SettingsError, match="GATEWAY_SIP_TCP_PORT") as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)
