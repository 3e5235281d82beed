"""Prints `.env.example`: `python -m gateway.settings > .env.example`."""

from gateway.settings import example

print(example(), end="")
