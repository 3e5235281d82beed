"""A yardstick: sippy, which answers every call at once. `python sippy_uas.py PORT`

Runs in any Python that has `sippy` installed, this project's or not.
"""

import sys

from buffers import widen_buffers
from sippy.CCEvents import CCEventConnect, CCEventRing, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipConf import SipConf
from sippy.SipTransactionManager import SipTransactionManager
from sippy.UA import UA

ANSWER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\n"
)


class Quiet:
    """A log that is not written."""

    def write(self, *args, **kwargs):
        pass


SipConf.my_address, SipConf.my_port = "127.0.0.1", int(sys.argv[1])
CONFIG = {
    "_sip_address": "127.0.0.1",
    "_sip_port": int(sys.argv[1]),
    "_sip_logger": Quiet(),
    "nh_addr": ("127.0.0.1", 9),
}


def told(event, ua):
    if isinstance(event, CCEventTry):
        ua.recvEvent(CCEventRing((180, "Ringing", None)))
        ua.recvEvent(CCEventConnect((200, "OK", MsgBody(ANSWER))))


def asked(request, transaction):
    if request.getHFBody("to").getTag() is not None:
        return request.genResponse(481, "Call Leg/Transaction Does Not Exist"), None, None
    if request.getMethod() == "INVITE":
        return UA(CONFIG, told).recvRequest(request, transaction)
    return request.genResponse(501, "Not Implemented"), None, None


CONFIG["_sip_tm"] = SipTransactionManager(CONFIG, asked)
widen_buffers()
print("ready", flush=True)
ED2.loop()
