"""What schemathesis is told about the gateway that it tries; it loads this module by its name.

Every second request about a call is about one that exists and is in the state for it, the others
about one that schemathesis makes up.

LIVE_CALLS: a file, kept by `tests.sdk.callers`, with the ids of the calls that there are now.
ANSWERS: a file for what was answered, a line each: the method, the path as it is described, the
status.
"""

import itertools
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import schemathesis

_LIVE = Path(os.environ["LIVE_CALLS"])
_ANSWERS = open(os.environ["ANSWERS"], "w", buffering=1)
_REACHABLE = {"to": "sip:nobody@127.0.0.1:9", "target_uri": "tel:+15550001111"}
"""Stand for every SIP address, so that nobody outside of this machine is called and no name is
looked up; and for every second text, which would hardly ever be an address."""
_STATES = {"accept": ("ringing",), "reject": ("ringing",), "refer": ("talking",)}
_turns: "defaultdict[str, itertools.count[int]]" = defaultdict(itertools.count)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    path = case.operation.path
    if "{call_id}" in path and (turn := next(_turns[path])) % 2 == 0:
        states = _STATES.get(path.rsplit("/", 1)[1], ("talking", "ringing"))
        now = json.loads(_LIVE.read_text())
        if live := [call_id for state in states for call_id in now[state]]:
            case.path_parameters["call_id"] = live[turn // 2 % len(live)]
    if isinstance(case.body, dict):
        for name, reachable in _REACHABLE.items():
            if isinstance(value := case.body.get(name), str) and (
                value.lower().startswith("sip:") or next(_turns[name]) % 2 == 0
            ):
                case.body[name] = reachable


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    _ANSWERS.write(f"{case.method} {case.operation.path} {response.status_code}\n")
