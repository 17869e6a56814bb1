"""A device that somebody has to go to: what is asked for, and what is taken when it is brought."""

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from latency.devices.base import DeviceError
from latency.devices.errands import Errand, NotMeasuredYet
from latency.devices.offline import OfflineDevice
from latency.keys import network_key
from latency.plan import (
    CALIBRATION,
    MeasureSettings,
    entry_builders,
    no_progress,
    steps_of,
    write_plan,
)
from latency.profile import Plan
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct

Record = dict[str, Any]

NETWORK = Architecture(
    name="two",
    blocks=(ConvNormAct(out_channels=8, kernel=3), ClassifierHead(num_classes=10)),
    resolution=16,
)
SETTINGS = MeasureSettings(min_rounds=2)
BUILDERS = entry_builders(steps_of([NETWORK]), {NETWORK: CALIBRATION}, SETTINGS)
KEYS = list(BUILDERS)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Of four entries: two blocks, the boundary between them, and the network."""
    path = tmp_path / "wanted.zip"
    write_plan(path, list(BUILDERS.values()), SETTINGS, no_progress)
    return path


@pytest.fixture
def write_table(
    make_header: Callable[..., Record], make_visit: Callable[..., Record], plan: Path
) -> Callable[..., Path]:
    """``write_table(path, keys, threads=2)``: as many visits of them as the plan asks for."""

    def write(path: Path, keys: Sequence[str] = KEYS, **header: Any) -> Path:
        with Plan(plan) as content:
            entries = {entry["key"]: entry for entry in content.entries}
        lines = [make_header(**header)]
        for number, key in enumerate(keys):
            fields = {
                n: entries[key][n] for n in ("role", "parts", "boundaries") if n in entries[key]
            }
            rounds = range(4 if key == network_key(NETWORK) else 2)
            lines += [make_visit(key, 1.0, 10.0 * at + number, **fields) for at in rounds]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def _errand(device: OfflineDevice, plan: Path, table: Path) -> Errand:
    with pytest.raises(NotMeasuredYet) as caught:
        device.measure(plan, table, no_progress)
    (errand,) = caught.value.errands
    return errand


def _refusal(device: OfflineDevice, plan: Path, table: Path) -> str:
    with pytest.raises(DeviceError) as caught:
        device.measure(plan, table, no_progress)
    assert not isinstance(caught.value, NotMeasuredYet)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_there_is_asked_for(plan: Path, tmp_path: Path) -> None:
    table = tmp_path / "tables" / "phone.jsonl"
    errand = _errand(OfflineDevice(table=table), plan, table)
    beside = tmp_path / "tables" / "phone.plan"
    assert errand == Errand(plan=beside, table=table, is_begun=False, missing=4)
    assert beside.read_bytes() == plan.read_bytes()
    assert [path.name for path in table.parent.iterdir()] == ["phone.plan"]


def test_what_is_there_is_not_asked_for_again(
    plan: Path, tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    table = write_table(tmp_path / "phone.jsonl", KEYS[:3])
    device = OfflineDevice(table=table)
    shown: list[tuple[int, int]] = []
    with pytest.raises(NotMeasuredYet) as caught:
        device.measure(plan, table, lambda *update: shown.append(update))
    (errand,) = caught.value.errands
    assert (errand.missing, errand.is_begun, shown) == (1, True, [(3, 4)])
    write_table(table)
    (tmp_path / "phone.plan").unlink()
    device.measure(plan, table, no_progress)
    assert not (tmp_path / "phone.plan").exists()


def test_a_torn_line_is_asked_for_again_and_a_torn_header_is_no_table(
    plan: Path, tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    table = write_table(tmp_path / "phone.jsonl")
    device, content = OfflineDevice(table=table), table.read_bytes()
    table.write_bytes(content[:-20])
    assert _errand(device, plan, table).missing == 1
    table.write_bytes(content[:20])
    assert _errand(device, plan, table) == Errand(
        plan=table.with_suffix(".plan"), table=table, is_begun=False, missing=4
    )
    with pytest.raises(DeviceError, match="holds no table yet"):
        device.describe()


def test_other_tables_are_those_of_the_same_device(
    plan: Path, tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    device = OfflineDevice(table=write_table(tmp_path / "phone.jsonl", KEYS[:1]))
    finalists = write_table(tmp_path / "run" / "finalists.jsonl")
    device.measure(plan, finalists, no_progress)
    write_table(finalists, device={"cpu": "another one"})
    assert "finalists.jsonl was measured otherwise: device is {'cpu': 'another one'} there" in (
        _refusal(device, plan, finalists)
    )
    write_table(finalists, threads=4)
    assert "threads is 4 there and 1 here; bring the table" in _refusal(device, plan, finalists)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"notes of mine\n", "line 1"),
        (b"notes of mine", "is no latency table"),
        (b'{"format": "chronas-latency-table", "version": 3}\n{"key": NaN}\n', "line 2"),
    ],
)
def test_what_is_no_table_is_refused_and_left(
    plan: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    table = tmp_path / "phone.jsonl"
    table.write_bytes(content)
    assert message in _refusal(OfflineDevice(table=table), plan, table)
    assert table.read_bytes() == content


def test_what_is_no_plan_is_not_written_over(plan: Path, tmp_path: Path) -> None:
    table, mine = tmp_path / "phone.jsonl", tmp_path / "phone.plan"
    mine.write_text("a plan for the weekend")
    with pytest.raises(ValueError, match=r"phone\.plan is there already and is no plan; move it"):
        OfflineDevice(table=table).measure(plan, table, no_progress)
    assert mine.read_text() == "a plan for the weekend"


def test_its_table_says_what_it_is(
    tmp_path: Path, write_table: Callable[..., Path], make_header: Callable[..., Record]
) -> None:
    table = write_table(tmp_path / "phone.jsonl")
    header, fields = make_header(), ("device", "runtime", "runtime_version", "provider")
    assert OfflineDevice(table=table).describe() == {name: header[name] for name in fields}
    with pytest.raises(DeviceError, match=r"with 'CPUExecutionProvider', not with CUDAExec"):
        OfflineDevice(table=table, provider="CUDAExecutionProvider").describe()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"device": "a phone"}, "line 1: device must be an object, but is 'a phone'"),
        ({"provider": ["CPU"]}, "line 1: provider must be a name"),
        ({"reference": "another"}, "beside another reference network, 'another'"),
        ({"version": 2}, "line 1: no header of a latency table of this version"),
    ],
)
def test_a_header_that_cannot_be_is_refused(
    tmp_path: Path, write_table: Callable[..., Path], header: Record, message: str
) -> None:
    device = OfflineDevice(table=write_table(tmp_path / "phone.jsonl", **header))
    with pytest.raises(DeviceError) as caught:
        device.describe()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_its_table_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        OfflineDevice(table=tmp_path / "phone.jsonl").describe()
    for words in (
        f"{tmp_path}/phone.jsonl is not there yet",
        f"`python -m latency.plan --space … --out {tmp_path}/phone.plan`",
        "`python profile.py phone.plan --out phone.jsonl`",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("table", [None, "", "tables/phone.plan", 3])
def test_it_has_a_table(table: Any) -> None:
    with pytest.raises(ValueError, match=r"^table must be the file .* like table=tables/phone"):
        OfflineDevice(table=table)


PHONE = Errand(
    plan=Path("tables/phone.plan"), table=Path("tables/phone.jsonl"), is_begun=False, missing=53
)
FINALISTS = Errand(
    plan=Path("runs/a b/best.plan"),
    table=Path("runs/a b/best.jsonl"),
    is_begun=True,
    missing=1,
    provider="XnnpackExecutionProvider",
)


def test_an_errand_says_each_step_in_one_line() -> None:
    assert str(NotMeasuredYet([PHONE])) == (
        "tables/phone.jsonl lacks 53 entries: copy tables/phone.plan and latency/profile.py to the "
        "device, run `python profile.py phone.plan --out phone.jsonl` there, copy phone.jsonl back "
        "to tables/phone.jsonl, and give the same command again, which goes on where it was"
    )
    assert str(NotMeasuredYet([PHONE, FINALISTS])) == (
        "tables/phone.jsonl lacks 53 entries and runs/a b/best.jsonl lacks 1 entry: copy "
        "tables/phone.plan, runs/a b/best.plan, runs/a b/best.jsonl and latency/profile.py to the "
        "device, run `python profile.py phone.plan --out phone.jsonl` and `python profile.py "
        "best.plan --out best.jsonl --provider XnnpackExecutionProvider` there, copy phone.jsonl "
        "back to tables/phone.jsonl and best.jsonl back to runs/a b/best.jsonl, and give the same "
        "command again, which goes on where it was"
    )


def test_two_errands_are_one_way() -> None:
    def wait_for_both() -> None:
        raise NotMeasuredYet([FINALISTS, PHONE])

    first = NotMeasuredYet([PHONE])
    assert first.along_with(lambda: None) is first
    both = first.along_with(wait_for_both)
    assert both.errands == (PHONE, FINALISTS)
    assert str(pickle.loads(pickle.dumps(both))) == str(both)
