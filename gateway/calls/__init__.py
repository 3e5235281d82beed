"""Calls: one call from first ring to last byte, and all calls of the process."""
