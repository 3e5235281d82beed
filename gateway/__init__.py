"""A phone line for realtime voice agents: SIP calls in, a Realtime session out."""
