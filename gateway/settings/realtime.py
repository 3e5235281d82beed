"""Settings of the Realtime servers that calls are connected with."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from gateway.settings import values
from gateway.settings.errors import SettingsError
from gateway.settings.values import (
    FORMAT,
    PRESET,
    SECONDS,
    URL,
    Group,
    Meaning,
    Seconds,
    SecondsOrOff,
    split,
)
from gateway.upstream.presets import PRESETS
from gateway.upstream.target import BackendConfig

_PRESETS_OWN = "empty: as the preset says, else"


class RealtimeSettings(Group):
    realtime_preset: Annotated[
        str,
        AfterValidator(values.preset),
        Meaning("what the model's server is: fills in what is left open below", PRESET),
    ] = ""
    realtime_url: Annotated[
        str,
        AfterValidator(lambda value: value and values.ws_url(value)),
        Meaning(
            "the model's Realtime WebSocket; {model} is filled in, and {session} with an id; "
            "empty: the preset's, else the embedded agent",
            URL,
            url=True,
        ),
    ] = ""
    realtime_api_key: Annotated[
        str, AfterValidator(values.key), Meaning("its key", "a key", secret=True)
    ] = ""
    realtime_auth: Annotated[
        str,
        AfterValidator(lambda value: value and values.auth(value)),
        Meaning(
            f"where the key goes; {_PRESETS_OWN} bearer",
            "bearer, header:<name>, query:<name>, basic or subprotocol",
        ),
    ] = ""
    realtime_headers: Annotated[
        str,
        AfterValidator(values.headers),
        Meaning("more headers for it", "name: value, comma-separated", secret=True),
    ] = ""
    realtime_model: Annotated[
        str,
        AfterValidator(lambda value: value and values.model(value)),
        Meaning(
            f"the model of sessions that name none; {_PRESETS_OWN} gpt-realtime",
            "a name that the server knows",
        ),
    ] = ""
    realtime_dialect: Annotated[
        Literal["", "ga", "beta", "xai", "qwen"],
        Meaning(
            f"event and session shapes of the server; {_PRESETS_OWN} ga", "ga, beta, xai, qwen"
        ),
    ] = ""
    realtime_session_shape: Annotated[
        Literal["", "nested", "flat"],
        Meaning(
            "where a ga server looks for voice and turn detection: in audio, or at the top of the "
            f"session; {_PRESETS_OWN} nested",
            "nested, flat",
        ),
    ] = ""
    realtime_drop_events: Annotated[
        str,
        AfterValidator(values.event_types),
        Meaning(
            f"what the server sends and nobody is to see; {_PRESETS_OWN} none",
            "event types, comma-separated",
        ),
    ] = ""
    realtime_input_format: Annotated[
        str,
        AfterValidator(lambda value: value and values.audio_format(value)),
        Meaning(
            "audio that the server takes; leg: as the session names it, else as the caller "
            f"speaks; {_PRESETS_OWN} leg",
            FORMAT,
        ),
    ] = ""
    realtime_output_format: Annotated[
        str,
        AfterValidator(lambda value: value and values.audio_format(value)),
        Meaning(f"audio that the server sends, likewise; {_PRESETS_OWN} leg", FORMAT),
    ] = ""
    realtime_omit: Annotated[
        str,
        AfterValidator(values.fields),
        Meaning(
            "session fields that the server refuses to be told, as it names them: "
            f"turn_detection.prefix_padding_ms; {_PRESETS_OWN} none",
            "names of fields, comma-separated",
        ),
    ] = ""
    realtime_confirm: Annotated[
        Literal["", "wait", "skip"],
        Meaning(
            "whether its session.updated is waited for; skip: it never sends one; "
            f"{_PRESETS_OWN} wait",
            "wait, skip",
        ),
    ] = ""
    realtime_truncate: Annotated[
        Literal["", "send", "skip"],
        Meaning(
            "whether the server is told what the caller has not heard; skip: it cannot forget; "
            f"{_PRESETS_OWN} send",
            "send, skip",
        ),
    ] = ""
    realtime_interrupt: Annotated[
        Literal["", "server", "cancel"],
        Meaning(
            "who stops a response that the caller interrupts: the server, or the gateway, which "
            f"then cancels it; {_PRESETS_OWN} server",
            "server, cancel",
        ),
    ] = ""
    realtime_session_limit_s: Annotated[
        SecondsOrOff,
        Meaning(
            "how long a session may live before the next takes over; 0: as the preset and the "
            "server say",
            "seconds, or 0",
        ),
    ] = 0
    realtime_connect_timeout_s: Annotated[
        Seconds, Meaning("to connect and configure a session, else 503", SECONDS)
    ] = 10
    realtime_give_up_s: Annotated[
        Seconds, Meaning("a call that has been without a session for so long ends", SECONDS)
    ] = 20
    realtime_fallback_url: Annotated[
        str,
        AfterValidator(lambda value: value and values.ws_url(value)),
        Meaning(
            "a second server, for when the first cannot be reached; empty: the one of "
            "GATEWAY_REALTIME_FALLBACK_PRESET, else none",
            URL,
            url=True,
        ),
    ] = ""
    realtime_fallback_preset: Annotated[
        str,
        AfterValidator(values.preset),
        Meaning(
            "what the second server is; empty: it is spoken to like the first, without its key "
            "and GATEWAY_REALTIME_HEADERS",
            PRESET,
        ),
    ] = ""
    realtime_fallback_api_key: Annotated[
        str, AfterValidator(values.key), Meaning("the second server's key", "a key", secret=True)
    ] = ""
    realtime_fallback_model: Annotated[
        str,
        AfterValidator(lambda value: value and values.model(value)),
        Meaning(
            "the model of all sessions there; empty: that of its preset, else of the session",
            "a name that the server knows",
        ),
    ] = ""

    @property
    def has_server(self) -> bool:
        """False: the embedded agent serves."""
        return bool(self.realtime_url or self.realtime_preset)

    @property
    def has_fallback(self) -> bool:
        return bool(self.realtime_fallback_url or self.realtime_fallback_preset)


def check(settings: RealtimeSettings) -> None:
    """Raises SettingsError: two settings contradict each other."""
    _check_server(settings, "", bool(settings.realtime_headers))
    _check_server(settings, "FALLBACK_", False)
    _check_formats(settings)
    if settings.realtime_api_key and not settings.has_server:
        raise SettingsError(
            f"GATEWAY_REALTIME_URL holds nothing; it may hold {URL}, and must when "
            "GATEWAY_REALTIME_API_KEY is set, unless GATEWAY_REALTIME_PRESET knows one"
        )
    if not settings.has_fallback:
        for name in ("API_KEY", "MODEL"):
            if getattr(settings, f"realtime_fallback_{name.lower()}"):
                raise SettingsError(
                    f"GATEWAY_REALTIME_FALLBACK_URL holds nothing; it may hold {URL}, and must "
                    f"when GATEWAY_REALTIME_FALLBACK_{name} is set"
                )


def _check_server(settings: RealtimeSettings, which: str, has_headers: bool) -> None:
    """A preset without an address of its own needs one, and one with a service needs a key."""
    name = f"GATEWAY_REALTIME_{which}"
    prefix = f"realtime_{which.lower()}"
    preset_name, url, key = (
        getattr(settings, prefix + field) for field in ("preset", "url", "api_key")
    )
    if not preset_name or url:
        return
    preset = PRESETS[preset_name]
    if not preset.url:
        raise SettingsError(
            f"{name}URL holds nothing; it may hold {URL} like {preset.shape}, and must when "
            f"{name}PRESET is {preset_name}"
        )
    if not key and not has_headers:
        raise SettingsError(
            f"{name}API_KEY holds nothing; it may hold a key, and must when "
            f"{name}PRESET is {preset_name}"
        )


def _check_formats(settings: RealtimeSettings) -> None:
    """A format that a server is not told has to be known here."""
    preset = PRESETS.get(settings.realtime_preset)
    known = BackendConfig("") if preset is None else preset.config
    omitted = set(split(settings.realtime_omit)) or known.dialect.omit
    for direction in ("input", "output"):
        names = {f"audio.{direction}.format", f"{direction}_audio_format"} & omitted
        value = getattr(settings, f"realtime_{direction}_format")
        follows = value == "leg" or (not value and getattr(known, f"{direction}_format") is None)
        if names and follows:
            raise SettingsError(
                f"GATEWAY_REALTIME_{direction.upper()}_FORMAT holds {value or 'nothing'}; it may "
                "hold pcmu, pcma or pcm@<rate>, and must when the server is not told of it: "
                f"GATEWAY_REALTIME_OMIT holds {min(names)}"
            )
    dialect = settings.realtime_dialect or known.dialect.name
    if settings.realtime_session_shape and dialect != "ga":
        raise SettingsError(
            f"GATEWAY_REALTIME_SESSION_SHAPE holds {settings.realtime_session_shape!r}; it may "
            f"hold nothing, because the dialect {dialect} has a shape of its own"
        )
