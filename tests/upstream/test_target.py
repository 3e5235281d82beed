"""From a configuration to what is dialled, and what the words of configurations may be."""

from typing import Any

import pytest

from gateway.audio.formats import PCMA, PCMU, AudioFormat
from gateway.upstream.errors import BackendError
from gateway.upstream.target import (
    BackendConfig,
    check_auth,
    check_model,
    check_url,
    has_unknown_placeholder,
    parse_format,
    parse_headers,
    target_of,
)

pytestmark = pytest.mark.pure


def config(
    url: str = "wss://model.example/v1/realtime?model={model}", **more: Any
) -> BackendConfig:
    return BackendConfig(url, **more)


@pytest.mark.parametrize(
    ("auth", "key", "header"),
    [
        ("bearer", "sk-1", ("Authorization", "Bearer sk-1")),
        ("header:api-key", "sk-1", ("api-key", "sk-1")),
        ("basic", "dXNlcjpwYXNz", ("Authorization", "Basic dXNlcjpwYXNz")),
        ("basic", "user:pass", ("Authorization", "Basic dXNlcjpwYXNz")),
    ],
)
def test_a_key_in_a_header(auth: str, key: str, header: tuple[str, str]) -> None:
    target = target_of(config(api_key=key, auth=auth), "m")
    assert list(target.headers.items()) == [header]
    assert (str(target.url), target.protocols) == ("wss://model.example/v1/realtime?model=m", ())


def test_a_key_in_the_query() -> None:
    target = target_of(config(api_key="sk 1", auth="query:api_key"), "m")
    assert str(target.url) == "wss://model.example/v1/realtime?model=m&api_key=sk+1"
    assert not target.headers


@pytest.mark.parametrize(
    ("key", "protocols"),
    [("sk-1", ("realtime", "openai-insecure-api-key.sk-1")), ("", ("realtime",))],
)
def test_a_key_among_the_subprotocols(key: str, protocols: tuple[str, ...]) -> None:
    target = target_of(config(api_key=key, auth="subprotocol"), "m")
    assert target.protocols == protocols
    assert not target.headers


@pytest.mark.parametrize("auth", ["bearer", "header:api-key", "query:key", "basic"])
def test_no_key_opens_nothing(auth: str) -> None:
    target = target_of(config(auth=auth), "m")
    assert (str(target.url), dict(target.headers), target.protocols) == (
        "wss://model.example/v1/realtime?model=m",
        {},
        (),
    )


def test_our_headers_replace_those_of_a_client() -> None:
    ours = config(api_key="ours", headers=(("X-Tenant", "a"), ("openai-beta", "realtime=v1")))
    theirs = {"OpenAI-Beta": "other", "authorization": "Bearer theirs", "X-Trace": "7"}
    headers = target_of(ours, "m", headers=theirs).headers
    assert dict(headers) == {
        "X-Trace": "7",
        "X-Tenant": "a",
        "openai-beta": "realtime=v1",
        "Authorization": "Bearer ours",
    }


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("ws://h/{model}/x?d={model}", "ws://h/a%2Fb/x?d=a/b"),
        ("ws://h/?key={session}", "ws://h/?key=id-1"),
        ("ws://h/?fixed=1", "ws://h/?fixed=1"),
    ],
)
def test_a_template_is_filled_in(url: str, dialled: str) -> None:
    assert str(target_of(config(url), "a/b", session_id="id-1").url) == dialled


def test_a_name_from_a_client_is_no_template() -> None:
    assert target_of(config(), "{session}", session_id="id-1").url.query["model"] == "{session}"


@pytest.mark.parametrize(
    ("only_model", "named", "dialled"),
    [(False, "theirs", "theirs"), (False, None, "ours"), (True, "theirs", "ours")],
)
def test_whose_model_it_is(only_model: bool, named: str | None, dialled: str) -> None:
    known = config(default_model="ours", only_model=only_model)
    assert target_of(known, named).url.query["model"] == dialled


def test_an_intent_stands_for_the_model() -> None:
    url = target_of(config("ws://h/?v=1&model={model}"), "m", intent="transcription").url
    assert str(url) == "ws://h/?v=1&intent=transcription"


@pytest.mark.parametrize("model", [".", "..", "x" * 257])
def test_a_model_that_leads_elsewhere(model: str) -> None:
    with pytest.raises(BackendError) as caught:
        target_of(config(), model)
    assert (caught.value.refused, caught.value.code) == (True, "model_not_found")
    with pytest.raises(ValueError):
        check_model(model)


def test_a_config_shows_no_secret() -> None:
    assert "canary" not in repr(config(api_key="canary", headers=(("X-Key", "canary"),)))


@pytest.mark.parametrize(
    "form", ["bearer", "basic", "subprotocol", "header:api-key", "query:api_key"]
)
def test_forms_of_authorization(form: str) -> None:
    check_auth(form)


@pytest.mark.parametrize(
    "form", ["", "digest", "header:", "query:", "header:a b", "header:Host", "basic:x", "bearer:"]
)
def test_what_is_no_form_of_authorization(form: str) -> None:
    with pytest.raises(ValueError):
        check_auth(form)


def test_headers_are_read() -> None:
    assert parse_headers(" X-A: 1 ,OpenAI-Beta:realtime=v1,") == (
        ("X-A", "1"),
        ("OpenAI-Beta", "realtime=v1"),
    )
    assert parse_headers("") == ()


@pytest.mark.parametrize(
    "text", ["canary", "X-A:", ": canary", "X A: canary", "X-A: cänary", "Host: canary"]
)
def test_a_header_that_cannot_be_sent_is_not_quoted(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_headers(text)
    assert "nary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "audio_format"),
    [
        ("pcmu", PCMU),
        ("pcma", PCMA),
        ("pcm@8000", AudioFormat("pcm16", 8000)),
        ("pcm@16000", AudioFormat("pcm16", 16_000)),
        ("pcm@48000", AudioFormat("pcm16", 48_000)),
    ],
)
def test_formats_are_read(text: str, audio_format: AudioFormat) -> None:
    assert parse_format(text) == audio_format


@pytest.mark.parametrize("text", ["", "pcm", "pcm@", "pcm@11025", "pcm@96000", "PCMU", "pcmu@8000"])
def test_what_is_no_format(text: str) -> None:
    with pytest.raises(ValueError):
        parse_format(text)


@pytest.mark.parametrize("url", ["ws://h/", "wss://h:1/v1?model={model}&key={session}"])
def test_urls_of_websockets(url: str) -> None:
    check_url(url)
    assert not has_unknown_placeholder(url)


@pytest.mark.parametrize("url", ["", "ws://", "wss:///x", "https://h/", "h:80", "ws://h:x/"])
def test_what_is_no_url_of_a_websocket(url: str) -> None:
    with pytest.raises(ValueError):
        check_url(url)


@pytest.mark.parametrize("url", ["ws://h/{deployment}", "ws://h/?m={MODEL}", "ws://h/{"])
def test_placeholders_that_nothing_fills(url: str) -> None:
    assert has_unknown_placeholder(url)
