"""Blocks between stubs, less the stubs, are optimised to what their whole network is.

onnxruntime decides by what stands around a node whether it is fused, in which layout it computes
and what is reordered. So the operators that it runs are counted, in its own optimised graphs.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from latency.context import After, walk_in_context
from latency.plan import PlanEntry, block_entry, boundary_entry, network_entry
from search_spaces.architecture import Architecture
from search_spaces.onnx_graph import WEIGHTS_FILE
from search_spaces.precision import Precision
from search_spaces.seeds import load_seed
from search_spaces.spaces import mnasnet_space, mobilenet_v3_space

SEEDS = (
    "mnasnet_a1", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v1_g2",
    "shufflenet_v2_x1_0",
)  # fmt: skip

Operators = Callable[[PlanEntry], Counter[str]]


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Operators:
    folder = tmp_path_factory.mktemp("graphs")
    np.full(10_000_000, 0.1, np.float32).tofile(folder / WEIGHTS_FILE)

    def count(entry: PlanEntry) -> Counter[str]:
        path, optimised = folder / "graph.onnx", folder / "optimised.onnx"
        path.write_bytes(entry.graph)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(optimised)
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        model = onnx.load(optimised, load_external_data=False)
        return Counter(node.op_type for node in model.graph.node)

    return count


def _random_networks() -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [
        space.build(space.choices_at(row))
        for space in (mobilenet_v3_space(), mnasnet_space())
        for row in space.sample_indices(3, rng)
    ]


def _difference(network: Architecture, precision: Precision, operators: Operators) -> int:
    """How many operators the network runs more or less than its blocks."""
    counted = operators(network_entry(network, precision=precision))
    for block, shape, after in walk_in_context(network):
        counted.subtract(operators(block_entry(block, shape, after, precision=precision)))
        if after is not After.IMAGE:
            counted.update(operators(boundary_entry(shape, after, precision=precision)))
    return sum(map(abs, counted.values()))


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_run_the_operators_of_their_blocks(
    seed: str, precision: Precision, operators: Operators
) -> None:
    assert _difference(load_seed(seed), precision, operators) == 0


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_random_networks_do_so_but_for_a_few_reorders(
    precision: Precision, operators: Operators
) -> None:
    differences = [_difference(n, precision, operators) for n in _random_networks()]
    assert max(differences) <= 6  # of about a hundred
    assert sorted(differences)[len(differences) // 2] == 0
