"""Legs: one caller each, as signalling plus a media port. The I/O shells of SIP and RTP."""
