"""Fish Audio's compatible endpoint: GA names around its voice, without anybody who listens.

From docs.fish.audio ("Realtime protocol reference", "Migrate from OpenAI") and reports of clients.

* PCM of several rates; `audio/pcmu` and `audio/pcma` are refused by name.
* There is no voice detection: it speaks when it is asked to, and what it hears is written down when
  it is committed.
* One response at a time, with an error code of its own; an unknown event is `unknown_event_type`.
* `conversation.item.truncate` is taken, has no effect and no answer.
"""

from typing import Any, ClassVar

from tests.peers.servers.ga import FIELDS, GAServer
from tests.peers.servers.server import KEY, Door, Event, Wrong

_CODES = {"conversation_already_has_active_response": "response_already_active"}


class Fish(GAServer):
    door: ClassVar = Door("/compat/v1/realtime", (("authorization", f"Bearer {KEY}"),))
    fields: ClassVar = {name: FIELDS[name] for name in FIELDS if not name.endswith("retrieve")}
    formats: ClassVar = {"pcm": (8000, 16_000, 24_000, 32_000, 44_100)}
    hears_turns: ClassVar = False
    truncates: ClassVar = False
    tells_limits: ClassVar = False

    async def say(self, kind: str, **fields: Any) -> None:
        if kind.startswith("session."):
            self.session["audio"]["input"]["turn_detection"] = None
        await super().say(kind, **fields)

    async def refuse(self, wrong: Wrong, event: Event) -> None:
        if wrong.fields["param"] == "type":
            wrong.fields["code"] = "unknown_event_type"
        wrong.fields["code"] = _CODES.get(wrong.fields["code"], wrong.fields["code"])
        await super().refuse(wrong, event)

    async def truncate(self, event: Event) -> None:
        """Nothing."""
