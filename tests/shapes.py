"""Pictures that a small network can learn to tell apart."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 32
COLOURS = {"disc": (220, 150, 60), "square": (190, 170, 80)}


def draw_shapes(folder: Path, each: int, seed: int) -> list[Path]:
    """So many JPEGs of discs and of squares in noise, in a folder for each class."""
    rng = np.random.default_rng(seed)
    paths = []
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            image = Image.fromarray(rng.integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8))
            left, top = rng.integers(2, 12, 2).tolist()
            draw = ImageDraw.Draw(image)
            shape = draw.ellipse if name == "disc" else draw.rectangle
            shape((left, top, left + 16, top + 16), fill=colour)
            paths.append(folder / name / f"{number}.jpg")
            image.save(paths[-1], quality=92)
    return paths
