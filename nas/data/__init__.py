"""Data sets: images with labels, in three parts that are fixed by a seed."""

from nas.data.dataset import ImageData, SearchData, Shuffle, Split, split_images
from nas.data.preprocessing import Preprocessing

__all__ = ["ImageData", "Preprocessing", "SearchData", "Shuffle", "Split", "split_images"]
