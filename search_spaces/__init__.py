"""What a network is: one description, read by costs, ONNX, torch and latency keys.

Importing this package loads no torch: ``build_model`` does, when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from search_spaces.costs import count_costs
from search_spaces.onnx_graph import build_onnx
from search_spaces.seeds import load_seed, seed_names

if TYPE_CHECKING:
    from search_spaces.torch_model import build_model

__all__ = ["Architecture", "build_model", "build_onnx", "count_costs", "load_seed", "seed_names"]


def __getattr__(name: str) -> Any:
    if name == "build_model":
        from search_spaces.torch_model import build_model

        return build_model
    raise AttributeError(f"module 'search_spaces' has no attribute {name!r}")
