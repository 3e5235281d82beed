"""Every setting of the gateway; see `settings.py`."""

from gateway.settings.errors import SettingsError
from gateway.settings.example import example
from gateway.settings.settings import Settings
from gateway.settings.values import PREFIX, is_loopback, split

__all__ = ["PREFIX", "Settings", "SettingsError", "example", "is_loopback", "split"]
