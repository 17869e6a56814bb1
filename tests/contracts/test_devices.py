"""What every device must do. A new device is a new fixture value."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from latency.devices import Device, LocalDevice
from latency.devices.base import DeviceError
from latency.keys import OVERHEAD_KEY
from latency.plan import MeasureSettings, block_entry, network_entry, overhead_entry, write_plan
from latency.table import LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct

NETWORK = Architecture(
    name="two",
    blocks=(ConvNormAct(out_channels=8, kernel=3), ClassifierHead(num_classes=10)),
    resolution=16,
)
ENTRIES = [
    overhead_entry(),
    network_entry(NETWORK),
    *(block_entry(block, shape) for block, shape in NETWORK.walk()),
]


def _ignore(done: int, total: int) -> None:
    pass


def _write(path: Path, threads: int = 1) -> Path:
    settings = MeasureSettings(threads=threads, min_rounds=2, max_rounds=2)
    write_plan(path, [lambda entry=entry: entry for entry in ENTRIES], settings, _ignore)  # type: ignore[misc]
    return path


@pytest.mark.parametrize("make_device", [LocalDevice])
class TestDevice:
    def test_it_measures_every_entry_into_a_table_under_its_description(
        self, make_device: Callable[[], Device], tmp_path: Path
    ) -> None:
        device, path = make_device(), tmp_path / "new" / "table.jsonl"
        device.measure(_write(tmp_path / "plan"), path, _ignore)
        table = LatencyTable.load(path)
        table.check(**device.describe(), threads=1, batch=1, precision="fp32")
        assert len(table) == len(ENTRIES)
        for entry in ENTRIES:
            assert table.entry(entry.key).parts == entry.parts
            assert table.entry(entry.key).rounds == 2
        assert table.entry(OVERHEAD_KEY).ratio < 1

    def test_its_description_is_plain_data_and_stays(
        self, make_device: Callable[[], Device]
    ) -> None:
        description = make_device().describe()
        assert json.loads(json.dumps(description)) == description == make_device().describe()

    def test_what_is_measured_already_is_not_measured_again(
        self, make_device: Callable[[], Device], tmp_path: Path
    ) -> None:
        plan, path = _write(tmp_path / "plan"), tmp_path / "table.jsonl"
        make_device().measure(plan, path, _ignore)
        before = path.read_bytes()
        make_device().measure(plan, path, _ignore)
        assert path.read_bytes() == before

    def test_it_says_how_far_it_is(self, make_device: Callable[[], Device], tmp_path: Path) -> None:
        steps: list[tuple[int, int]] = []
        make_device().measure(
            _write(tmp_path / "plan"),
            tmp_path / "table.jsonl",
            lambda done, total: steps.append((done, total)),
        )
        assert steps[0] == (0, len(ENTRIES))
        assert steps[-1] == (len(ENTRIES), len(ENTRIES))
        assert steps == sorted(steps)

    def test_a_failure_is_a_device_error_of_one_line(
        self, make_device: Callable[[], Device], tmp_path: Path
    ) -> None:
        plan, table = tmp_path / "plan", tmp_path / "table.jsonl"
        plan.write_text("no plan")
        with pytest.raises(DeviceError, match="is no plan") as caught:
            make_device().measure(plan, table, _ignore)
        assert "\n" not in str(caught.value)
        assert not table.exists()

    def test_a_table_of_other_settings_is_left_alone(
        self, make_device: Callable[[], Device], tmp_path: Path
    ) -> None:
        table = tmp_path / "table.jsonl"
        make_device().measure(_write(tmp_path / "plan"), table, _ignore)
        before = table.read_bytes()
        with pytest.raises(DeviceError, match="threads is 1 there and 2 here"):
            make_device().measure(_write(tmp_path / "other", threads=2), table, _ignore)
        assert table.read_bytes() == before

    def test_an_interrupted_measurement_goes_on_at_once(
        self, make_device: Callable[[], Device], tmp_path: Path
    ) -> None:
        plan, table = _write(tmp_path / "plan"), tmp_path / "table.jsonl"

        def interrupt(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_device().measure(plan, table, interrupt)
        make_device().measure(plan, table, _ignore)
        assert len(LatencyTable.load(table)) == len(ENTRIES)
