"""A yardstick: aiosipua, which answers every call at once. `python aiosipua_uas.py PORT`

Runs in any Python that has `aiosipua` installed, this project's or not.
"""

import asyncio
import sys

from aiosipua.sdp import parse_sdp
from aiosipua.transport import UdpSipTransport
from aiosipua.uas import SipUAS
from buffers import widen_buffers

ANSWER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\n"
)


async def main() -> None:
    answer = parse_sdp(ANSWER)
    uas = SipUAS(UdpSipTransport(local_addr=("127.0.0.1", int(sys.argv[1]))))

    def answered(call):
        call.ringing()
        call.accept(answer)

    uas.on_invite = answered
    await uas.start()
    widen_buffers()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
