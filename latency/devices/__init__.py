"""Where a plan is run."""

from latency.devices.base import Device
from latency.devices.local import LocalDevice

__all__ = ["Device", "LocalDevice"]
