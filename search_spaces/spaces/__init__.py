"""Search spaces: named choices ↔ architectures, one space a file."""

from search_spaces.spaces.mnasnet import mnasnet_space
from search_spaces.spaces.mobilenet_v3 import mobilenet_v3_space
from search_spaces.spaces.staged import Choice, Choices, SearchSpace, Stage

__all__ = ["Choice", "Choices", "SearchSpace", "Stage", "mnasnet_space", "mobilenet_v3_space"]
