"""A SIP user agent as a state machine: messages in, messages and call events out. Pure.

From the wire up: `message`, `uri`, `headers`, `parse` and `stream` know what a message is;
`transaction` and `layer` see one request and its answers through; `dialog` is what two agents
remember of each other; `asking` sees a call's requests through, with the proofs of `auth` where a
trunk wants one; `call`, `uas` and `uac` are the life of a call, `invites` and `refer` what goes on
in it; `screening` says what cannot be served; `agent` is what the rest of the gateway talks to, by
the words of `config` and `events`.
"""
