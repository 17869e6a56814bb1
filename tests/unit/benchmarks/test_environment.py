import csv
from pathlib import Path

import pytest

from benchmarks import environment


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_rows_follow_one_header(results: Path) -> None:
    for value in ("1", "2"):
        path = environment.append_row("speed", {"device": "a, b", "ms": value})
    assert path == results / "speed.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"device": "a, b", "ms": "1"}, {"device": "a, b", "ms": "2"}]


def test_a_row_with_other_columns_is_refused() -> None:
    path = environment.append_row("speed", {"ms": "1"})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="has the columns ms, but the row has seconds"):
        environment.append_row("speed", {"seconds": "1"})
    assert path.read_bytes() == before


def test_columns_name_the_environment() -> None:
    columns = environment.environment_columns(["numpy"], threads=2)
    assert list(columns) == ["date", "commit", "device", "threads", "versions"]
    assert all(columns.values())
    assert columns["threads"] == "2"
    assert "numpy=" in columns["versions"]


def test_outside_a_checkout_the_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_ROOT", tmp_path)
    assert environment.environment_columns([], threads=1)["commit"] == "unknown"
