"""What the driver of a GPU says, by a stand-in for its library."""

from typing import Any

import pytest

from latency.devices.nvml import GpuSensors

THERMAL, POWER_CAP = 0x20, 0x04


class Nvml:
    """NVML of one GPU; functions named in ``failing`` return an error."""

    def __init__(self, reasons: int = 0, failing: tuple[str, ...] = ()) -> None:
        self._reasons = reasons
        self._failing = failing

    def __getattr__(self, name: str) -> Any:
        numbers = {
            "nvmlDeviceGetMaxClockInfo": 1980,
            "nvmlDeviceGetClockInfo": 1755,
            "nvmlDeviceGetTemperature": 41,
            "nvmlDeviceGetCurrentClocksThrottleReasons": self._reasons,
        }

        def call(*arguments: Any) -> int:
            if name in self._failing:
                return 3
            if name == "nvmlDeviceGetHandleByUUID":
                return 0 if arguments[0] == b"GPU-1234" else 6
            if name == "nvmlSystemGetDriverVersion":
                arguments[0].value = b"550.54"
            elif name in numbers:
                arguments[-1]._obj.value = numbers[name]
            return 0

        return call


def test_the_driver_is_asked() -> None:
    sensors = GpuSensors("GPU-1234", Nvml())
    assert sensors.driver() == "550.54"
    assert sensors.max_mhz() == 1980
    assert sensors.readings() == {"mhz": 1755.0, "celsius": 41.0}


@pytest.mark.parametrize(
    ("reasons", "throttled"),
    [(0, False), (THERMAL, True), (POWER_CAP, False), (THERMAL | POWER_CAP, True)],
)
def test_heat_throttles_and_a_power_cap_does_not(reasons: int, throttled: bool) -> None:
    assert GpuSensors("GPU-1234", Nvml(reasons)).throttled() is throttled


@pytest.mark.parametrize(
    ("uuid", "nvml"),
    [("GPU-1234", None), ("GPU-5678", Nvml()), ("GPU-1234", Nvml(failing=("nvmlInit_v2",)))],
)
def test_without_an_answer_nothing_is_known(uuid: str, nvml: Nvml | None) -> None:
    sensors = GpuSensors(uuid, nvml)
    assert (sensors.driver(), sensors.max_mhz(), sensors.readings()) == (None, None, {})
    assert not sensors.throttled()


def test_one_sensor_may_be_missing() -> None:
    nvml = Nvml(THERMAL, failing=("nvmlDeviceGetTemperature", "nvmlSystemGetDriverVersion"))
    sensors = GpuSensors("GPU-1234", nvml)
    assert sensors.readings() == {"mhz": 1755.0}
    assert sensors.driver() is None
    assert sensors.throttled()
