"""`gateway call URI`: the test phone on the command line.

Exit status: 0 the call was answered and a voice came back, 1 it was not, 2 bad arguments.
"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Final

from gateway.phone.options import CallOptions, default_voice
from gateway.phone.phone import place_call
from gateway.phone.plan import Plan
from gateway.phone.result import CallResult
from gateway.phone.timeline import Moment
from gateway.phone.wavefile import WavError, read_wav, recording, write_wav

_BAD_ARGUMENTS: Final = 2
_WORDS: Final = {
    "ringing": "ringing ({})",
    "answered": "answered, {}",
    "voice": "the far end speaks",
    "silence": "the far end is silent",
    "speaking": "we speak",
    "interrupting": "we interrupt",
    "spoken": "we are silent",
    "digit": "key {}",
    "digit_not_sent": "key {} not sent: the far end takes no telephone-events",
    "hold": "we put the far end on hold",
    "resume": "we take the far end back",
    "hold_refused": "refused ({})",
    "session_changed": "audio is now {}",
    "hang_up": "we hang up",
    "ended": "over: {}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `gateway call`."""
    parser.description = "Place a call, do what a caller does, and say what happened and when."
    parser.epilog = "Exit status: 0 answered and a voice came back, 1 not so, 2 bad arguments."
    parser.add_argument(
        "uri", help="sip:agent@127.0.0.1:5060, with ;transport=tcp for TCP instead of UDP"
    )
    says = parser.add_mutually_exclusive_group()
    says.add_argument(
        "--play",
        type=Path,
        metavar="FILE",
        help="say this WAV (16 bit; 8, 16, 24 or 48 kHz) instead of a speech-like sound",
    )
    says.add_argument("--silent", action="store_true", help="say nothing")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--speak-after",
        type=float,
        metavar="S",
        help="speak S seconds after the answer; default: when the far end pauses, or in the end",
    )
    when.add_argument(
        "--interrupt-after",
        type=float,
        metavar="S",
        help="speak into its voice S seconds after the far end was first heard",
    )
    parser.add_argument("--dtmf", default="", metavar="KEYS", help="keys to press: 0-9 * # A-D")
    parser.add_argument(
        "--dtmf-after",
        type=float,
        metavar="S",
        help="press them S seconds after the answer; default: shortly into the greeting",
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what was heard as WAV")
    parser.add_argument(
        "--duration", type=float, default=10.0, metavar="S", help="hang up after S seconds (10)"
    )
    parser.add_argument(
        "--answer-timeout", type=float, default=30.0, metavar="S", help="let it ring for S (30)"
    )
    parser.add_argument("--codec", choices=("pcmu", "pcma"), help="offer this one only")
    parser.add_argument(
        "--from", dest="caller", default="phone", metavar="WHO", help="a number, name or sip URI"
    )
    parser.add_argument("--late-offer", action="store_true", help="send the INVITE without SDP")
    parser.add_argument(
        "--hold-after", type=float, metavar="S", help="hold the call S seconds after the answer"
    )
    parser.add_argument(
        "--hold-for", type=float, default=2.0, metavar="S", help="and take it back after S (2)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of the timeline"
    )


def run(options: argparse.Namespace) -> int:
    """Carry out `gateway call`; returns the exit status."""
    try:
        call = _call_options(options)
        if options.record is not None:
            # Better known now than after the call. Nothing is written yet: an older recording stays
            # until there is another, and a pipe gets one header.
            options.record.open("ab").close()
    except (ValueError, WavError) as error:
        print(f"gateway call: error: {error}", file=sys.stderr)
        return _BAD_ARGUMENTS
    except OSError as error:
        print(f"gateway call: error: {options.record}: {error.strerror}", file=sys.stderr)
        return _BAD_ARGUMENTS
    result = asyncio.run(_place(call, live=not options.json))
    if options.json:
        print(json.dumps(result.to_json()))
    else:
        _print_summary(result)
    if result.error is not None:
        print(f"gateway call: {result.error}", file=sys.stderr)
    if options.record is not None:
        try:
            write_wav(options.record, recording(result.received, result.codec or "pcmu"))
        except OSError as error:
            print(f"gateway call: {options.record}: {error.strerror}", file=sys.stderr)
            return 1
    return 0 if result.ok else 1


def _call_options(options: argparse.Namespace) -> CallOptions:
    if options.silent:
        voice = b""
    elif options.play is not None:
        voice = read_wav(options.play)
    else:
        voice = default_voice()
    plan = Plan(
        duration_s=options.duration,
        speak_after_s=options.speak_after,
        interrupt_after_s=options.interrupt_after,
        digits=options.dtmf.upper(),
        digits_after_s=options.dtmf_after,
        hold_after_s=options.hold_after,
        hold_s=options.hold_for,
    )
    return CallOptions(
        uri=options.uri,
        plan=plan,
        voice=voice,
        caller=options.caller,
        codecs=("pcmu", "pcma") if options.codec is None else (options.codec,),
        late_offer=options.late_offer,
        answer_timeout_s=options.answer_timeout,
    )


async def _place(call: CallOptions, *, live: bool) -> CallResult:
    """Place the call; Ctrl-C and SIGTERM hang up."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if live:
        print(f"{0:9.3f} s  calling {call.uri}", flush=True)
    return await place_call(call, on_moment=_print_moment if live else None, stop=stop)


def _print_moment(moment: Moment) -> None:
    words = _WORDS[moment.event].format(moment.detail)
    print(f"{moment.at_s:9.3f} s  {words}", flush=True)


def _print_summary(result: CallResult) -> None:
    if result.rtp is not None:
        rtp = result.rtp
        print(
            f"packets: {rtp.received} received, {rtp.lost} lost, {rtp.sent} sent; "
            f"jitter {rtp.jitter_ms:.1f} ms"
        )
    if result.setup_s is not None and result.first_audio_s is not None:
        print(
            f"answered after {result.setup_s * 1000:.0f} ms, "
            f"first voice after {result.first_audio_s * 1000:.0f} ms"
        )
    if result.interrupted_s is not None:
        latency_s = result.stop_latency_s
        if latency_s is None:
            print("the interruption stopped no voice")
        else:
            print(f"the voice stopped {latency_s * 1000:.0f} ms after the interruption began")
