"""Settings of calls: what happens to them, and when silence is too much."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from gateway.settings import values
from gateway.settings.errors import SettingsError
from gateway.settings.values import (
    INSTRUCTIONS,
    SECONDS,
    SECONDS_OR_OFF,
    WAV,
    Absent,
    Group,
    Meaning,
    Seconds,
    SecondsOrOff,
)


class CallSettings(Group):
    webhook_url: Annotated[
        str,
        AfterValidator(lambda value: value and values.webhook_url(value)),
        Meaning(
            "where each call that is let ring is told (realtime.call.incoming), whoever decides",
            "an http:// or https:// URL",
            url=True,
        ),
    ] = ""
    webhook_secret: Annotated[
        str,
        AfterValidator(values.webhook_secrets),
        Meaning(
            "what webhooks are signed with; several while one replaces the other",
            "whsec_… secrets, comma-separated",
            secret=True,
        ),
    ] = ""

    calls_on_incoming: Annotated[
        Literal["", "webhook", "accept", "reject"],
        Meaning(
            "what happens to a call: the webhook's receiver decides, accept with GATEWAY_SESSION, "
            "or reject; empty: webhook if GATEWAY_WEBHOOK_URL is set, else accept",
            "webhook, accept, reject",
        ),
    ] = ""
    calls_on_backend_failure: Annotated[
        Literal["ring", "reject"],
        Meaning(
            "a call that was accepted through the API and whose session cannot be had goes on "
            "ringing, or gets 503",
            "ring, reject",
        ),
    ] = "ring"
    calls_targets: Annotated[
        str,
        AfterValidator(values.targets),
        Meaning(
            "what may be called, also by transfer: tel:+49 is numbers that begin so, "
            "sip:*@example.com anybody there; empty: any transfer, and calls to whatever "
            "GATEWAY_SIP_ALLOW reaches; needed when GATEWAY_SIP_TRUNK or GATEWAY_CALLS_REDIRECTS "
            "is set",
            "patterns like tel:+49 and sip:*@example.com, comma-separated",
        ),
    ] = ""
    calls_redirects: Annotated[
        int,
        Field(ge=0, le=5),
        Meaning(
            "how many other targets are tried that whom we call names instead (3xx), each of which "
            "must be one of GATEWAY_CALLS_TARGETS; 0: such an answer ends the call",
            "0 to 5",
        ),
    ] = 0
    calls_transfer_timeout_s: Annotated[
        Seconds,
        Meaning("a transfer without news for so long has failed, and the caller is back", SECONDS),
    ] = 60
    calls_bridge: Annotated[
        Literal["off", "leave", "listen"],
        Meaning(
            "a transfer that the other side cannot make (405 or 501 to REFER, or a browser) is "
            "made by calling the target and joining both here; the agent then leaves, or listens "
            "and is not heard",
            "off, leave, listen",
        ),
    ] = "off"
    calls_max: Annotated[
        int, Field(ge=1, le=100_000), Meaning("calls at once; more get 503", "1 to 100000")
    ] = 200
    calls_ring_timeout_s: Annotated[Seconds, Meaning("ring at most this long", SECONDS)] = 45
    calls_max_duration_s: Annotated[Seconds, Meaning("talk at most this long", SECONDS)] = 3600
    calls_max_duration_say: Annotated[
        str,
        Meaning("instructions for the agent's last words then; empty: none are said", INSTRUCTIONS),
    ] = ""
    calls_no_input_s: Annotated[
        SecondsOrOff,
        Meaning(
            "a caller who says nothing for so long when it is their turn is asked", SECONDS_OR_OFF
        ),
    ] = 0
    calls_no_input_times: Annotated[
        int,
        Field(ge=0, le=100),
        Meaning("how often they are asked before the call ends", "0 to 100"),
    ] = 2
    calls_no_input_say: Annotated[str, Meaning("instructions for the agent then", INSTRUCTIONS)] = (
        "Ask the caller whether they are still there."
    )
    calls_goodbye: Annotated[
        str,
        Meaning(
            "instructions for the agent's last words to a silent caller; empty: none are said",
            INSTRUCTIONS,
        ),
    ] = ""
    calls_idle_s: Annotated[
        SecondsOrOff,
        Meaning("a call in which nothing at all happens for so long ends", SECONDS_OR_OFF),
    ] = 0
    calls_filler: Annotated[
        str,
        AfterValidator(values.filler),
        Meaning(
            "what a caller hears who is kept waiting for an answer; it stops at once when the "
            "agent speaks",
            f"off, tone or {WAV}",
        ),
    ] = "off"
    calls_filler_after_s: Annotated[Seconds, Meaning("after so much silence", SECONDS)] = 1.5
    calls_apology: Annotated[
        str,
        AfterValidator(lambda value: value and values.wav(value)),
        Meaning("what a caller hears when the call ends for want of a session", WAV),
    ] = ""
    calls_fallback_target: Annotated[
        str,
        AfterValidator(lambda value: value and values.target(value)),
        Meaning(
            "whom such a caller is transferred to instead of being hung up on",
            "a URI like tel:+15551234567 or sip:user@host",
        ),
    ] = ""
    calls_greet: Annotated[
        bool,
        Meaning(
            "in calls that the gateway accepts by itself the agent speaks first", "true, false"
        ),
    ] = True
    dtmf_to_model: Annotated[
        Literal["off", "item"],
        Meaning("digits also reach the model, as one user text item", "off, item"),
    ] = "item"
    dtmf_inband: Annotated[
        bool,
        Meaning(
            "keys are also looked for in the audio of phones, for those that cannot say them",
            "true, false",
        ),
    ] = False
    dtmf_out: Annotated[
        Literal["auto", "rfc4733", "info"],
        Meaning(
            "how keys are pressed in calls over SIP: with the media (RFC 4733), by INFO "
            "(dtmf-relay), or by INFO only where the other side takes none with its media",
            "auto, rfc4733, info",
        ),
    ] = "auto"
    session: Annotated[
        str,
        AfterValidator(values.session_json),
        Meaning(
            "session config for accepted calls",
            'GA session JSON with "type":"realtime"',
            secret=True,  # its tools may carry authorization
        ),
    ] = '{"type":"realtime"}'

    record_dir: Annotated[Absent, Meaning("recordings", "nothing", reserved=True)] = ""

    @property
    def on_incoming(self) -> str:
        """`webhook`, `accept` or `reject`."""
        return self.calls_on_incoming or ("webhook" if self.webhook_url else "accept")

    @property
    def session_config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.session)
        return config


def check(settings: CallSettings) -> None:
    """Raises SettingsError: two settings contradict each other."""
    if settings.calls_on_incoming == "webhook" and not settings.webhook_url:
        raise SettingsError(
            "GATEWAY_WEBHOOK_URL holds nothing; it may hold an http:// or https:// URL, and "
            "must when GATEWAY_CALLS_ON_INCOMING is webhook"
        )
    if settings.calls_redirects and not settings.calls_targets:
        raise SettingsError(
            "GATEWAY_CALLS_TARGETS holds nothing; it may hold patterns like tel:+49, and must when "
            "GATEWAY_CALLS_REDIRECTS is above 0: whom we call chooses who is called instead"
        )
