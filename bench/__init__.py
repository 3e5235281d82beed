"""The benchmark: what a call costs the gateway, and how late its packets are.

`python -m bench` runs three programs beside the gateway: a load generator that is many callers,
over SIP or over WebRTC (`load`), a Realtime server that is just fast enough (`model`), and, when
the gateway is done, a yardstick for this machine in its place: the plainest relay between the two
(`relay`), or an echo server of stock aiortc (`stock`). Nothing leaves this machine. Gateway and
yardsticks have one core to themselves; the tools share the others, and report their own lateness so
that a slow tool cannot pass for a slow gateway.
"""
