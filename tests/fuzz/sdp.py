"""A fuzzer for what reads SDP: offers and answers, of telephones and of browsers.

`python -m tests.fuzz.sdp --seconds 300`; see `tests.fuzz.sip`.
"""

from tests.fuzz.target import begin, instrumented

with instrumented():
    from gateway.sdp.answer import answer, plan_from_answer
    from gateway.sdp.description import SdpError, parse
    from gateway.sdp.plan import LocalMedia
    from gateway.sdp.webrtc import read_offer
    from tests.sdp.samples import NAMES, sample
    from tests.sdp.webrtc_offers import CODECS
    from tests.sdp.webrtc_offers import NAMES as BROWSERS
    from tests.sdp.webrtc_offers import offer as browser_offer

LOCAL = LocalMedia(host="192.0.2.10", port=20_000, session_id=77)


def one_input(data: bytes) -> None:
    """Whatever is agreed to can be said, and is understood as it was meant."""
    try:
        description = parse(data)
    except SdpError:
        return
    try:
        made, _ = answer(description, LOCAL)
        assert parse(made.to_bytes()) == made
    except SdpError:
        pass
    for read in (
        lambda: plan_from_answer(description, LOCAL),
        lambda: read_offer(description, CODECS),
    ):
        try:
            read()
        except SdpError:
            continue


if __name__ == "__main__":
    begin(one_input, [*map(sample, NAMES), *(browser_offer(name).encode() for name in BROWSERS)])
