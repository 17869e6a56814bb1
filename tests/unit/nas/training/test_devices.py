"""Several processes train as one does; on CPUs, through gloo."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.data import MemorySplit
from nas.training import TrainSettings, train
from nas.training.devices import Team, alone

ROOT = Path(__file__).resolve().parents[4]
SCRIPT = Path(__file__).with_name("ddp_script.py")


def _run(devices: int, folder: Path) -> list[dict[str, Any]]:
    """What each process found; Fabric starts the others."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, str(SCRIPT), str(devices), str(folder)],
        env=environment,
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return [torch.load(folder / f"found_{rank}.pt", weights_only=True) for rank in range(devices)]


def test_two_processes_train_as_one_does_on_the_same_batches(tmp_path: Path) -> None:
    together = _run(2, tmp_path / "two")
    (tmp_path / "one").mkdir()
    runpy.run_path(str(SCRIPT))["main"](1, tmp_path / "one")
    alone = torch.load(tmp_path / "one" / "found_0.pt", weights_only=True)
    assert [found["ranks"] for found in together] == [2, 2]
    for found in together:
        assert found["losses"] == pytest.approx(alone["losses"], abs=1e-5)
        assert found["accuracy"] == alone["accuracy"]
        for name, value in alone["model"].items():
            torch.testing.assert_close(found["model"][name], value, rtol=1e-4, atol=1e-5)
    assert alone["losses"][-1] < alone["losses"][0]
    state = torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)["state"]
    assert state["step"] == 9


class _Ranks:
    """What ``Team`` asks of Fabric, of a process among several."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.global_rank, self.world_size = rank, world_size
        self.device = torch.device("cpu")


def test_the_shares_of_a_batch_are_all_of_it() -> None:
    batch = torch.arange(6)
    shares = [Team(_Ranks(rank, 3)).share(batch).tolist() for rank in range(3)]  # type: ignore[arg-type]
    assert shares == [[0, 3], [1, 4], [2, 5]]


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    data = MemorySplit(images=torch.zeros(7, 3, 8, 8), labels=torch.zeros(7, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"a batch of 7 cannot be shared by 2 devices; give a"):
        train(
            nn.Linear(1, 1),
            data,
            TrainSettings(epochs=1, batch_size=16),
            resolution=8,
            seed=0,
            on_step=lambda *_: None,
            team=Team(_Ranks(0, 2)),  # type: ignore[arg-type]
        )


def test_a_team_of_one_costs_next_to_nothing() -> None:
    """Every proxy training makes one; the first loads Fabric."""
    settings = TrainSettings(epochs=1)
    alone(settings)
    begun = time.process_time()
    for _ in range(5):
        alone(settings)
    assert (time.process_time() - begun) / 5 < 0.2
