"""The test phone behind `gateway call`: places a call, talks, presses keys, says what happened.

Tests use it as a library: `place_call` in `phone`, `CallOptions` in `options`, `CallResult` in
`result`. What a call does when is decided by `plan`, what it heard by `listener`, what it says by
`voice` and `uplink`; these know no clock and no socket. `sockets` and `phone` are the shell.
"""
