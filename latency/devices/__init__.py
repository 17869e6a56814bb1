"""Where a plan is run."""

from latency.devices.base import Device
from latency.devices.local import LocalDevice
from latency.devices.ssh import SshDevice

__all__ = ["Device", "LocalDevice", "SshDevice"]
