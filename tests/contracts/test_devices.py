"""What every device must do. A new device is a new fixture value."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from latency.devices import Device, LocalDevice, NotMeasuredYet, OfflineDevice
from latency.devices.base import DeviceError
from latency.keys import network_key
from latency.plan import (
    CALIBRATION,
    MeasureSettings,
    Progress,
    entry_builders,
    network_entry,
    no_progress,
    reference_network,
    steps_of,
    write_plan,
)
from latency.profile import describe
from latency.table import LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct

MakeDevice = Callable[..., Device]

NETWORK = Architecture(
    name="two",
    blocks=(ConvNormAct(out_channels=8, kernel=3), ClassifierHead(num_classes=10)),
    resolution=16,
)
ROUNDS = 2
SETTINGS = MeasureSettings(runs=3, min_rounds=ROUNDS, max_rounds=ROUNDS)
BUILDERS = entry_builders(steps_of([NETWORK]), {NETWORK: CALIBRATION}, SETTINGS)


class Carried(OfflineDevice):
    """The offline device, with somebody at hand who goes there at once. Here it is this machine."""

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        try:
            super().measure(plan, table, no_progress)
        except NotMeasuredYet as waiting:
            for errand in waiting.errands:
                LocalDevice(provider=self.provider).measure(errand.plan, errand.table, on_progress)
            super().measure(plan, table, no_progress)


@pytest.fixture(params=["local", "ssh", "offline"])
def make_device(request: pytest.FixtureRequest, make_header: Any, tmp_path: Path) -> MakeDevice:
    """``make_device(provider=…)`` → one and the same device."""
    if request.param == "local":
        return LocalDevice
    if request.param == "ssh":
        make: MakeDevice = request.getfixturevalue("ssh_login").device
        return make
    table = tmp_path / "offline" / "table.jsonl"
    table.parent.mkdir()
    table.write_text(json.dumps(make_header(**describe())) + "\n")
    return partial(Carried, table=table)


@pytest.fixture
def make_live_device(make_device: MakeDevice) -> MakeDevice:
    """The same, of those that measure while one waits."""
    if not make_device().is_live:
        pytest.skip("it measures nothing by itself")
    return make_device


def _write(path: Path, settings: MeasureSettings = SETTINGS) -> Path:
    write_plan(path, list(BUILDERS.values()), settings, no_progress)
    return path


class TestDevice:
    def test_it_measures_every_entry_into_a_table_under_its_description(
        self, make_device: MakeDevice, tmp_path: Path
    ) -> None:
        device, path = make_device(), tmp_path / "new" / "table.jsonl"
        device.measure(_write(tmp_path / "plan"), path, no_progress)
        table = LatencyTable.load(path)
        table.check(
            **device.describe(),
            **SETTINGS.table_fields,
            reference=network_key(reference_network()),
        )
        assert {entry.key for entry in table.entries} == BUILDERS.keys()
        for entry in table.entries:
            rounds = 2 * ROUNDS if entry.parts else ROUNDS  # whole networks twice as often
            assert (entry.rounds, entry.runs) == (rounds, 3 * rounds)
        expected = network_entry(NETWORK)
        measured = table.entry(expected.key)
        assert (measured.parts, measured.boundaries) == (expected.parts, expected.boundaries)

    def test_its_description_is_plain_data_and_stays(self, make_device: MakeDevice) -> None:
        description = make_device().describe()
        assert json.loads(json.dumps(description)) == description == make_device().describe()

    def test_its_name_is_good_in_a_path(self, make_device: MakeDevice) -> None:
        name = make_device().name
        assert name
        assert "/" not in name
        assert make_device(provider="CUDAExecutionProvider").name == f"{name}-cuda"

    def test_what_is_measured_already_is_not_measured_again(
        self, make_device: MakeDevice, tmp_path: Path
    ) -> None:
        plan, path = _write(tmp_path / "plan"), tmp_path / "table.jsonl"
        make_device().measure(plan, path, no_progress)
        before = path.read_bytes()
        make_device().measure(plan, path, no_progress)
        assert path.read_bytes() == before

    def test_it_says_how_far_it_is(self, make_live_device: MakeDevice, tmp_path: Path) -> None:
        steps: list[tuple[int, int]] = []
        make_live_device().measure(
            _write(tmp_path / "plan"),
            tmp_path / "table.jsonl",
            lambda done, total: steps.append((done, total)),
        )
        visits = ROUNDS * (len(BUILDERS) + 1)  # the whole network twice as often
        assert steps[0] == (0, visits)
        assert steps[-1] == (visits, visits)
        assert steps == sorted(steps)

    def test_a_failure_is_a_device_error_of_one_line(
        self, make_device: MakeDevice, tmp_path: Path
    ) -> None:
        plan, table = tmp_path / "plan", tmp_path / "table.jsonl"
        plan.write_text("no plan")
        with pytest.raises(DeviceError, match="is no plan") as caught:
            make_device().measure(plan, table, no_progress)
        assert "\n" not in str(caught.value)
        assert not table.exists()

    def test_a_provider_that_is_not_there_is_a_device_error_of_one_line(
        self, make_live_device: MakeDevice
    ) -> None:
        with pytest.raises(DeviceError, match="has no NoExecutionProvider; it has") as caught:
            make_live_device(provider="NoExecutionProvider").describe()
        assert "\n" not in str(caught.value)

    def test_a_table_of_other_settings_is_left_alone(
        self, make_device: MakeDevice, tmp_path: Path
    ) -> None:
        table = tmp_path / "table.jsonl"
        make_device().measure(_write(tmp_path / "plan"), table, no_progress)
        before = table.read_bytes()
        other = _write(tmp_path / "other", MeasureSettings(threads=2))
        with pytest.raises(DeviceError, match="threads is 1 there and 2 here"):
            make_device().measure(other, table, no_progress)
        assert table.read_bytes() == before

    def test_what_is_no_table_is_left_alone(self, make_device: MakeDevice, tmp_path: Path) -> None:
        file = tmp_path / "table.jsonl"
        file.write_text('{"somebody": "else"}')
        with pytest.raises(DeviceError, match="is no latency table"):
            make_device().measure(_write(tmp_path / "plan"), file, no_progress)
        assert file.read_text() == '{"somebody": "else"}'

    def test_an_interrupted_measurement_goes_on_at_once(
        self, make_live_device: MakeDevice, tmp_path: Path
    ) -> None:
        plan, table = _write(tmp_path / "plan"), tmp_path / "table.jsonl"

        def interrupt(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_live_device().measure(plan, table, interrupt)
        make_live_device().measure(plan, table, no_progress)
        assert len(LatencyTable.load(table)) == len(BUILDERS)
