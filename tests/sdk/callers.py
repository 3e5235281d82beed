"""People who keep calling, so that there is always a call to do something about."""

import contextlib
import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from openai import APIStatusError, OpenAI

from tests.sdk.phone import CallingPhone
from tests.sdk.site import KEY, Site

_RINGING = 2
_TALKING = 2
_PAUSE_S = 0.02


class Callers:
    """There are two calls that ring and one that talks, or will be at once. Use as a context
    manager; nobody else may call meanwhile.

    A caller who is transferred is told that the target is busy, and comes back.

    Args:
        live: a file that is kept true: `{"ringing": [id, ...], "talking": [id, ...]}`.
    """

    def __init__(self, site: Site, live: Path) -> None:
        self._site = site
        self._live = live
        self._phones: dict[str, CallingPhone] = {}
        self._stop = threading.Event()
        self._full = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        came = self._full.wait(20)
        if not came:
            self.__exit__(None, None, None)
        assert came, "nobody calls"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with OpenAI(api_key=KEY, base_url=self._site.base_url) as client:
                while not self._stop.wait(_PAUSE_S):
                    over = [one for one, phone in self._phones.items() if phone.over.is_set()]
                    self._leave(over)
                    self._look_after(client)
        finally:
            self._leave(list(self._phones))

    def _look_after(self, client: OpenAI) -> None:
        ringing = [call_id for call_id, phone in self._phones.items() if phone.ringing]
        talking = [call_id for call_id, phone in self._phones.items() if phone.answered.is_set()]
        told = self._live.with_suffix(".new")
        told.write_text(json.dumps({"ringing": ringing, "talking": talking}))
        told.rename(self._live)
        if len(ringing) < _RINGING:
            self._call()
        elif not talking:
            with contextlib.suppress(APIStatusError):  # somebody was faster
                client.realtime.calls.accept(ringing[0], type="realtime")
        else:
            self._full.set()
        for call_id in talking[:-_TALKING]:
            self._phones[call_id].hang_up()

    def _call(self) -> None:
        phone = self._site.phone(transfer=486)
        phone.__enter__()
        call_id = json.loads(self._site.hooks.next().body)["data"]["call_id"]
        self._phones[call_id] = phone
        phone.wait_for_status(180)

    def _leave(self, calls: list[str]) -> None:
        for call_id in calls:
            self._phones.pop(call_id).__exit__(None, None, None)
