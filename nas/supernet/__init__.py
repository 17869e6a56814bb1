"""One set of weights for all networks of a space: how it is sliced, trained and kept."""

from nas.supernet.settings import SupernetSettings
from nas.supernet.store import WeightStore

__all__ = ["SupernetSettings", "WeightStore"]
