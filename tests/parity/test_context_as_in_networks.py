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


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
@pytest.mark.parametrize(
    "network", [*map(load_seed, SEEDS), *_random_networks()], ids=lambda network: network.name
)
def test_the_same_operators_run(
    network: Architecture, precision: Precision, operators: Operators
) -> None:
    counted = Counter[str]()
    for block, shape, after in walk_in_context(network):
        counted.update(operators(block_entry(block, shape, after, precision=precision)))
        if after is not After.IMAGE:
            counted.subtract(operators(boundary_entry(shape, after, precision=precision)))
    assert +counted == operators(network_entry(network, precision=precision))
