"""What NVIDIA's driver says of a GPU's state, through the library that comes with it."""

import ctypes
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_CLOCK_SM = 1
_TEMPERATURE_GPU = 0
_SLOWED_DOWN = 0x08 | 0x20 | 0x40 | 0x80
"""nvmlClocksThrottleReason: hardware slowdown, software and hardware thermal slowdown, power brake.
Not the power cap: under it a GPU may run for ever."""

_TEXT_BYTES = 96


def load_nvml() -> Any:
    """The driver's library; None where there is none."""
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


class GpuSensors:
    """One GPU's clocks and temperature; None, False or nothing where the driver does not say.

    Args:
        uuid: the GPU's, with ``GPU-`` before it. Its number would not do: CUDA counts otherwise.
        nvml: the driver's library, or None.
    """

    def __init__(self, uuid: str, nvml: Any) -> None:
        self._nvml = nvml
        self._gpu = ctypes.c_void_p()
        if not self._succeeds("nvmlInit_v2") or not self._succeeds(
            "nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self._gpu)
        ):
            self._nvml = None

    def driver(self) -> str | None:
        """The driver's version."""
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        if not self._succeeds("nvmlSystemGetDriverVersion", text, _TEXT_BYTES):
            return None
        return text.value.decode(errors="replace")

    def max_mhz(self) -> int | None:
        """The highest clock of the multiprocessors."""
        return self._number("nvmlDeviceGetMaxClockInfo", _CLOCK_SM)

    def readings(self) -> dict[str, float]:
        """``mhz``, of the multiprocessors now, and ``celsius``."""
        found = {
            "mhz": self._number("nvmlDeviceGetClockInfo", _CLOCK_SM),
            "celsius": self._number("nvmlDeviceGetTemperature", _TEMPERATURE_GPU),
        }
        return {name: float(value) for name, value in found.items() if value}

    def throttled(self) -> bool:
        """Whether the clock is held down at this moment, for heat or by the power supply."""
        reasons = ctypes.c_ulonglong()
        name = "nvmlDeviceGetCurrentClocksThrottleReasons"
        if not self._succeeds(name, self._gpu, ctypes.byref(reasons)):
            return False
        return bool(reasons.value & _SLOWED_DOWN)

    def _number(self, function: str, which: int) -> int | None:
        value = ctypes.c_uint()
        if not self._succeeds(function, self._gpu, which, ctypes.byref(value)):
            return None
        return value.value

    def _succeeds(self, function: str, *arguments: object) -> bool:
        """Whether the library is there, has the function, and the function returns NVML_SUCCESS."""
        call = getattr(self._nvml, function, None)
        return call is not None and call(*arguments) == 0
