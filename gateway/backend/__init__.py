"""The embedded agent: a Realtime server on loopback, so that a call needs no key and no network.

It speaks the GA protocol over a WebSocket like any other Realtime server, detects turns with
Silero, and answers by a dialogue written in TOML. `session.BackendSession` decides everything and
is pure; `server` is its shell; `run` is a whole process around it.
"""
