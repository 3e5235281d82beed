"""What schemathesis is told about the gateway that it tries; it loads this module by its name.

LIVE_CALLS: ids of calls that exist, with commas. Half of the requests about a call are about one
of them, the others about one that schemathesis makes up.
"""

import os
from typing import Any

import schemathesis

_LIVE = os.environ["LIVE_CALLS"].split(",")
_NOBODY = "sip:nobody@127.0.0.1:9"


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    call_id = (path_parameters or {}).get("call_id")
    if isinstance(call_id, str) and sum(call_id.encode(errors="replace")) % 2:
        path_parameters["call_id"] = _LIVE[len(call_id) % len(_LIVE)]
    return path_parameters


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Nobody outside of this machine is called, and no name is looked up."""
    if isinstance(body, dict):
        for name in ("to", "target_uri"):
            if isinstance(value := body.get(name), str) and value.lower().startswith("sip:"):
                body[name] = _NOBODY
    return body
