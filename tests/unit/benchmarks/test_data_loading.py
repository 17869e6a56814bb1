"""The benchmark's rivals on a few small images, and its ratios."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.data_loading import CASES, Files, Turn, draw_images, measure, rows_of
from nas.data.image_folder import image_folder_data

SMALL = replace(CASES[1], images=40, batch=4, batches=2, width=90, height=70, resolution=32)


def test_a_ratio_is_of_one_round() -> None:
    case = replace(SMALL, augmentations=SMALL.augmentations[:1])
    (name, _), *_ = case.augmentations

    def turns(*seconds: float) -> list[Turn]:
        return [Turn(images=8, wall_s=second, processor_s=2 * second) for second in seconds]

    found = {
        "training": turns(4.0, 8.0, 16.0), name: turns(2.0, 2.0, 2.0),
        "loader": turns(3.0, 3.0, 3.0),
    }  # fmt: skip
    (row,) = rows_of(case, found)
    assert row["pipeline_per_s"] == "4"
    assert row["training_per_s"] == "1"
    assert (row["over_training"], row["over_loader"]) == ("4.00", "1.50")
    assert row["over_training_processor"] == "4.00"


def test_drawn_images_can_be_loaded_and_differ(tmp_path: Path) -> None:
    size = draw_images(tmp_path, SMALL, lambda *_: None)
    data = image_folder_data(path=str(tmp_path), seed=0)
    assert (len(data.train), data.class_names, data.notes) == (24, ("cat", "dog"), ())
    assert size == np.mean([file.stat().st_size for file in tmp_path.rglob("*.jpg")])
    assert len({Image.open(file).tobytes() for file in tmp_path.rglob("*.jpg")}) == 40


def test_the_peer_sees_the_same_files(tmp_path: Path) -> None:
    draw_images(tmp_path, SMALL, lambda *_: None)
    files = sorted(tmp_path.rglob("*.jpg"))
    image, label = Files(files, [1] * len(files), SMALL)[0]
    assert (image.shape, image.dtype, label) == ((3, 32, 32), torch.float32, 1)


def test_every_rival_has_a_turn_in_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_images(tmp_path, SMALL, lambda *_: None)
    data, heard = image_folder_data(path=str(tmp_path), seed=0), []
    # Its worker processes take longer to start than all of this.
    peer = list(data.train.batches(4, 32))
    monkeypatch.setattr("benchmarks.data_loading.loader_of", lambda *_: peer)
    found = measure(data, tmp_path, SMALL, 2, lambda done, total: heard.append((done, total)))
    names = ["training", *(name for name, _ in SMALL.augmentations), "loader"]
    assert sorted(found) == sorted(names)
    assert all(
        len(turns) == 2 and min(turn.per_s for turn in turns) > 0 for turns in found.values()
    )
    assert heard == [(turn, 15) for turn in range(1, 16)]
