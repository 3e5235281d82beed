"""The text of `.env.example`."""

from gateway.settings.settings import Settings


def example() -> str:
    """The text of `.env.example`."""
    lines = ["# Every setting of the gateway with its default. Made by: python -m gateway.settings"]
    later = ["", "# Names that are fixed already; this version takes only the default."]
    for name, meaning, default in Settings.variables():
        shown = str(default).lower() if isinstance(default, bool) else default
        line = f"{name}={shown}"
        if meaning.reserved:
            later.append(line)
        else:
            lines += ["", f"# {meaning.text} ({meaning.allowed})", line]
    return "\n".join(lines + later) + "\n"
