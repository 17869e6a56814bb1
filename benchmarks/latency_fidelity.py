"""Seven ways to a latency table: how well each predicts whole networks, and what it costs.

    python -m benchmarks.latency_fidelity --affinity 0 [--table FILE] [--out FOLDER] [--record]

Blocks are timed run after run and in turns, bare, between stubs and in chains, by one plan in one
session, in random order; so are the whole networks that they are to predict. Every way is compared
as it is and with a scale, fitted on networks that no figure is computed on.
"""

import argparse
import csv
import io
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.environment import append_row, environment_columns
from benchmarks.fidelity_comparison import Comparison, compare
from benchmarks.fidelity_methods import graph_builders, readings_of
from latency.console import Terminal
from latency.fidelity import Fidelity
from latency.files import write_whole
from latency.measure import load_checked, run_plan
from latency.options import (
    SPACES,
    add_device_options,
    add_measure_options,
    add_network_options,
    device_of,
    make_parser,
    networks_of,
    run_command,
    settings_of,
    spaces_of,
)
from latency.plan import (
    CALIBRATION,
    CALIBRATION_NETWORKS,
    VALIDATION,
    entry_builders,
    steps_of,
    whole_networks,
)
from latency.table import read_visits
from latency.validate import MAX_NETWORKS, held_out_networks
from search_spaces.architecture import Architecture
from search_spaces.seeds import seed_names
from search_spaces.spaces import SearchSpace

NETWORKS = {"mobilenet_v3": 20, "mnasnet": 10}
CALIBRATION_OF_A_SPACE = 12
MIN_NETWORKS = 8
"""For a scale to be fitted on."""

PACKAGES = ("numpy", "onnx", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, print; returns the exit code, 2 with one line for bad input."""
    parser = make_parser("benchmarks.latency_fidelity", __doc__ or "")
    add = parser.add_argument
    for name, count in NETWORKS.items():
        option = f"--{name.replace('_', '-')}"
        add(option, type=int, default=count, help="random networks of the space (%(default)s)")
    add("--seeds", action=argparse.BooleanOptionalAction, default=True, help="published networks")
    add_network_options(parser)
    add("--random-seed", type=int, default=0, help="which random networks (%(default)s)")
    add(
        "--calibration",
        type=int,
        default=CALIBRATION_OF_A_SPACE,
        help="networks of each space to fit on (%(default)s)",
    )
    add_measure_options(parser)
    add_device_options(parser)
    add("--table", type=Path, metavar="FILE", help="keep the visits here; go on where it stopped")
    add("--out", type=Path, metavar="FOLDER", help="folder for methods.csv and networks.csv")
    add("--record", action="store_true", help="append a row a method and fit to the results")
    parser.set_defaults(space=[], base=None)
    options = parser.parse_args(arguments)
    return run_command("benchmarks.latency_fidelity", partial(_run, options, Terminal()))


def _run(options: argparse.Namespace, terminal: Terminal) -> None:
    settings, device = settings_of(options), device_of(options)
    if settings.min_rounds < 2:
        raise ValueError(
            f"--min-rounds must be 2 or more, but got {settings.min_rounds}: the noise floor "
            "compares visits of the same network"
        )
    held_out, fitted = _networks(options)
    roles = dict.fromkeys(held_out, VALIDATION) | dict.fromkeys(fitted, CALIBRATION)
    builders = graph_builders(steps_of(roles), settings) | entry_builders((), roles, settings)
    with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
        path = options.table or Path(folder) / "table.jsonl"
        with terminal.progress(f"measuring {len(builders)} graphs") as update:
            run_plan(device, path, list(builders.values()), settings, update)
        with terminal.progress("comparing"):
            table = load_checked(device, path, settings)
            readings = readings_of(table, read_visits(path)[1])
            comparison = compare(table, readings, held_out, fitted)
    for line in report_lines(comparison):
        terminal.line(line)
    rows = method_rows(comparison)
    if options.out is not None:
        write_csv(options.out / "methods.csv", rows)
        write_csv(options.out / "networks.csv", network_rows(comparison))
        terminal.line(f"{options.out}: methods.csv, networks.csv")
    if options.record:
        environment = environment_columns(PACKAGES, threads=settings.threads)
        recorded = {append_row("latency_fidelity", environment | row) for row in rows}
        terminal.line(f"recorded in {', '.join(map(str, recorded))}")


def _networks(options: argparse.Namespace) -> tuple[list[Architecture], list[Architecture]]:
    """The networks that are predicted, and those that the corrections are fitted on."""
    counts = {name: getattr(options, name) for name in NETWORKS}
    for name, count in counts.items():
        if not 0 <= count <= MAX_NETWORKS:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} must be in 0..{MAX_NETWORKS}, but got {count}")
    options.space = [name for name in SPACES if counts.get(name)]
    options.seed += [*seed_names()] if options.seeds else []
    spaces = spaces_of(options)
    least = -(-MIN_NETWORKS // max(1, len(spaces)))
    if not spaces or not least <= options.calibration <= CALIBRATION_NETWORKS:
        raise ValueError(
            f"--calibration must be in {least}..{CALIBRATION_NETWORKS}, of one space at least, but "
            f"got {options.calibration} of each of {len(spaces)}; give networks of a space"
        )
    return (
        held_out_networks(
            [(space, counts[space.name]) for space in spaces],
            networks_of(options),
            options.random_seed,
        ),
        [network for space in spaces for network in fitted_networks(space, options.calibration)],
    )


def fitted_networks(space: SearchSpace, count: int) -> list[Architecture]:
    """The first ``count`` of the networks that a table of the space is fitted on."""
    networks = whole_networks(space).items()
    return [network for network, role in networks if role == CALIBRATION][:count]


def report_lines(comparison: Comparison) -> list[str]:
    """The comparison as a person reads it."""
    columns = "{:<12} {:<6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>7} {:>7}".format
    lines = [
        f"{len(comparison.names)} networks, none of them fitted on:",
        "",
        columns("method", "fit", "MAPE", "±5 %", "±10 %", "rank", "bias", "worst",
                "scale", "entries", "seconds"),
        columns("noise floor", "", *_percentages(comparison.noise), "", "", ""),
    ]  # fmt: skip
    lines += [
        columns(
            outcome.method,
            outcome.fit,
            *_percentages(outcome.fidelity),
            f"{outcome.scale:.3f}",
            outcome.entries,
            f"{outcome.seconds:.0f}",
        )
        for outcome in comparison.outcomes
    ]
    return [*lines, "", f"whole networks took {comparison.network_seconds:.0f} s"]


def _percentages(found: Fidelity) -> list[str]:
    return [
        f"{found.mape:.2%}",
        f"{found.within_5:.1%}",
        f"{found.within_10:.1%}",
        "" if found.rank_correlation is None else f"{found.rank_correlation:.4f}",
        f"{found.bias:+.2%}",
        f"{found.worst:.1%}",
    ]


def method_rows(comparison: Comparison) -> list[dict[str, str]]:
    """A row a method and fit; the first is the noise floor."""
    rows = [_row("noise_floor", "", comparison.noise, ("", "", ""))]
    for outcome in comparison.outcomes:
        cost = (f"{outcome.scale:.4g}", str(outcome.entries), f"{outcome.seconds:.4g}")
        rows.append(_row(outcome.method, outcome.fit, outcome.fidelity, cost))
    return rows


def _row(method: str, fit: str, found: Fidelity, cost: Sequence[str]) -> dict[str, str]:
    figures = {
        name: "" if value is None else f"{value:.4g}" for name, value in asdict(found).items()
    }
    names = ("scale", "entries", "seconds")
    return {"method": method, "fit": fit, **figures, **dict(zip(names, cost, strict=True))}


def network_rows(comparison: Comparison) -> list[dict[str, str]]:
    """A row a held-out network: measured and predicted milliseconds."""
    columns = {
        "measured_ms": comparison.measured_ms,
        "early_ms": comparison.early_ms,
        "late_ms": comparison.late_ms,
    }
    for outcome in comparison.outcomes:
        columns[f"{outcome.method}/{outcome.fit}"] = outcome.predicted_ms
    return [
        {"name": name} | {column: f"{values[index]:.6g}" for column, values in columns.items()}
        for index, name in enumerate(comparison.names)
    ]


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write rows that have the same columns, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_whole(path, text.getvalue().encode())


if __name__ == "__main__":
    sys.exit(main())
