"""Where a plan is run."""

from latency.devices.base import Device
from latency.devices.errands import Errand, NotMeasuredYet
from latency.devices.local import LocalDevice
from latency.devices.offline import OfflineDevice
from latency.devices.ssh import SshDevice

__all__ = ["Device", "Errand", "LocalDevice", "NotMeasuredYet", "OfflineDevice", "SshDevice"]
