"""What every test shares: one thread, repeatable randomness, and a torchvision that imports."""

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

# The tensors are small: a second thread costs more than it brings, most of all on a busy machine.
torch.set_num_threads(1)

# The same examples in every run, and no database beside the code.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def _define_torchvision_operators() -> torch.library.Library | None:
    """Let torchvision be imported beside a torch its compiled operators were not built for.

    Its import registers a Python kernel for ``nms`` and fails where the operator is undefined.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return None
    operators = torch.library.Library("torchvision", "DEF")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return operators


# The definitions live as long as this object.
_TORCHVISION_OPERATORS = _define_torchvision_operators()


@pytest.fixture(autouse=True)
def _fixed_random_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global generator
    torch.manual_seed(0)
