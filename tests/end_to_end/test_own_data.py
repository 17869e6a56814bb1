"""A person's own images, through a function outside the package: docs/my-data.md."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


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


def test_a_search_on_an_image_folder(tmp_path: Path, search_command, run_command) -> None:
    rng = np.random.default_rng(0)
    for number in range(120):
        kind, level = (("cat", 60), ("dog", 190))[number % 2]
        pixels = rng.normal(level, 25, (90, 120, 3)).clip(0, 255).astype(np.uint8)
        path = tmp_path / "pets" / kind / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=85)
    broken = tmp_path / "pets/cat/000.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    own = (
        "data=image_folder", f"data.path={tmp_path}/pets", f"data.scans={tmp_path}/scans",
        "trials=1", "final.epochs=10",
    )  # fmt: skip
    done = run_command(search_command(*own))
    assert done.returncode == 0, done.stderr
    assert "1 of 120 images of" in done.stdout
    assert "cannot be read and are skipped: cat/000.jpg" in done.stdout
    summary = json.loads((tmp_path / "runs/run/summary.json").read_text())
    assert (summary["data"]["name"], summary["data"]["test_images"]) == ("pets", 24)
    assert summary["accuracy"]["test"] > 0.9
    assert len(list((tmp_path / "scans").iterdir())) == 1


def test_a_search_on_a_dataset_of_torchs(tmp_path: Path, search_command, run_command) -> None:
    _write_pets(tmp_path, 60, 60)
    own = (
        "data=torch_dataset", "data.dataset._target_=pet_dataset.Pets",
        f"+data.dataset.folder={tmp_path}", "data.name=pets", "trials=1", "handover=false",
    )  # fmt: skip
    done = run_command(search_command(*own))
    assert done.returncode == 0, done.stderr


def test_a_class_without_pictures_is_named(tmp_path: Path, search_command, run_command) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "pets/cat/1.png")
    done = run_command(search_command("data=image_folder", f"data.path={tmp_path}/pets"))
    assert done.returncode == 2
    assert f"error: data: {tmp_path}/pets/dog holds no images" in done.stderr
    assert len(done.stderr.splitlines()) == 1
