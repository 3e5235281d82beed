"""The JSON Schemas (2020-12) of the API's description, by name."""

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from gateway.realtime.beta import BetaSession, BetaTranscription
from gateway.realtime.config_models import RealtimeSession, TranscriptionSession

Schema = dict[str, Any]

_STATES: Final = (
    "incoming",
    "ringing",
    "connecting",
    "answering",
    "active",
    "transferring",
    "bridged",
    "ended",
)
_TRANSFER_RESULTS: Final = (
    "pending",
    "transferred",
    "busy",
    "declined",
    "no_answer",
    "unreachable",
    "refused",
    "timeout",
)

_TARGETS: Final = ("tel:+15551234567", "sip:user@example.com")


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object of exactly these properties."""
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    required = [name for name in properties if name not in optional]
    if required:
        schema["required"] = required
    return schema


def _text(description: str | None = None, **more: Any) -> Schema:
    return {"type": "string"} | ({"description": description} if description else {}) | more


def _or_null(kind: str, description: str | None = None) -> Schema:
    schema: Schema = {"type": [kind, "null"]}
    if description:
        schema["description"] = description
    return schema


def _unix(description: str) -> Schema:
    return {"type": "integer", "description": f"Unix time: {description}."}


def _counters() -> Schema:
    counts = ("rtp_received", "rtp_sent", "rtp_lost", "turns", "bargeins", "dtmf_count")
    properties: dict[str, Schema] = {name: {"type": "integer", "minimum": 0} for name in counts}
    properties["jitter_ms"] = _or_null("number")
    properties["mos"] = _or_null("number", "Estimated quality of what we heard, 1 to 4.5.")
    return record(properties)


def _call() -> Schema:
    transfer = record(
        {
            "target": _text("Where to; most of a number is masked."),
            "result": _text(enum=list(_TRANSFER_RESULTS)),
            "sip_status": _or_null("integer", "What the target answered."),
            "how": _text("Who called the target.", enum=["refer", "replaces", "bridge"]),
        }
    )
    return record(
        {
            "id": _text(pattern="^rtc_"),
            "object": _text(const="realtime.call"),
            "direction": _text(enum=["inbound", "outbound"]),
            "leg": _text(enum=["sip", "webrtc"]),
            "from": _or_null("string", "Who calls a phone; most of a number is masked."),
            "to": _or_null("string", "Whose phone is called; most of a number is masked."),
            "state": _text(enum=list(_STATES)),
            "created_at": _unix("first heard of"),
            "answered_at": {**_unix("answered"), "type": ["integer", "null"]},
            "ended_at": {**_unix("over"), "type": ["integer", "null"]},
            "duration_s": {"type": "number", "minimum": 0},
            "codec": _or_null("string"),
            "media_security": _text(enum=["rtp", "srtp"]),
            "reason": _or_null("string", "Why it ended."),
            "sip_status": _or_null("integer", "The final SIP status of a call that failed."),
            "sip_call_id": _or_null("string", "Call-ID, by which a carrier finds the call too."),
            "transfer": {"oneOf": [transfer, {"type": "null"}]},
            "counters": _counters(),
        }
    )


def _softphone() -> Schema:
    server = record(
        {
            "urls": {"oneOf": [_text(), {"type": "array", "items": _text()}]},
            "username": _text(),
            "credential": _text(),
        },
        optional=("username", "credential"),
    )
    return record(
        {
            "dial": _text("The SIP URI that reaches the agent."),
            "version": _text("Of the gateway."),
            "model": _text("Of sessions that name none."),
            "webrtc": {"type": "boolean", "description": "Whether browsers can call."},
            "ice_servers": {"type": "array", "items": server},
        }
    )


def _error() -> Schema:
    error = record(
        {
            "message": _text(),
            "type": _text(),
            "param": _or_null("string", "The field at fault, as a path."),
            "code": _or_null("string"),
        }
    )
    return record({"error": error})


def _expiry() -> Schema:
    return record(
        {
            "anchor": _text(const="created_at"),
            "seconds": {"type": "integer", "minimum": 10, "maximum": 7200, "default": 600},
        },
        optional=("anchor", "seconds"),
    )


def _beta() -> dict[str, Schema]:
    """The answers in the flat shape, of which only what is not the session is described."""
    secret = record({"value": _text(pattern="^ek_"), "expires_at": _unix("not valid any more")})
    answer: Schema = {
        "type": "object",
        "required": ["id", "object", "client_secret"],
        "properties": {"id": _text(), "object": _text(), "client_secret": secret},
    }
    return {"BetaSessionWithSecret": answer}


def _bodies() -> dict[str, Schema]:
    target = _target()
    order = {"expires_after": {"oneOf": [_expiry(), {"type": "null"}]}, "session": _any_session()}
    return {
        "Dial": _dial(target),
        "Offer": record(
            {"sdp": _text("An offer of WebRTC."), "session": ref("RealtimeSession")},
            optional=("session",),
        ),
        "Reject": record(
            {
                "status_code": {
                    "type": ["integer", "null"],
                    "minimum": 300,
                    "maximum": 699,
                    "default": 603,
                },
                "sip_headers": _sip_headers(),
            },
            optional=("status_code", "sip_headers"),
        ),
        "HangUp": {"type": "object", "properties": {"sip_headers": _sip_headers()}},
        "SipHeader": record(
            {
                "name": _text("X-…, or one of a few that inform.", maxLength=64),
                "value": _text("One line of text.", maxLength=1024),
            }
        ),
        "Refer": _refer(target),
        "Press": record({"digits": {"type": "string", "pattern": "^[0-9*#A-Da-d,w]{1,64}$"}}),
        "ClientSecretOrder": record(order, optional=("expires_after", "session")),
    }


def _target() -> Schema:
    return _text("A telephone number or a SIP address.", examples=[*_TARGETS])


def _sip_headers() -> Schema:
    return {
        "type": ["array", "null"],
        "items": ref("SipHeader"),
        "maxItems": 32,
        "description": "An extension of ours: more headers of the SIP message that this sends.",
    }


def _dial(target: Schema) -> Schema:
    fields: dict[str, Schema] = {
        "to": target,
        "from": _or_null("string", "Who we say we are, of the same form as `to`."),
        "from_name": _or_null("string", "What stands beside that, for people."),
        "anonymous": _or_null("boolean", "Keep who we are from whoever is called."),
        "ring_timeout_s": _or_null(
            "number", "Ring at most this long, and no longer than the line lets calls ring."
        ),
        "sip_headers": _sip_headers(),
        "session": {"oneOf": [ref("RealtimeSession"), {"type": "null"}]},
    }
    return record(fields, optional=tuple(name for name in fields if name != "to"))


def _refer(target: Schema) -> Schema:
    other = _text(
        "An extension of ours: another call, in which the other side takes our place, or which is "
        "joined to this one. `target_uri` may then be left out."
    )
    both = record(
        {"target_uri": target, "replaces_call_id": other, "sip_headers": _sip_headers()},
        optional=("target_uri", "replaces_call_id", "sip_headers"),
    )
    return both | {"anyOf": [{"required": ["target_uri"]}, {"required": ["replaces_call_id"]}]}


def _any_session() -> Schema:
    return {"oneOf": [ref("RealtimeSession"), ref("TranscriptionSession")]}


def _answers() -> dict[str, Schema]:
    return {
        "Error": _error(),
        "Call": _call(),
        "CallList": record(
            {
                "object": _text(const="list"),
                "data": {"type": "array", "items": ref("Call")},
                "has_more": {"type": "boolean"},
                "first_id": _or_null("string"),
                "last_id": _or_null("string"),
            }
        ),
        "ClientSecret": record(
            {
                "value": _text(pattern="^ek_"),
                "expires_at": _unix("not valid any more"),
                "session": {"type": "object", "description": "The config in effect."},
            }
        ),
        "Softphone": _softphone(),
        "Health": record(
            {
                "status": _text(),
                "reason": _text(),
                "registrations": {"type": "array", "items": ref("Registration")},
                "trunks": {"type": "array", "items": ref("Trunk")},
            },
            optional=("reason", "registrations", "trunks"),
        ),
        "Registration": record(
            {
                "registrar": _text(),
                "state": _text(enum=["registering", "up", "down"]),
                "reason": _text(),
            },
            optional=("reason",),
        ),
        "Trunk": record(
            {
                "trunk": _text(),
                "state": _text(enum=["asking", "up", "down"]),
                "reason": _text(),
            },
            optional=("reason",),
        ),
    }


def _sessions() -> dict[str, Schema]:
    """The session configs, as the models that check them describe themselves."""
    _, definitions = models_json_schema(
        [
            (model, "validation")
            for model in (RealtimeSession, TranscriptionSession, BetaSession, BetaTranscription)
        ],
        ref_template="#/components/schemas/{model}",
    )
    described: dict[str, Schema] = _plain(definitions["$defs"])
    session = described["RealtimeSession"]
    fields = session["properties"] | {"sip_headers": _sip_headers()}
    return described | {"Accept": session | {"properties": fields}}


def _plain(schema: Any) -> Any:
    """Without titles that repeat names, and without defaults that only mean "may be left out"."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _plain(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and value is None)
    }


def schemas() -> dict[str, Schema]:
    """Every schema that the description refers to."""
    return _answers() | _bodies() | _beta() | _sessions()
