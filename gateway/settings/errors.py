"""Why the gateway does not start with these settings."""


class SettingsError(Exception):
    """One line that names the variable, what it held and what it may hold."""
