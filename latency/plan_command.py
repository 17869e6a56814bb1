"""``python -m latency.plan``: writes a plan, and says how to measure it."""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from latency.context import After
from latency.options import (
    add_measure_options,
    add_network_options,
    add_space_options,
    make_parser,
    networks_of,
    run_command,
    settings_of,
    spaces_of,
)
from latency.plan import entry_builders, steps_of, whole_networks, write_plan
from latency.reach import reachable_steps
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape

DESCRIPTION = """\
Write a plan: what a device is to measure, in a file of a few megabytes at most.

    python -m latency.plan --space mobilenet_v3 --out phone.plan
    python -m latency.plan --seed mobilenet_v3_small --seed shufflenet_v2_x1_0:1.5 --out two.plan

Of a space every block that some network has, and a few whole networks, to fit the table's scale on
and to validate it; of a network its blocks and itself, end to end.
"""
_SECONDS_BETWEEN_LINES = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the plan; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("latency.plan", DESCRIPTION)
    add_space_options(parser)
    add_network_options(parser)
    add_measure_options(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PLAN", help="the plan file to write"
    )
    options = parser.parse_args(arguments)
    return run_command("latency.plan", partial(_write, options))


def _write(options: argparse.Namespace) -> None:
    settings = settings_of(options)
    builders = entry_builders(*_wanted(options), settings)
    write_plan(options.out, list(builders.values()), settings, _progress())
    print(_next_step(options.out, len(builders), options.out.stat().st_size))


def _next_step(plan: Path, entries: int, size_bytes: int) -> str:
    size = f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"
    table = plan.with_suffix(".jsonl" if plan.suffix != ".jsonl" else ".table.jsonl")
    return (
        f"{plan}: {entries} entries, {size}. Measure it here, or on a machine that has Python,\n"
        "numpy, onnxruntime and a copy of latency/profile.py:\n\n"
        f"    python latency/profile.py {shlex.quote(str(plan))} --out {shlex.quote(str(table))}\n"
    )


def _wanted(
    options: argparse.Namespace,
) -> tuple[list[tuple[Block, TensorShape, After]], dict[Architecture, str]]:
    """The blocks in their places and the whole networks that the options ask for."""
    networks = dict.fromkeys(networks_of(options), "")
    spaces = spaces_of(options)
    if not (networks or spaces):
        raise ValueError("nothing to measure; give at least one of --space, --seed and --arch")
    steps = steps_of(networks)
    for space in spaces:
        steps += reachable_steps(space)
        networks |= whole_networks(space)
    return steps, networks


def _progress() -> Callable[[int, int], None]:
    """Prints on stderr how many graphs are built, once a second at most."""
    shown = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"built {done}/{total} graphs", file=sys.stderr)

    return report
