"""From settings to how calls are treated, and what a caller may hear besides the agent."""

from pathlib import Path

from gateway.audio.comfort import RINGBACK, TONE, Prompt, WavError, read_wav
from gateway.audio.formats import PCMA, PCMU
from gateway.calls.continuity import ContinuityPolicy
from gateway.calls.line import LineConfig
from gateway.calls.patience import PatiencePolicy
from gateway.calls.policy import CallPolicy
from gateway.calls.sounds import Sounds
from gateway.settings import PREFIX, Settings, SettingsError, split

_OURS = {"tone": TONE, "ringback": RINGBACK}


def line_config(settings: Settings) -> LineConfig:
    """How the line treats its calls. Reads the files that the settings name.

    Raises:
        SettingsError: one of them cannot be played.
    """
    fills = settings.calls_filler != "off"
    return LineConfig(
        policy=CallPolicy(
            session=settings.session_config,
            application_decides=settings.on_incoming == "webhook",
            ring_on_failure=settings.calls_on_backend_failure == "ring",
            greet=settings.calls_greet,
            digits_to_model=settings.dtmf_to_model == "item",
            ring_timeout_s=settings.calls_ring_timeout_s,
            max_duration_s=settings.calls_max_duration_s,
            transfer_timeout_s=settings.calls_transfer_timeout_s,
            bridge=settings.calls_bridge,
            accepts_refer=settings.sip_accept_refer,
            targets=split(settings.calls_targets),
            continuity=ContinuityPolicy(
                give_up_s=settings.realtime_give_up_s, has_fallback=settings.has_fallback
            ),
            patience=PatiencePolicy(
                filler_after_s=settings.calls_filler_after_s if fills else None,
                no_input_s=settings.calls_no_input_s,
                no_input_times=settings.calls_no_input_times,
                no_input_say=settings.calls_no_input_say,
                goodbye=settings.calls_goodbye,
                idle_s=settings.calls_idle_s,
                max_duration_say=settings.calls_max_duration_say,
            ),
            has_apology=bool(settings.calls_apology),
            fallback_target=settings.calls_fallback_target,
        ),
        reject_all=settings.on_incoming == "reject",
        targets=split(settings.calls_targets),
        sounds=Sounds(
            filler=prompt_of("calls_filler", settings.calls_filler),
            apologises=prompt_of("calls_apology", settings.calls_apology),
        ),
    )


def prompt_of(setting: str, value: str) -> Prompt | None:
    """What the setting of that name says is to be heard: a sound of ours, the recording in a file,
    or nothing.

    Raises:
        SettingsError: it cannot be played.
    """
    if value in ("", "off"):
        return None
    if value in _OURS:
        return _OURS[value]
    try:
        prompt = read_wav(Path(value).read_bytes())
    except (OSError, WavError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise SettingsError(
            f"{PREFIX}{setting.upper()} holds {value!r}, which cannot be played: {reason}"
        ) from None
    for audio_format in (PCMU, PCMA):
        prompt.in_format(audio_format)  # made now, so that no call waits for it
    return prompt
