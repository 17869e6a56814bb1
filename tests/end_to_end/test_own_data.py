"""A person's own images, through a function outside the package: docs/my-data.md."""

import json
from pathlib import Path

import numpy as np


def _write_pets(folder: Path, cats: int, dogs: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [cats, dogs])
    images = rng.integers(0, 100, (len(labels), 12, 12, 3), dtype=np.uint8)
    images[labels == 1] += 120  # dogs are brighter
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)


def test_a_search_on_own_images(tmp_path: Path, search_command, run_command) -> None:
    _write_pets(tmp_path, 60, 60)
    own = ("data=arrays", f"data.folder={tmp_path}", "trials=1", "final.epochs=20")
    done = run_command(search_command(*own))
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs/run/summary.json").read_text())
    assert summary["data"]["name"] == "pets"
    assert summary["data"]["test_images"] == 24
    assert summary["accuracy"]["test"] > 0.9


def test_a_class_with_too_few_images_is_named(tmp_path: Path, search_command, run_command) -> None:
    _write_pets(tmp_path, 60, 3)
    done = run_command(search_command("data=arrays", f"data.folder={tmp_path}"))
    assert done.returncode == 2
    assert "'dog' has 3" in done.stderr
    assert not (tmp_path / "runs/run").exists()


def test_a_folder_that_is_not_there(tmp_path: Path, search_command, run_command) -> None:
    done = run_command(search_command("data=arrays", f"data.folder={tmp_path}/nowhere"))
    assert done.returncode == 2
    assert f"{tmp_path}/nowhere/images.npy" in done.stderr
    assert "Traceback" not in done.stderr
