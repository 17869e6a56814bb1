"""Predicted against measured: is this table telling the truth?

    python -m latency.validate --space mobilenet_v3 --networks 60 --table tables/local.jsonl

Random networks of the spaces, and the networks that are named, are measured end to end in the same
session as the blocks that the table lacks. None of them takes part in fitting. Beside the
predictions stand the noise floor (the same networks, measured twice, apart in time) and two
baselines: a regression on multiply-adds, and the sum of blocks timed alone.
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from latency.console import Terminal
from latency.fidelity import Fidelity, fidelity
from latency.figures import draw_validation
from latency.files import write_json, write_whole
from latency.keys import alone_key, network_key
from latency.measure import load_checked, run_plan
from latency.options import (
    adapted,
    add_device_options,
    add_measure_options,
    add_network_options,
    add_space_options,
    device_of,
    make_parser,
    networks_of,
    run_command,
    settings_of,
    spaces_of,
)
from latency.plan import (
    CALIBRATION,
    VALIDATION,
    MeasureSettings,
    PlanEntry,
    entry_builders,
    graph_entry,
    random_members,
    steps_of,
    whole_networks,
)
from latency.table import LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.costs import count_costs
from search_spaces.lowering import lower_block
from search_spaces.seeds import load_seed, seed_names
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace

MAX_NETWORKS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a validation found.

    Attributes:
        prediction: the table's predictions against the clock.
        noise: the earlier half of the same networks' visits against the later half.
        madds: a linear regression on multiply-adds, fitted on the calibration networks.
        alone: the sum of the blocks timed alone, one after another, as they are.
        networks: name, predicted_ms, measured_ms and the two halves of every network.
    """

    prediction: Fidelity
    noise: Fidelity
    madds: Fidelity
    alone: Fidelity
    networks: tuple[dict[str, object], ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, print, draw; returns the exit code, 2 with one line for bad input."""
    parser = make_parser("latency.validate", __doc__ or "")
    add_space_options(parser)
    add_network_options(parser)
    add_measure_options(parser)
    add_device_options(parser)
    add = parser.add_argument
    add("--seeds", action="store_true", help="all published networks as well")
    counts = "random networks of each space, or a number for every --space (30)"
    add("--networks", type=int, nargs="+", default=[30], metavar="N", help=counts)
    add("--random-seed", type=int, default=0, help="which random networks (%(default)s)")
    add("--table", type=Path, required=True, help="table to validate; what it lacks is measured")
    add("--out", type=Path, help="folder for validation.json and scatter.png")
    options = parser.parse_args(arguments)
    return run_command("latency.validate", partial(_validate, options, Terminal()))


def _validate(options: argparse.Namespace, terminal: Terminal) -> None:
    settings, device, spaces = settings_of(options), device_of(options), spaces_of(options)
    counts = _counts(options.networks, len(spaces))
    named = networks_of(options)
    seeds = seed_names() if options.seeds else ()
    named += [network for name in seeds for network in adapted(load_seed(name), options)]
    networks = held_out_networks(zip(spaces, counts, strict=True), named, options.random_seed)
    if not networks:
        raise ValueError("nothing to validate on; give --space, --seeds, --seed or --arch")
    fitted = [n for s in spaces for n, role in whole_networks(s).items() if role == CALIBRATION]
    with terminal.progress(f"measuring {len(networks)} networks and their blocks") as update:
        run_plan(
            device,
            options.table,
            list(_builders(networks, fitted, settings).values()),
            settings,
            update,
        )
    report = compare(load_checked(device, options.table, settings), networks, fitted)
    folder = options.out or Path("runs/validation") / options.table.stem
    write_json(folder / "validation.json", asdict(report))
    write_whole(folder / "scatter.png", draw_validation(report.networks, report.prediction))
    for line in report_lines(report):
        terminal.line(line)
    terminal.line(f"{folder}: validation.json, scatter.png")


def _counts(given: Sequence[int], spaces: int) -> list[int]:
    counts = list(given) * spaces if len(given) == 1 else list(given)
    if len(counts) != spaces or not all(1 <= count <= MAX_NETWORKS for count in counts):
        raise ValueError(
            f"--networks must be one number in 1..{MAX_NETWORKS}, or one for each of the {spaces} "
            f"spaces, but got {' '.join(map(str, given))}"
        )
    return counts


def held_out_networks(
    wanted: Iterable[tuple[SearchSpace, int]], named: Sequence[Architecture], random_seed: int
) -> list[Architecture]:
    """So many random members of each space, and the named networks; none that is fitted on."""
    found: dict[str, Architecture] = {}
    fitted: set[str] = set()
    for space, count in wanted:
        rng = random.Random(f"{random_seed} of {space.name}")  # noqa: S311
        roles = whole_networks(space).items()
        fitted |= {network_key(network) for network, role in roles if role == CALIBRATION}
        for number, network in enumerate(islice(random_members(space, rng), count)):
            found[network_key(network)] = replace(network, name=f"{space.name}_{number}")
    found |= {network_key(network): network for network in named}
    return [network for key, network in found.items() if key not in fitted]


def _builders(
    networks: Sequence[Architecture], fitted: Sequence[Architecture], settings: MeasureSettings
) -> dict[str, Callable[[], PlanEntry]]:
    roles = dict.fromkeys(networks, VALIDATION) | dict.fromkeys(fitted, CALIBRATION)
    builders = entry_builders(steps_of(roles), roles, settings)
    for network in networks:
        for block, shape in network.walk():
            builders[alone_key(block, shape)] = partial(_alone_entry, block, shape, settings)
    return builders


def _alone_entry(block: Block, shape: TensorShape, settings: MeasureSettings) -> PlanEntry:
    return graph_entry(
        alone_key(block, shape),
        [lower_block(block, shape)],
        batch=settings.batch,
        precision=settings.precision,
        alone=True,
    )


def compare(
    table: LatencyTable, networks: Sequence[Architecture], fitted: Sequence[Architecture]
) -> Report:
    """Predictions, noise and baselines for networks that the table holds end to end.

    Raises:
        MissingEntryError: the table lacks one of them, or a block of one.
    """
    entries = [table.entry(network_key(network)) for network in networks]
    halves = [entry.halves_ms or (entry.latency_ms, entry.latency_ms) for entry in entries]
    measured = [entry.latency_ms for entry in entries]
    predicted = [table.network_latency_ms(network) for network in networks]
    alone = [
        sum(table.entry(alone_key(block, shape)).latency_ms for block, shape in network.walk())
        for network in networks
    ]
    return Report(
        prediction=fidelity(predicted, measured),
        noise=fidelity([early for early, _ in halves], [late for _, late in halves]),
        madds=fidelity(_regression(table, networks, fitted or networks), measured),
        alone=fidelity(alone, measured),
        networks=tuple(
            {
                "name": network.name,
                "predicted_ms": prediction,
                "measured_ms": entry.latency_ms,
                "early_ms": early,
                "late_ms": late,
            }
            for network, entry, prediction, (early, late) in zip(
                networks, entries, predicted, halves, strict=True
            )
        ),
    )


def _regression(
    table: LatencyTable, networks: Sequence[Architecture], fitted: Sequence[Architecture]
) -> list[float]:
    """Latencies by a straight line over multiply-adds, fitted on networks that are measured."""
    madds = [count_costs(network).madds for network in fitted]
    latencies = [table.entry(network_key(network)).latency_ms for network in fitted]
    slope, offset = np.polyfit(madds, latencies, 1)
    return [float(slope * count_costs(network).madds + offset) for network in networks]


def report_lines(report: Report) -> list[str]:
    """The report as a person reads it."""
    return [
        f"{report.prediction.networks} networks, none of them fitted on:",
        f"  this table       {report.prediction}",
        f"  noise floor      {report.noise}",
        f"  MAdds regression {report.madds}",
        f"  blocks alone     {report.alone}",
    ]


if __name__ == "__main__":
    sys.exit(main())
