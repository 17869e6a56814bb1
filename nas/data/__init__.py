"""Data sets: images with labels, in three parts that are fixed by a seed."""

from nas.data.dataset import ImageData, SearchData, Split, split_images

__all__ = ["ImageData", "SearchData", "Split", "split_images"]
