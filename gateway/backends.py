"""From settings and presets to the Realtime servers that calls are connected with."""

from dataclasses import replace

from gateway.audio.formats import AudioFormat
from gateway.realtime.dialects import DialectOptions
from gateway.settings import Settings, split
from gateway.upstream.presets import PRESETS, Preset
from gateway.upstream.target import BackendConfig, parse_format, parse_headers

_NO_PRESET = Preset(BackendConfig(""))
_DEFAULT_MODEL = _NO_PRESET.config.default_model


def first_backend(settings: Settings, embedded_url: str = "") -> BackendConfig:
    """The server of all sessions, as long as it can be reached.

    Args:
        embedded_url: where the embedded agent serves, which it is when the settings name none.
    """
    known = PRESETS.get(settings.realtime_preset, _NO_PRESET).config
    dialect = known.dialect
    return BackendConfig(
        url=settings.realtime_url or known.url or embedded_url,
        api_key=settings.realtime_api_key,
        auth=settings.realtime_auth or known.auth,
        headers=(*known.headers, *parse_headers(settings.realtime_headers)),
        default_model=settings.realtime_model or known.default_model or _DEFAULT_MODEL,
        dialect=DialectOptions(
            name=settings.realtime_dialect or dialect.name,
            session_shape=settings.realtime_session_shape or dialect.session_shape,
            drop_events=frozenset(split(settings.realtime_drop_events)) or dialect.drop_events,
            truncate=settings.realtime_truncate or dialect.truncate,
            omit=frozenset(split(settings.realtime_omit)) or dialect.omit,
        ),
        input_format=_format(settings.realtime_input_format, known.input_format),
        output_format=_format(settings.realtime_output_format, known.output_format),
        confirms=settings.realtime_confirm == "wait"
        or (not settings.realtime_confirm and known.confirms),
        interrupt=settings.realtime_interrupt or known.interrupt,
        session_limit_s=settings.realtime_session_limit_s or known.session_limit_s,
        connect_timeout_s=settings.realtime_connect_timeout_s,
    )


def fallback_backend(settings: Settings) -> BackendConfig | None:
    """The server that stands in for the first, if there is one.

    The first one's key and headers are not told to it. What model a session names is a model of the
    first server, unless both are of one kind.
    """
    if not settings.has_fallback:
        return None
    name = settings.realtime_fallback_preset
    known = PRESETS.get(name or settings.realtime_preset, _NO_PRESET).config
    config = known if name else first_backend(settings)
    stranger = name not in ("", settings.realtime_preset) and known.default_model != ""
    model = settings.realtime_fallback_model
    return replace(
        config,
        url=settings.realtime_fallback_url or known.url,
        api_key=settings.realtime_fallback_api_key,
        headers=known.headers,
        default_model=model or config.default_model or _DEFAULT_MODEL,
        only_model=stranger or model != "",
        connect_timeout_s=settings.realtime_connect_timeout_s,
    )


def _format(setting: str, known: AudioFormat | None) -> AudioFormat | None:
    if not setting:
        return known
    return None if setting == "leg" else parse_format(setting)
