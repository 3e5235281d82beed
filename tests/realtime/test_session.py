"""Which audio a session is asked for, and which it got."""

from copy import deepcopy

import pytest

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.realtime.session import append_bytes, settled_formats, with_formats, without_fixed

pytestmark = pytest.mark.pure

PCM = {"type": "audio/pcm", "rate": 24000}
PCM16K = AudioFormat("pcm16", 16_000)


def test_a_session_follows_the_leg() -> None:
    config = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    asked = with_formats(config, PCMA)
    assert asked["audio"] == {
        "input": {"format": {"type": "audio/pcma"}},
        "output": {"voice": "marin", "format": {"type": "audio/pcma"}},
    }
    assert config == {"type": "realtime", "audio": {"output": {"voice": "marin"}}}


def test_a_format_of_its_own_stays() -> None:
    asked = with_formats({"type": "realtime", "audio": {"input": {"format": PCM}}}, PCMU)
    assert asked["audio"]["input"]["format"] == PCM
    assert asked["audio"]["output"]["format"] == {"type": "audio/pcmu"}


def test_the_format_that_the_server_is_known_for_wins() -> None:
    config = {"type": "realtime", "audio": {"input": {"format": PCM}, "output": {"format": PCM}}}
    asked = with_formats(config, PCMU, PCM16K, None)
    assert asked["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 16000}
    assert asked["audio"]["output"]["format"] == PCM


ASKED = with_formats({"type": "realtime"}, PCMU, PCM16K)


@pytest.mark.parametrize("audio", [None, {}, {"input": None}, {"input": {"format": None}}, "x"])
def test_what_the_server_does_not_name_is_as_asked(audio: object) -> None:
    assert settled_formats(ASKED, {"audio": audio}) == (PCM16K, PCMU)


def test_the_servers_word_counts() -> None:
    session = {"audio": {"input": {"format": PCM}, "output": {"format": {"type": "audio/pcma"}}}}
    assert settled_formats(ASKED, session) == (PCM24K, PCMA)


@pytest.mark.parametrize("told", [{"type": "audio/pcm"}, {"type": "audio/pcm", "rate": None}])
def test_pcm_without_a_rate_is_as_asked(told: dict[str, object]) -> None:
    both = {"audio": {"input": {"format": told}, "output": {"format": told}}}
    assert settled_formats(ASKED, both) == (PCM16K, PCM24K)


@pytest.mark.parametrize(("audio_format", "encoded"), [(PCMU, 216), (PCM24K, 1280)])
def test_how_long_an_append_is(audio_format: AudioFormat, encoded: int) -> None:
    """47 characters are around the base64."""
    assert append_bytes(audio_format, 20) == 47 + encoded


@pytest.mark.parametrize("told", [{"type": "audio/opus"}, {"type": "audio/pcm", "rate": 11025}])
def test_a_format_that_cannot_be_made(told: dict[str, object]) -> None:
    effective = {"audio": {"input": {"format": told}}}
    for asked, confirmed in ((ASKED, effective), (with_formats(effective, PCMU), {})):
        with pytest.raises(ValueError):
            settled_formats(asked, confirmed)


def test_what_media_has_fixed_is_taken_out_of_an_update() -> None:
    audio = {
        "input": {"format": {"type": "audio/pcm"}, "turn_detection": None},
        "output": {"format": {"type": "audio/pcm"}, "speed": 1},
    }
    session = {"type": "realtime", "model": "m", "audio": audio, "tools": []}
    event = {"type": "session.update", "event_id": "e", "session": session}
    before = deepcopy(event)
    assert without_fixed(event) == {
        "type": "session.update",
        "event_id": "e",
        "session": {
            "type": "realtime",
            "audio": {"input": {"turn_detection": None}, "output": {"speed": 1}},
            "tools": [],
        },
    }
    assert event == before


def test_a_response_on_a_call_has_no_format_of_its_own() -> None:
    output = {"format": {"type": "audio/pcm"}, "voice": "marin"}
    event = {"type": "response.create", "response": {"audio": {"output": output}, "model": "m"}}
    assert without_fixed(event)["response"] == {
        "audio": {"output": {"voice": "marin"}},
        "model": "m",
    }


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update"},
        {"type": "session.update", "session": None},
        {"type": "session.update", "session": {"audio": None}},
        {"type": "session.update", "session": {"audio": {"input": [], "output": "x"}}},
        {"type": "response.create"},
        {"type": "response.create", "response": {"audio": 1}},
        {"type": "other", "session": {"model": "m", "audio": {"input": {"format": 1}}}},
    ],
)
def test_everything_else_stays_as_it_is(event: dict[str, object]) -> None:
    assert without_fixed(event) == event
