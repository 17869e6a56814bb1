"""Data sets: images with labels, in three parts that are fixed by a seed."""

from nas.data.augmentation import Augmentation
from nas.data.dataset import ImageData, SearchData, split_images
from nas.data.lazy import LazySplit
from nas.data.memory import MemorySplit
from nas.data.preprocessing import Preprocessing
from nas.data.source import ImageSource
from nas.data.split import Shuffle, Split

__all__ = [
    "Augmentation",
    "ImageData",
    "ImageSource",
    "LazySplit",
    "MemorySplit",
    "Preprocessing",
    "SearchData",
    "Shuffle",
    "Split",
    "split_images",
]
