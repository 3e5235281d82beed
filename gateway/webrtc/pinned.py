"""Names of aiortc and aioice that are not theirs to keep, and that this room rests on."""

from importlib.metadata import version
from types import FunctionType
from typing import Final

from aioice import Connection
from aioice.ice import StunProtocol
from aioice.turn import TurnTransport
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcsctptransport import InboundStream, RTCSctpTransport

NAMES: Final[dict[type, tuple[str, ...]]] = {
    StunProtocol: ("local_candidate", "transport", "transactions", "send_stun", "send_data"),
    Connection: (
        "_check_list",
        "_closing",
        "_local_candidates",
        "_local_candidates_end",
        "_nominated",
        "_pair_remote_candidate",
        "_protocols",
        "_remote_candidates",
        "build_request",
        "check_complete",
        "check_incoming",
        "check_start",
        "check_start_task",
        "check_state",
        "protocol_lost",
        "query_consent",
        "respond_error",
    ),
    TurnTransport: (
        "_TurnTransport__close_task",
        "_TurnTransport__inner_protocol",
        "_TurnTransport__send_tasks",
    ),
    RTCDtlsTransport: (
        "_rx_srtp",
        "_send_data",
        "_set_role",
        "_ssl",
        "_state",
        "_task",
        "_tx_srtp",
        "_write_ssl",
    ),
    RTCSctpTransport: (
        "_advertised_rwnd",
        "_get_inbound_stream",
        "_handle_data",
        "_inbound_streams",
        "_inbound_streams_max",
        "_last_received_tsn",
        "_local_tsn",
        "_mark_received",
        "_outbound_queue",
        "_receive_chunk",
        "_sack_duplicates",
        "_sack_misordered",
        "_send_chunk",
        "_sent_queue",
    ),
    InboundStream: ("add_chunk", "pop_messages", "prune_chunks", "sequence_number"),
}
"""By the class that has them: methods, and what its constructor sets."""


def check_aiortc(names: dict[type, tuple[str, ...]] = NAMES) -> None:
    """Look whether the installed libraries are of the kind that this was written for.

    Raises:
        RuntimeError: they are not; a line that names them.
    """
    missing = [
        f"{owner.__module__}.{owner.__name__}.{name}"
        for owner, wanted in names.items()
        for name in wanted
        if name not in _names(owner)
    ]
    if missing:
        installed = f"aiortc {version('aiortc')} and aioice {version('aioice')}"
        raise RuntimeError(f"WebRTC cannot work with {installed}, which lack {', '.join(missing)}")


def _names(owner: type) -> set[str]:
    known = set(dir(owner)) | set(getattr(owner, "__annotations__", ()))
    constructor = owner.__dict__.get("__init__")
    if isinstance(constructor, FunctionType):
        known |= set(constructor.__code__.co_names)
    return known
