"""Every setting of the gateway; see `settings.py`."""

from gateway.settings.example import example
from gateway.settings.settings import PREFIX, Settings, SettingsError, is_loopback
from gateway.settings.values import split

__all__ = ["PREFIX", "Settings", "SettingsError", "example", "is_loopback", "split"]
