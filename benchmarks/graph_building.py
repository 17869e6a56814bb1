"""The time to build a block's ONNX graph: from the description, and with torch's two exporters.

Run from the root of the repository: ``python -m benchmarks.graph_building [--record]``.
"""

import argparse
import contextlib
import gc
import io
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import ExternalDataInfo
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.environment import append_row, environment_columns
from search_spaces.blocks import Block
from search_spaces.lowering import lower_block
from search_spaces.onnx_graph import (
    OPSET,
    WEIGHTS_FILE,
    build_blocks_onnx,
    build_weightless_onnx,
)
from search_spaces.seeds import load_seed
from search_spaces.shapes import TensorShape
from search_spaces.torch_model import build_block

# Every kind of block, squeeze-and-excite and activation of these seeds, early and late in them.
BLOCKS = {
    "mnasnet_a1": (1, 3, 5, 16),
    "mobilenet_v3_large": (0, 8, 13, 17),
    "shufflenet_v2_x1_0": (2, 7, 15, 18),
}
AIM = 20.0
TOLERANCE = 1e-4
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A block as a description and as a module in inference mode, and an image for both."""

    label: str
    block: Block
    input_shape: TensorShape
    module: nn.Module
    norm_epsilon: float
    image: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A way to a serialised graph; a sample is the mean of ``builds``, long enough for a clock."""

    name: str
    build: Callable[[Case], bytes]
    builds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Milliseconds a block: the median over the rounds of each builder."""

    label: str
    weightless_ms: float
    inline_ms: float
    torchscript_ms: float
    dynamo_ms: float

    @property
    def weightless_speedup(self) -> float:
        return min(self.torchscript_ms, self.dynamo_ms) / self.weightless_ms

    @property
    def inline_speedup(self) -> float:
        return min(self.torchscript_ms, self.dynamo_ms) / self.inline_ms


def build_weightless(case: Case) -> bytes:
    model, _ = build_weightless_onnx("block", [lower_block(case.block, case.input_shape)])
    return _serialise(model)


def build_inline(case: Case) -> bytes:
    weights = {f"block.{name}": value for name, value in case.module.state_dict().items()}
    lowered = lower_block(case.block, case.input_shape)
    model = build_blocks_onnx("block", [lowered], weights, norm_epsilon=case.norm_epsilon)
    return _serialise(model)


def export_torchscript(case: Case) -> bytes:
    with _silence():
        buffer = io.BytesIO()
        torch.onnx.export(
            case.module,
            (case.image,),
            buffer,  # type: ignore[arg-type]  # this exporter writes to any file
            opset_version=OPSET,
            dynamo=False,
        )
        return buffer.getvalue()


def export_dynamo(case: Case) -> bytes:
    with _silence():
        program = torch.onnx.export(case.module, (case.image,), dynamo=True, verbose=False)
        assert program is not None
        return _serialise(program.model_proto)


def _serialise(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content


BUILDERS = (
    Builder(name="weightless", build=build_weightless, builds=10),
    Builder(name="inline", build=build_inline, builds=10),
    Builder(name="torchscript", build=export_torchscript, builds=1),
    Builder(name="dynamo", build=export_dynamo, builds=1),
)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporters announce their steps, and the older one its end."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def make_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for seed, indices in BLOCKS.items():
        architecture = load_seed(seed)
        walk = list(architecture.walk())
        for index in indices:
            block, shape = walk[index]
            module = build_block(block, shape.channels).eval()
            _randomise_norms(module, architecture.norm_epsilon, generator)
            image = torch.randn(1, shape.channels, shape.height, shape.width, generator=generator)
            cases.append(
                Case(
                    label=f"{seed}[{index}] {type(block).__name__}",
                    block=block,
                    input_shape=shape,
                    module=module,
                    norm_epsilon=architecture.norm_epsilon,
                    image=image,
                )
            )
    return cases


def _randomise_norms(module: nn.Module, epsilon: float, generator: torch.Generator) -> None:
    """Statistics as after training; those of a fresh norm would hide a wrong fold."""
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.eps = epsilon
                assert norm.running_mean is not None
                assert norm.running_var is not None
                for value in (norm.weight, norm.running_var):
                    value.uniform_(0.5, 1.5, generator=generator)
                for value in (norm.bias, norm.running_mean):
                    value.normal_(0.0, 0.1, generator=generator)


def check_same_output(case: Case, threads: int) -> float:
    """The largest difference between onnxruntime on any of the graphs and the torch module.

    Raises:
        RuntimeError: it is above the tolerance.
    """
    with torch.inference_mode():
        expected = case.module(case.image).numpy()
    graphs = {builder.name: builder.build(case) for builder in BUILDERS}
    worst = 0.0
    for name, graph in graphs.items():
        with tempfile.TemporaryDirectory() as folder:
            if name == "weightless":
                weights = _external_weights(graph, graphs["inline"])
                Path(folder, WEIGHTS_FILE).write_bytes(weights)
            path = Path(folder, "block.onnx")
            path.write_bytes(graph)
            output = _run_onnx(path, case.image.numpy(), threads)
        difference = float(np.abs(output - expected).max())
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"{case.label}: the output of the {name} graph must be within {TOLERANCE} of the "
                f"torch module's, but is {difference:.2e} away"
            )
        worst = max(worst, difference)
    return worst


def _external_weights(weightless: bytes, inline: bytes) -> bytes:
    """The inline graph's weights at the places where the weightless graph looks for them."""
    values = {t.name: t for t in onnx.load_from_string(inline).graph.initializer}
    content = bytearray()
    for tensor in onnx.load_from_string(weightless).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = ExternalDataInfo(tensor)
            assert place.offset is not None
            content.extend(bytes(place.offset - len(content)))
            content.extend(numpy_helper.to_array(values[tensor.name]).tobytes())
    return bytes(content)


def _run_onnx(path: Path, image: FloatArray, threads: int) -> FloatArray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    output: FloatArray = session.run(None, {session.get_inputs()[0].name: image})[0]
    return output


def measure(cases: Sequence[Case], rounds: int) -> list[Figures]:
    """Every builder on every block in each round, so that drift of the machine meets all alike."""
    samples: dict[tuple[str, str], list[float]] = {}
    for number in range(1, rounds + 1):
        begun = time.perf_counter()
        for case in cases:
            for builder in BUILDERS:
                milliseconds = _sample(builder, case)
                samples.setdefault((case.label, builder.name), []).append(milliseconds)
        _progress(f"round {number} of {rounds}: {time.perf_counter() - begun:.0f} s")
    return [
        Figures(
            label=case.label,
            **{f"{b.name}_ms": statistics.median(samples[case.label, b.name]) for b in BUILDERS},
        )
        for case in cases
    ]


def _sample(builder: Builder, case: Case) -> float:
    gc.collect()
    begun = time.perf_counter()
    for _ in range(builder.builds):
        builder.build(case)
    return 1e3 * (time.perf_counter() - begun) / builder.builds


def summarise(figures: Sequence[Figures]) -> dict[str, float]:
    """Medians over the blocks, and the least speed-up; the columns of a row of results."""
    return {
        "weightless_ms": statistics.median(f.weightless_ms for f in figures),
        "inline_ms": statistics.median(f.inline_ms for f in figures),
        "torchscript_ms": statistics.median(f.torchscript_ms for f in figures),
        "dynamo_ms": statistics.median(f.dynamo_ms for f in figures),
        "weightless_speedup": statistics.median(f.weightless_speedup for f in figures),
        "weightless_speedup_min": min(f.weightless_speedup for f in figures),
        "inline_speedup": statistics.median(f.inline_speedup for f in figures),
        "inline_speedup_min": min(f.inline_speedup for f in figures),
    }


def print_figures(figures: Sequence[Figures], summary: dict[str, float]) -> None:
    table = Table(caption="milliseconds a graph; × as fast as the faster exporter")
    table.add_column("block")
    for column in ("weightless", "inline", "torchscript", "dynamo", "weightless ×", "inline ×"):
        table.add_column(column, justify="right")
    for f in figures:
        table.add_row(
            f.label, f"{f.weightless_ms:.3f}", f"{f.inline_ms:.3f}", f"{f.torchscript_ms:.1f}",
            f"{f.dynamo_ms:.0f}", f"{f.weightless_speedup:.0f}", f"{f.inline_speedup:.0f}",
        )  # fmt: skip
    table.add_section()
    table.add_row(
        "median", f"{summary['weightless_ms']:.3f}", f"{summary['inline_ms']:.3f}",
        f"{summary['torchscript_ms']:.1f}", f"{summary['dynamo_ms']:.0f}",
        f"{summary['weightless_speedup']:.0f}", f"{summary['inline_speedup']:.0f}",
    )  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    verdict = "met" if summary["weightless_speedup"] >= AIM else "missed"
    console.print(f"aim: the median weightless speed-up is at least {AIM:.0f}×: {verdict}")


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each figure")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--record", action="store_true", help="append a row to the results")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)

    cases = make_cases()
    for case in cases:
        difference = check_same_output(case, arguments.threads)
        _progress(f"{case.label}: same output (differences up to {difference:.1e})")
    figures = measure(cases, arguments.rounds)
    summary = summarise(figures)
    print_figures(figures, summary)
    if arguments.record:
        row = environment_columns(PACKAGES, threads=arguments.threads)
        row |= {"blocks": str(len(cases)), "rounds": str(arguments.rounds)}
        row |= {name: f"{value:.4g}" for name, value in summary.items()}
        _progress(f"recorded in {append_row('graph_building', row)}")


if __name__ == "__main__":
    main()
