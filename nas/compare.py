"""``python -m nas.compare``: several runs on one page, and as a table in the terminal."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from latency.files import write_whole
from latency.options import make_parser, run_command
from nas.report.comparison import ComparedRun, differences, read_runs
from nas.report.comparison_page import render_comparison
from nas.report.text import NONE, millions, percent

DESCRIPTION = """\
Put finished runs beside each other: searches, NetAdapt runs and trainings, by their folders.

    python -m nas.compare runs/mobilenet_v3_15ms runs/netadapt_mobilenet_v3_15ms
    python -m nas.compare runs/* --out comparison.html

What differs in device, runtime, precision, threads, batch or data is named: such figures say
nothing about each other. Of a search for several targets, give the folders of the targets.
"""
_COLUMNS = (
    "run", "target, ms", "predicted, ms", "measured, ms", "verdict", "validation", "test", "MAdds",
    "parameters", "device",
)  # fmt: skip
_LINE_WIDTH = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("nas.compare", DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("comparison.html"),
        metavar="FILE",
        help="the page to write (%(default)s)",
    )
    options = parser.parse_args(arguments)
    return run_command("nas.compare", partial(_compare, options))


def _compare(options: argparse.Namespace) -> None:
    runs = read_runs(options.runs)
    words = ["python", "-m", "nas.compare", *map(str, options.runs), "--out", str(options.out)]
    write_whole(options.out, render_comparison(runs, shlex.join(words)))
    Console(highlight=False, width=_LINE_WIDTH).print(_table(runs))
    for difference in differences(runs):
        print(f"warning: {difference}")
    print(f"{options.out}: {len(runs)} runs on one page")


def _table(runs: Sequence[ComparedRun]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in _COLUMNS:
        is_text = name in ("run", "verdict", "device")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for run in runs:
        latencies = (run.target_ms, run.predicted_ms, run.measured_ms)
        table.add_row(
            Text(run.label),
            *(NONE if each is None else f"{each:.3f}" for each in latencies),
            run.verdict or NONE,
            percent(run.validation_accuracy),
            percent(run.test_accuracy),
            millions(run.madds),
            millions(run.params),
            Text(run.conditions["processor"]),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
