"""Search spaces: named choices ↔ architectures, one space a file."""

from search_spaces.spaces.mnasnet import mnasnet_space
from search_spaces.spaces.mobilenet_v3 import mobilenet_v3_space
from search_spaces.spaces.shufflenet_v2 import shufflenet_v2_space
from search_spaces.spaces.stage import Choice, Choices, Stage
from search_spaces.spaces.staged import SearchSpace

__all__ = [
    "Choice",
    "Choices",
    "SearchSpace",
    "Stage",
    "mnasnet_space",
    "mobilenet_v3_space",
    "shufflenet_v2_space",
]
