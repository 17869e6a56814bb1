"""Networks or a whole space → a small plan file for ``profile.py``.

A plan holds ONNX graphs without weights, about a kilobyte each; the device makes one file of random
numbers that all of them read as external data.

    python -m latency.plan --space mobilenet_v3 --out phone.plan
"""

import json
import os
import random
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from latency.keys import OVERHEAD_KEY, block_key, network_key, network_keys
from latency.profile import (
    FORMAT_VERSION,
    MAX_BATCH,
    MAX_ROUNDS,
    MAX_THREADS,
    MIN_ROUNDS,
    PLAN_FORMAT,
)
from search_spaces.architecture import Architecture
from search_spaces.blocks import Activation, Block, InvertedResidual, Skip
from search_spaces.lowering import LoweredBlock, lower, lower_block
from search_spaces.onnx_graph import build_weightless_onnx
from search_spaces.ops import Activate
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace

REFERENCE_SHAPE = TensorShape(40, 28, 28)
REFERENCE_BLOCK = InvertedResidual(
    expanded_channels=240, out_channels=40, kernel=5, skip=Skip.IDENTITY
)
"""What every burst is compared with: a common block of the inverted-residual networks."""

CALIBRATION_NETWORKS = 8

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def no_progress(done: int, total: int) -> None:
    """For those who do not want to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSettings:
    """How a device measures.

    Attributes:
        threads: intra-op threads of onnxruntime.
        batch: images a run.
        min_rounds, max_rounds: bracketed bursts an entry, at least and at most.
    """

    threads: int = 1
    batch: int = 1
    min_rounds: int = 5
    max_rounds: int = 7

    def __post_init__(self) -> None:
        for name, low, high in (
            ("threads", 1, MAX_THREADS),
            ("batch", 1, MAX_BATCH),
            ("min_rounds", MIN_ROUNDS, MAX_ROUNDS),
            ("max_rounds", MIN_ROUNDS, MAX_ROUNDS),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} must be an integer in {low}..{high}, but got {value!r}")
        if self.min_rounds > self.max_rounds:
            raise ValueError(
                f"min_rounds <= max_rounds must hold, but got min_rounds={self.min_rounds} and "
                f"max_rounds={self.max_rounds}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """One graph to be timed. ``parts`` are the keys of a whole network's blocks."""

    key: str
    graph: bytes
    input_shape: tuple[int, ...]
    weights_bytes: int = 0
    parts: tuple[str, ...] = ()


def block_entry(block: Block, input_shape: TensorShape, *, batch: int = 1) -> PlanEntry:
    """A block alone, on one input shape."""
    key = block_key(block, input_shape)
    return _entry(key, [lower_block(block, input_shape)], batch=batch)


def network_entry(architecture: Architecture, *, batch: int = 1) -> PlanEntry:
    """A whole network, end to end."""
    return _entry(
        network_key(architecture),
        lower(architecture),
        batch=batch,
        parts=network_keys(architecture),
    )


def overhead_entry(*, batch: int = 1) -> PlanEntry:
    """The smallest graph there is, for what a ``session.run`` costs by itself."""
    shape = TensorShape(1, 1, 1)
    op = Activate(name="relu", inputs=("input",), output_shape=shape, activation=Activation.RELU)
    return _entry(OVERHEAD_KEY, [LoweredBlock("overhead", "input", shape, (op,))], batch=batch)


def _entry(
    key: str, blocks: Sequence[LoweredBlock], *, batch: int, parts: tuple[str, ...] = ()
) -> PlanEntry:
    model, weights_bytes = build_weightless_onnx(key, blocks, batch=batch)
    shape = blocks[0].input_shape
    return PlanEntry(
        key=key,
        graph=model.SerializeToString(),
        input_shape=(batch, shape.channels, shape.height, shape.width),
        weights_bytes=weights_bytes,
        parts=parts,
    )


def calibration_networks(space: SearchSpace) -> list[Architecture]:
    """The base network and random members: whole networks that the table's scale is fitted on."""
    rng = random.Random(f"calibration of {space.name}")  # noqa: S311
    networks = [space.build(space.base_choices)]
    while len(networks) < CALIBRATION_NETWORKS:
        choices = {name: rng.choice(values) for name, values in space.choices.items()}
        networks.append(space.build(choices))
    return networks


def entry_builders(
    blocks: Iterable[tuple[Block, TensorShape]],
    networks: Iterable[Architecture],
    *,
    batch: int = 1,
) -> dict[str, Callable[[], PlanEntry]]:
    """What to measure, by key; an entry's graph is built only when it is asked for."""
    builders: dict[str, Callable[[], PlanEntry]] = {
        OVERHEAD_KEY: partial(overhead_entry, batch=batch)
    }
    for block, shape in blocks:
        builders[block_key(block, shape)] = partial(block_entry, block, shape, batch=batch)
    for network in networks:
        builders[network_key(network)] = partial(network_entry, network, batch=batch)
    return builders


def write_plan(
    path: Path,
    builders: Sequence[Callable[[], PlanEntry]],
    settings: MeasureSettings,
    on_progress: Progress,
) -> None:
    """Write a plan file, whole or not at all.

    Raises:
        ValueError: there is nothing to measure, or ``path`` is something else than a plan.
        OSError: the file cannot be written.
    """
    if not builders:
        raise ValueError("a plan needs at least one entry")
    if path.exists() and not (path.is_file() and zipfile.is_zipfile(path)):
        raise ValueError(f"{path} is there already and is no plan; give another name for the plan")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    reference = block_entry(REFERENCE_BLOCK, REFERENCE_SHAPE, batch=settings.batch)
    weights_bytes = reference.weights_bytes
    lines = []
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for index, build in enumerate(builders):
                entry = build()
                lines.append(_store(archive, f"graphs/{index}.onnx", entry))
                weights_bytes = max(weights_bytes, entry.weights_bytes)
                on_progress(index + 1, len(builders))
            content = {
                "format": PLAN_FORMAT,
                "version": FORMAT_VERSION,
                "threads": settings.threads,
                "batch": settings.batch,
                "min_rounds": settings.min_rounds,
                "max_rounds": settings.max_rounds,
                "weights_bytes": weights_bytes,
                "reference": _store(archive, "graphs/reference.onnx", reference),
                "entries": lines,
            }
            archive.writestr("plan.json", json.dumps(content))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _store(archive: zipfile.ZipFile, name: str, entry: PlanEntry) -> dict[str, object]:
    archive.writestr(name, entry.graph)
    line: dict[str, object] = {"key": entry.key, "graph": name, "input_shape": entry.input_shape}
    if entry.parts:
        line["parts"] = entry.parts
    return line


if __name__ == "__main__":
    from latency.plan_command import main

    sys.exit(main())
