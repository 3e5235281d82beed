"""Peer connections: ICE, DTLS-SRTP and a data channel, over aiortc and aioice."""
