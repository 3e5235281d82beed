"""The benchmark: what a call costs the gateway, and how late its packets are.

`python -m bench` runs three programs beside the gateway, all on loopback: a load generator that is
many callers (`load`), a Realtime server that is just fast enough (`model`), and, when the gateway
is done, the plainest relay between the two as a yardstick for this machine (`relay`). Gateway and
relay have one core to themselves; the tools share the others, and report their own lateness so that
a slow tool cannot pass for a slow gateway.
"""
