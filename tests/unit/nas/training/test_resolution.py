"""The image size that a network is trained at."""

import pytest

from nas.training.resolution import image_size


@pytest.mark.parametrize(
    ("deployed", "full", "expected"),
    [
        (224, None, 32),
        (96, None, 32),
        (224, 224, 32),
        (192, 224, 27),  # 27.4
        (112, 224, 16),
        (448, 224, 64),
        (1, 224, 1),
    ],
)
def test_it_is_in_proportion_to_the_deployed_size(
    deployed: int, full: int | None, expected: int
) -> None:
    assert image_size(deployed, 32, full) == expected
