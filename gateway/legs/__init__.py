"""Legs: the other side of a call each, signalling plus media. The I/O shells of SIP and RTP."""
