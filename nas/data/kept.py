"""Decoded images that are kept, at the size that they were wanted at."""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 256 << 20
"""In each process, of each data set."""


class KeptCuts:
    """Bytes ``(resolution, resolution, 3)`` by image and resolution, until there is no room."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = self._room = most_bytes
        self._cuts: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._lock = Lock()

    def get(self, row: int, resolution: int) -> NDArray[np.uint8] | None:
        """The image, if it is kept."""
        return self._cuts.get((row, resolution))

    def put(self, row: int, resolution: int, pixels: NDArray[np.uint8]) -> None:
        """Keep an image, if there is room."""
        with self._lock:
            if pixels.nbytes <= self._room and (row, resolution) not in self._cuts:
                self._cuts[row, resolution] = pixels
                self._room -= pixels.nbytes

    def __reduce__(self) -> tuple[type["KeptCuts"], tuple[int]]:
        """In another process there are none yet."""
        return KeptCuts, (self._most_bytes,)
