"""Connections that the gateway opens."""
