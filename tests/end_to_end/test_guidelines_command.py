"""A guideline's experiment on this machine, from the command line to the figure."""

import json
from pathlib import Path

import pytest

from latency import guidelines
from latency.guideline_graphs import GUIDELINES
from latency.table import LatencyTable


def test_it_measures_here_and_does_not_measure_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elementwise = GUIDELINES[-1]
    monkeypatch.setattr(guidelines, "GUIDELINES", (elementwise,))
    command = ["--runs", "3", "--min-rounds", "2", "--max-rounds", "2", "--out", str(tmp_path)]
    assert guidelines.main(command) == 0
    assert "G4: element-wise operations are not free" in capsys.readouterr().out
    path = tmp_path / "table.jsonl"
    table = LatencyTable.load(path)
    assert {elementwise.key(row, 4) for row in elementwise.rows} < {e.key for e in table.entries}
    (result,) = json.loads((tmp_path / "guidelines.json").read_text())["guidelines"]
    assert all(c["latency_ms"] > 0 for row in result["rows"] for c in row["columns"])
    assert (tmp_path / "G4.png").stat().st_size > 10_000
    measured = path.read_bytes()
    assert guidelines.main(command) == 0
    assert path.read_bytes() == measured
