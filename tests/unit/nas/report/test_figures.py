"""The Pareto figure: a picture that opens, of what the table holds."""

import io

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from nas.report.figures import draw_pareto

TRIALS = pd.DataFrame(
    {
        "number": [0, 1, 2, 3],
        "latency_ms": [10.0, 14.0, 12.0, 20.0],
        "accuracy": [0.5, 0.7, 0.4, 0.9],
        "pareto": [True, True, False, True],
    }
)
RED, ORANGE, BLUE = (0xB3, 0x26, 0x1E), (0xE0, 0x8A, 0x00), (0x1F, 0x5F, 0xBF)


def _picture(png: bytes) -> NDArray[np.uint8]:
    pixels = matplotlib.image.imread(io.BytesIO(png), format="png")
    return (255 * pixels[..., :3]).round().astype(np.uint8)


def _columns(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.intp]:
    """Where, from left to right, the colour is, without the legend in the right lower corner."""
    height, width, _ = picture.shape
    found = (picture == np.array(colour)).all(axis=-1)
    found[height // 2 :, width // 2 :] = False
    return np.flatnonzero(found.any(axis=0))


def test_the_picture_opens_and_has_its_size() -> None:
    png = draw_pareto(TRIALS, target_ms=15.0, winner=1, base=0, base_name="base network")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    # 7.5 × 4.6 inches at 150 dots an inch.
    assert _picture(png).shape == (690, 1125, 3)


def test_target_winner_and_front_are_drawn_where_they_are() -> None:
    picture = _picture(draw_pareto(TRIALS, target_ms=15.0, winner=1, base=0, base_name="base"))
    target, winner, front = (_columns(picture, colour) for colour in (RED, ORANGE, BLUE))
    # 10, 14, 15 and 20 ms, from left to right and to scale.
    left, right = front.min() + 5, front.max() - 5
    assert (target.mean() - left) / (right - left) == pytest.approx(0.5, abs=0.03)
    assert (winner.mean() - left) / (right - left) == pytest.approx(0.4, abs=0.03)


def test_a_base_network_that_could_not_be_trained_is_not_in_the_legend() -> None:
    with_base = draw_pareto(TRIALS, target_ms=15.0, winner=1, base=0, base_name="base")
    without = draw_pareto(TRIALS, target_ms=15.0, winner=1, base=None, base_name="base")
    black = [int((_picture(png) == 0).all(axis=-1).sum()) for png in (with_base, without)]
    assert black[1] < black[0]
    other_name = draw_pareto(TRIALS, target_ms=15.0, winner=1, base=None, base_name="another")
    assert other_name == without


def test_one_trial_is_enough() -> None:
    png = draw_pareto(TRIALS[:1], target_ms=15.0, winner=0, base=0, base_name="base")
    assert len(_columns(_picture(png), ORANGE)) > 0
