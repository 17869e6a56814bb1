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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from latency.context import (
    After,
    between_stubs,
    boundary,
    context_after,
    walk_in_context,
)
from latency.keys import (
    block_key,
    boundary_key,
    network_boundaries,
    network_key,
    network_keys,
)
from latency.profile import (
    FORMAT_VERSION,
    MAX_BATCH,
    MAX_CORES,
    MAX_ROUNDS,
    MAX_RUNS,
    MAX_THREADS,
    MIN_RUNS,
    PLAN_FORMAT,
)
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.lowering import LoweredBlock, lower
from search_spaces.onnx_graph import build_weightless_onnx
from search_spaces.precision import Precision
from search_spaces.seeds import load_seed
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace

REFERENCE_SEED, REFERENCE_RESOLUTION = "mobilenet_v3_large", 96
"""The reference network: its 22 MB of weights leave the caches as a network leaves them, and at
this size it is soon done."""

CALIBRATION_NETWORKS, VALIDATION_NETWORKS = 24, 16
CALIBRATION, VALIDATION = "calibration", "validation"
_DRAWS_IN_VAIN = 200

PLAIN_LAYOUT = "plain layout"

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
        precision: fp32; int8 (static QDQ quantisation); fp16 where the provider runs it.
        spinning: whether idle threads of a pool spin, as they do by default in onnxruntime.
        affinity: the cores that the measuring process is pinned to; None leaves it free.
        runs: timed runs a visit, in turns with those of other entries.
        min_rounds, max_rounds: visits an entry, at least and at most.
    """

    threads: int = 1
    batch: int = 1
    precision: Precision = Precision.FP32
    spinning: bool = False
    affinity: Sequence[int] | None = None
    runs: int = 24
    min_rounds: int = 3
    max_rounds: int = 5

    def __post_init__(self) -> None:
        for name, low, high in (
            ("threads", 1, MAX_THREADS),
            ("batch", 1, MAX_BATCH),
            ("runs", MIN_RUNS, MAX_RUNS),
            ("min_rounds", 1, MAX_ROUNDS),
            ("max_rounds", 1, MAX_ROUNDS),
        ):
            _check_integer(name, getattr(self, name), low, high)
        if self.min_rounds > self.max_rounds:
            raise ValueError(
                f"min_rounds <= max_rounds must hold, but got min_rounds={self.min_rounds} and "
                f"max_rounds={self.max_rounds}"
            )
        if self.precision not in tuple(Precision):
            names = ", ".join(Precision)
            raise ValueError(f"precision must be one of {names}, but got {self.precision!r:.80}")
        object.__setattr__(self, "precision", Precision(self.precision))
        if not isinstance(self.spinning, bool):
            raise ValueError(f"spinning must be true or false, but got {self.spinning!r:.80}")
        self._check_affinity()

    def _check_affinity(self) -> None:
        if self.affinity is None:
            return
        if isinstance(self.affinity, str) or not 1 <= len(self.affinity) <= MAX_CORES:
            raise ValueError(
                f"affinity must be null or a list of cores like [0, 1], but got {self.affinity!r}"
            )
        for core in self.affinity:
            _check_integer("a core of affinity", core, 0, MAX_CORES - 1)

    @property
    def table_fields(self) -> dict[str, object]:
        """What of this stands in a table's header, and must be equal where it is used."""
        return {
            "threads": self.threads,
            "spinning": self.spinning,
            "affinity": None if self.affinity is None else list(self.affinity),
            "batch": self.batch,
            "precision": str(self.precision),
        }


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be an integer in {low}..{high}, but got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """One graph to be timed.

    Attributes:
        key: its name in the table.
        input_shape: of the graph's input, batch first.
        weights_bytes: of its weights; the file of weights must be as long.
        parts, boundaries: of a whole network: the keys that a prediction adds and subtracts.
        role: of a whole network: what it is measured for.
        kind: entries of a kind take turns one after another.
        trace: whether to time every node of it as well, in a single visit.
        alone: whether its runs follow each other instead of runs of the reference network.
        company: whether the table holds it, and it only fills sittings of others that are few.
    """

    key: str
    graph: bytes
    input_shape: tuple[int, ...]
    weights_bytes: int = 0
    parts: tuple[str, ...] = ()
    boundaries: tuple[str, ...] = ()
    role: str = ""
    kind: str = ""
    trace: bool = False
    alone: bool = False
    company: bool = False


def block_entry(
    block: Block,
    input_shape: TensorShape,
    after: After,
    *,
    batch: int = 1,
    precision: Precision = Precision.FP32,
) -> PlanEntry:
    """A block between its stubs."""
    return graph_entry(
        block_key(block, input_shape, after),
        between_stubs(block, input_shape, after, precision=precision),
        batch=batch,
        precision=precision,
        kind=_kind(after, context_after(block, input_shape)),
    )


def boundary_entry(
    shape: TensorShape, after: After, *, batch: int = 1, precision: Precision = Precision.FP32
) -> PlanEntry:
    """The stubs alone."""
    return graph_entry(
        boundary_key(shape, after),
        boundary(shape, after, precision=precision),
        batch=batch,
        precision=precision,
        kind=_kind(after),
    )


def _kind(*places: After) -> str:
    """What is handed over in the plain layout runs operators that few entries have."""
    return PLAIN_LAYOUT if {After.PLAIN, After.SHUFFLE}.intersection(places) else ""


def network_entry(
    architecture: Architecture,
    *,
    batch: int = 1,
    precision: Precision = Precision.FP32,
    role: str = "",
    trace: bool = False,
) -> PlanEntry:
    """A whole network, end to end."""
    return graph_entry(
        network_key(architecture),
        lower(architecture),
        batch=batch,
        precision=precision,
        parts=network_keys(architecture),
        boundaries=network_boundaries(architecture),
        role=role,
        trace=trace,
    )


def graph_entry(
    key: str,
    blocks: Sequence[LoweredBlock],
    *,
    batch: int = 1,
    precision: Precision = Precision.FP32,
    **fields: Any,
) -> PlanEntry:
    """Any chain of operations, under a key of its own; ``fields`` are other fields of the entry."""
    model, weights_bytes = build_weightless_onnx(key, blocks, batch=batch, precision=precision)
    shape = blocks[0].input_shape
    return PlanEntry(
        key=key,
        graph=model.SerializeToString(),
        input_shape=(batch, shape.channels, shape.height, shape.width),
        weights_bytes=weights_bytes,
        **fields,
    )


def reference_network() -> Architecture:
    """What every timed run follows."""
    return load_seed(REFERENCE_SEED, resolution=REFERENCE_RESOLUTION)


def random_members(space: SearchSpace, rng: random.Random) -> Iterator[Architecture]:
    """Networks of the space, each once, until nothing new is found."""
    found: set[str] = set()
    in_vain = 0
    while in_vain < _DRAWS_IN_VAIN:
        choices = {name: rng.choice(values) for name, values in space.choices.items()}
        network = space.build(choices)
        key = network_key(network)
        in_vain = in_vain + 1 if key in found else 0
        if not in_vain:
            found.add(key)
            yield network


def whole_networks(space: SearchSpace) -> dict[Architecture, str]:
    """Random members of the space, and what each is measured for.

    The table's scale is fitted on some, the base network among them; its predictions are
    compared with the others.
    """
    rng = random.Random(f"whole networks of {space.name}")  # noqa: S311
    base = space.build(space.base_choices)
    roles = [CALIBRATION] * (CALIBRATION_NETWORKS - 1) + [VALIDATION] * VALIDATION_NETWORKS
    rng.shuffle(roles)  # a space may have fewer networks than there are roles
    others = (network for network in random_members(space, rng) if network != base)
    return {base: CALIBRATION} | dict(zip(others, roles, strict=False))


def steps_of(networks: Iterable[Architecture]) -> list[tuple[Block, TensorShape, After]]:
    """Every block of the networks in its place, each once."""
    return list(dict.fromkeys(step for network in networks for step in walk_in_context(network)))


def entry_builders(
    steps: Iterable[tuple[Block, TensorShape, After]],
    networks: Mapping[Architecture, str],
    settings: MeasureSettings,
) -> dict[str, Callable[[], PlanEntry]]:
    """What to measure, by key; an entry's graph is built only when it is asked for."""
    batch, precision = settings.batch, settings.precision
    builders: dict[str, Callable[[], PlanEntry]] = {}
    for block, shape, after in steps:
        if after is not After.IMAGE:
            builders[boundary_key(shape, after)] = partial(
                boundary_entry, shape, after, batch=batch, precision=precision
            )
        builders[block_key(block, shape, after)] = partial(
            block_entry, block, shape, after, batch=batch, precision=precision
        )
    for network, role in networks.items():
        builders[network_key(network)] = partial(
            network_entry, network, batch=batch, precision=precision, role=role
        )
    return builders


def check_replaceable(path: Path) -> None:
    """Refuse to write a plan over something else; ``ValueError`` names it."""
    if path.exists() and not (path.is_file() and zipfile.is_zipfile(path)):
        raise ValueError(
            f"{path} is there already and is no plan; move it, or give another name for the plan"
        )


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
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    reference = network_entry(
        reference_network(), batch=settings.batch, precision=settings.precision
    )
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
                **settings.table_fields,
                "runs": settings.runs,
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
    for name in (
        "weights_bytes",
        "parts",
        "boundaries",
        "role",
        "kind",
        "trace",
        "alone",
        "company",
    ):
        if value := getattr(entry, name):
            line[name] = value
    return line


if __name__ == "__main__":
    from latency.plan_command import main

    sys.exit(main())
