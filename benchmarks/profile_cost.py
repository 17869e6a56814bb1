"""What it costs to measure a whole space: seconds, and how many of them pass inside runs.

    python -m benchmarks.profile_cost [--table FILE] [--record]

Everything that ``python -m latency.plan --space`` asks for is measured into a table of its own, on
one core. A visit is to cost the same at the end as at the beginning, since cost then grows linearly
in entries.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from benchmarks.environment import append_row, environment_columns
from latency.console import Terminal
from latency.devices.base import DeviceError
from latency.devices.process import report_progress
from latency.options import (
    SPACES,
    add_measure_options,
    make_parser,
    resolutions,
    run_command,
    settings_of,
)
from latency.plan import PlanEntry, Progress, entry_builders, whole_networks, write_plan
from latency.profile import Bench, OrtBench, Plan, ProfileError, profile
from latency.reach import reachable_steps
from latency.table import read_visits

AIM_SECONDS, AIM_SHARE = 360.0, 0.85
QUARTERS = 4
PACKAGES = ("numpy", "onnx", "onnxruntime")

Builder: TypeAlias = Callable[[], PlanEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What measuring a plan cost.

    Attributes:
        entries, visits: how many.
        seconds: from the plan file to the last visit.
        share_in_runs: of the seconds, those inside runs of entries and of the reference network.
        quarters_s: seconds a visit in each quarter of the first round, in which every entry is
            visited once, in random order.
        reference_drift: the reference network's latency in the last of these quarters over that in
            the first: what the machine itself did meanwhile.
    """

    entries: int
    visits: int
    seconds: float
    share_in_runs: float
    quarters_s: tuple[float, ...]
    reference_drift: float

    @property
    def visit_s(self) -> float:
        return self.seconds / self.visits

    @property
    def last_over_first(self) -> float:
        """A visit in the last quarter over one in the first."""
        return self.quarters_s[-1] / self.quarters_s[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.profile_cost", __doc__ or "")
    add = parser.add_argument
    add("--space", choices=SPACES, default="mobilenet_v3", help="(%(default)s)")
    sizes = "image height and width, one or several: 160,192,224 (%(default)s)"
    add("--resolution", type=resolutions, default="224", metavar="PIXELS", help=sizes)
    add("--num-classes", type=int, default=1000, help="(%(default)s)")
    add("--entries", type=int, help="only so many of the entries, drawn at random: to try it")
    add_measure_options(parser)
    add("--table", type=Path, metavar="FILE", help="a new table to keep (a temporary one)")
    add("--record", action="store_true", help="append a row to the results")
    parser.set_defaults(affinity="0")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.profile_cost", partial(_run, options, Terminal()))


def _run(options: argparse.Namespace, terminal: Terminal) -> None:
    if options.table is not None and options.table.exists():
        raise ValueError(
            f"--table {options.table} is there already; name a new file, so that everything is "
            "measured now"
        )
    settings = settings_of(options)
    space = SPACES[options.space](resolution=options.resolution, num_classes=options.num_classes)
    with terminal.progress("listing the space"):
        builders = entry_builders(reachable_steps(space), whole_networks(space), settings)
    chosen = choose(list(builders.values()), options.entries)
    with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
        plan, table = Path(folder) / "plan.zip", options.table or Path(folder) / "table.jsonl"
        begun = time.perf_counter()
        with terminal.progress(f"building {len(chosen)} graphs") as update:
            write_plan(plan, chosen, settings, update)
        size_mb, built_s = plan.stat().st_size / 1e6, time.perf_counter() - begun
        terminal.line(f"plan: {len(chosen)} entries, {size_mb:.1f} MB, written in {built_s:.1f} s")
        with terminal.progress(f"measuring {len(chosen)} entries") as update:
            figures = measure(plan, table, update, OrtBench)
    for line in report_lines(figures, whole=options.entries is None):
        terminal.line(line)
    if options.record:
        row = environment_columns(PACKAGES, threads=settings.threads)
        row |= {"space": options.space, "resolution": " ".join(map(str, options.resolution))}
        terminal.line(f"recorded in {append_row('profile_cost', row | columns_of(figures))}")


def choose(builders: Sequence[Builder], count: int | None) -> Sequence[Builder]:
    """``count`` of the entries, drawn at random; all where it is None."""
    if count is None:
        return builders
    if not QUARTERS < count <= len(builders):
        raise ValueError(f"--entries must be in {QUARTERS + 1}..{len(builders)}, but got {count}")
    return random.Random(0).sample(builders, count)  # noqa: S311


def measure(
    plan: Path,
    table: Path,
    on_progress: Progress,
    make_bench: Callable[[Plan, Path], Bench],
) -> Figures:
    """Measure a plan, in this process, into a table that is not there yet.

    Raises:
        DeviceError: a graph cannot be run, or this process not be pinned.
        OSError: the table cannot be written.
    """
    benches: list[Bench] = []

    def make(opened: Plan, folder: Path) -> Bench:
        benches.append(make_bench(opened, folder))
        return benches[-1]

    begun = time.perf_counter()
    try:
        profile(plan, table, lambda text: report_progress(text.encode(), on_progress), make)
    except ProfileError as error:
        raise DeviceError(str(error)) from None
    seconds = time.perf_counter() - begun
    _, visits = read_visits(table)
    return figures_of(visits, seconds, benches[0].seconds_in_runs)


def figures_of(
    visits: Sequence[Mapping[str, Any]], seconds: float, seconds_in_runs: float
) -> Figures:
    """The figures of a table that was measured at a stretch: its first round visits all entries."""
    entries = len({visit["key"] for visit in visits})
    times = [visit["at_s"] for visit in visits[:entries]]
    references = [visit["reference_ms"] for visit in visits[:entries]]
    # Visits of a sitting have their time in common; the quarters are of whole sittings.
    ends = [at for at in range(entries) if at + 1 == entries or times[at] != times[at + 1]]
    marks = [ends[quarter * (len(ends) - 1) // QUARTERS] for quarter in range(QUARTERS + 1)]
    return Figures(
        entries=entries,
        visits=len(visits),
        seconds=seconds,
        share_in_runs=seconds_in_runs / seconds,
        quarters_s=tuple(
            (times[end] - times[begin]) / (end - begin) for begin, end in pairwise(marks)
        ),
        reference_drift=median(references[marks[-2] + 1 :]) / median(references[1 : marks[1] + 1]),
    )


def report_lines(figures: Figures, *, whole: bool) -> list[str]:
    """The figures as a person reads them, and whether those of a whole space meet the aim."""
    quarters = ", ".join(f"{1e3 * quarter:.1f}" for quarter in figures.quarters_s)
    lines = [
        f"seconds            {figures.seconds:.1f}",
        f"inside runs        {figures.share_in_runs:.1%}",
        f"visits             {figures.visits} of {figures.entries} entries",
        f"a visit            {1e3 * figures.visit_s:.1f} ms",
        f"first round        {quarters} ms a visit, quarter by quarter",
        f"last over first    {figures.last_over_first:.2f}, of the reference network "
        f"{figures.reference_drift:.2f}",
    ]
    if whole:
        met = figures.seconds <= AIM_SECONDS and figures.share_in_runs >= AIM_SHARE
        lines.append(
            f"aim: {AIM_SECONDS:.0f} s at most, {AIM_SHARE:.0%} of them inside runs: "
            f"{'met' if met else 'missed'}"
        )
    return lines


def columns_of(figures: Figures) -> dict[str, str]:
    """The figures as columns of a row of results."""
    return {
        "entries": str(figures.entries),
        "visits": str(figures.visits),
        "seconds": f"{figures.seconds:.4g}",
        "share_in_runs": f"{figures.share_in_runs:.4g}",
        **{f"quarter{n}_s": f"{value:.4g}" for n, value in enumerate(figures.quarters_s, start=1)},
        "reference_drift": f"{figures.reference_drift:.4g}",
    }


if __name__ == "__main__":
    sys.exit(main())
