"""The clinic file: YAML with positions, vendor profiles under it, typed, and every mistake at once."""

from hub.settings.load import Loaded, load_settings
from hub.settings.model import ConnectionSettings, FlowSettings, Settings, StepSettings

__all__ = ["ConnectionSettings", "FlowSettings", "Loaded", "Settings", "StepSettings", "load_settings"]
