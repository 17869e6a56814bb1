"""Do ShuffleNetV2's four guidelines hold on this device?

    python -m latency.guidelines

Repeats the experiments that the paper derives its guidelines from (Ma et al., 2018, section 2,
tables 1 to 4), prints this device's speeds beside the paper's, says of each guideline whether it
holds here, and draws a figure each. Stopped, it goes on where it was. docs/guidelines.md says how
the networks are built and what the verdicts mean.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from latency.console import Terminal
from latency.context import After
from latency.devices import Device
from latency.files import write_json, write_whole
from latency.guideline_figures import draw_guideline
from latency.guideline_graphs import (
    GUIDELINES,
    PLATFORMS,
    SCALES,
    Guideline,
    Row,
    unit_between_stubs,
    unit_madds,
    unit_shape,
)
from latency.guideline_verdict import Outcome, Speed, Speeds, Verdict, judge
from latency.keys import boundary_key
from latency.measure import measure_entries
from latency.options import (
    add_device_options,
    add_measure_options,
    device_of,
    make_parser,
    run_command,
    settings_of,
)
from latency.plan import MeasureSettings, PlanEntry, Progress, boundary_entry, graph_entry
from latency.table import Entry

MS_PER_S = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A guideline on a device: speeds of all its rows, and the verdicts on them and on the paper's.

    Speeds are of the blocks alone: what their stubs take is subtracted.
    """

    guideline: Guideline
    speeds: Speeds
    here: Verdict
    paper: Mapping[str, Verdict]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, judge, print, draw; returns the exit code, 2 with one line for bad input."""
    parser = make_parser("latency.guidelines", __doc__ or "")
    add_measure_options(parser)
    add_device_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/guidelines"),
        help="folder for the table, guidelines.json and the figures (%(default)s)",
    )
    options = parser.parse_args(arguments)
    return run_command("latency.guidelines", partial(_run, options, Terminal()))


def _run(options: argparse.Namespace, terminal: Terminal) -> None:
    settings, device, folder = settings_of(options), device_of(options), options.out
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out must be a folder, but {folder} is a file; give another --out")
    if settings.min_rounds < 2:
        raise ValueError("--min-rounds must be at least 2, because one visit has no interval")
    with terminal.progress("measuring the guidelines' networks") as update:
        results = measure_guidelines(device, folder / "table.jsonl", settings, update)
    files = []
    for result in results:
        for line in result_lines(result):
            terminal.line(line)
        terminal.line()
        figure = draw_guideline(result.guideline, result.speeds, result.here)
        files.append(write_whole(folder / f"{result.guideline.name}.png", figure))
    if any(result.here.outcome is Outcome.UNDECIDED for result in results):
        terminal.line(
            "Undecided is what differs by less than the noise: raise --max-rounds to go on, or "
            "measure on an idle machine under another --out."
        )
    content = report(results, {**device.describe(), **settings.table_fields})
    files.append(write_json(folder / "guidelines.json", content))
    terminal.line(f"{folder}: {', '.join(file.name for file in files)}")


def measure_guidelines(
    device: Device, table: Path, settings: MeasureSettings, on_progress: Progress
) -> list[Result]:
    """Measure what ``table`` lacks of the experiments, and judge every guideline.

    Raises:
        TableError: the table is damaged, or of another device or other settings.
        DeviceError: measuring failed.
        ValueError: a network took no longer than its stubs alone.
        OSError: the table cannot be read or written.
    """
    wanted = [*_entries(settings).values()]
    measured = measure_entries(device, table, wanted, settings, on_progress)
    by_key = {entry.key: entry for entry in measured}
    return [_result(guideline, by_key) for guideline in GUIDELINES]


def _entries(settings: MeasureSettings) -> dict[str, PlanEntry]:
    """Every network, and the stubs of its map alone, by key."""
    batch, precision = settings.batch, settings.precision
    entries: dict[str, PlanEntry] = {}
    for guideline in GUIDELINES:
        for row in guideline.rows:
            for scale in SCALES:
                unit = row.unit.scaled(scale)
                stubs = boundary_entry(
                    unit_shape(unit), After.CONV, batch=batch, precision=precision
                )
                network = graph_entry(
                    guideline.key(row, scale),
                    unit_between_stubs(unit),
                    batch=batch,
                    precision=precision,
                )
                entries |= {stubs.key: stubs, network.key: network}
    return entries


def _result(guideline: Guideline, entries: Mapping[str, Entry]) -> Result:
    speeds = {
        row.label: tuple(_speed(guideline, row, scale, entries) for scale in SCALES)
        for row in guideline.rows
    }
    return Result(
        guideline=guideline,
        speeds=speeds,
        here=judge(guideline, speeds),
        paper={
            platform: judge(guideline, paper_speeds(guideline, platform)) for platform in PLATFORMS
        },
    )


def _speed(guideline: Guideline, row: Row, scale: int, entries: Mapping[str, Entry]) -> Speed:
    network = entries[guideline.key(row, scale)]
    stubs = entries[boundary_key(unit_shape(row.unit.scaled(scale)), After.CONV)]
    latency_ms = network.latency_ms - stubs.latency_ms
    if latency_ms <= 0:
        raise ValueError(
            f"{network.key} took {network.latency_ms:.3g} ms and its stubs alone "
            f"{stubs.latency_ms:.3g} ms: this machine is too busy to tell; measure again under "
            "another --out"
        )
    errors_ms = (entry.interval * entry.latency_ms for entry in (network, stubs))
    error_ms = sum(error**2 for error in errors_ms) ** 0.5
    return Speed(per_second=MS_PER_S / latency_ms, interval=error_ms / latency_ms)


def paper_speeds(guideline: Guideline, platform: str) -> Speeds:
    """The paper's speeds on one of ``PLATFORMS``; it gives no intervals."""
    return {
        label: tuple(Speed(per_second=figure) for figure in figures)
        for label, figures in guideline.paper(platform).items()
    }


def result_lines(result: Result) -> list[str]:
    """A guideline's table and verdicts as a person reads them."""
    guideline = result.guideline
    label_width = max(len(row.label) for row in guideline.rows)
    columns = "".join(f"{f'×{scale} here':>10}{'CPU':>12}{'GPU':>6}" for scale in SCALES)
    lines = [
        f"{guideline.name}: {guideline.title}",
        f"speeds relative to {guideline.rows[0].label}, here (± half the 95 % interval) and in the "
        "paper",
        f"{'':{label_width}}{'channels':>10}{'MAdds':>7}{columns}",
        *(f"{row.label:{label_width}}{_cells(result, row)}" for row in guideline.rows),
    ]
    if guideline.note:
        lines.append(guideline.note)
    lines.append(f"this device  {result.here}")
    lines += [f"  not in order: {text}" for text in result.here.out_of_order]
    lines += [f"paper's {name.upper()}  {verdict}" for name, verdict in result.paper.items()]
    return lines


def _cells(result: Result, row: Row) -> str:
    first = result.guideline.rows[0]
    madds = unit_madds(row.unit) / unit_madds(first.unit)
    cells = f"{'-'.join(map(str, row.unit.widths)):>10}{madds:>7.3f}"
    for column in range(len(SCALES)):
        ratio = result.speeds[row.label][column].over(result.speeds[first.label][column])
        accuracy = f" ±{ratio.interval:.1%}" if ratio.interval else ""
        cells += f"{ratio.value:>10.2f}{accuracy:<8}"
        for platform in PLATFORMS:
            figures = result.guideline.paper(platform)
            relative = (
                f"{figures[row.label][column] / figures[first.label][column]:.2f}"
                if row.label in figures
                else "–"
            )
            cells += relative.rjust(4 if platform == PLATFORMS[0] else 6)
    return cells


def report(results: Sequence[Result], circumstances: Mapping[str, object]) -> dict[str, object]:
    """Every number, as plain data."""
    return {**circumstances, "guidelines": [_guideline_report(result) for result in results]}


def _guideline_report(result: Result) -> dict[str, object]:
    first = result.speeds[result.guideline.rows[0].label]
    rows = []
    for row in result.guideline.rows:
        columns = []
        for column, scale in enumerate(SCALES):
            speed, unit = result.speeds[row.label][column], row.unit.scaled(scale)
            columns.append(
                {
                    "scale": scale,
                    "channels": unit.widths,
                    "madds": unit_madds(unit),
                    "latency_ms": MS_PER_S / speed.per_second,
                    "latency_interval": speed.interval,
                    "relative_speed": speed.over(first[column]).value,
                    "relative_speed_interval": speed.over(first[column]).interval,
                    "paper_cpu_speed": row.cpu[column] if row.cpu else None,
                    "paper_gpu_speed": row.gpu[column] if row.gpu else None,
                }
            )
        rows.append({"row": row.label, "columns": columns})
    return {
        "name": result.guideline.name,
        "title": result.guideline.title,
        "verdict": asdict(result.here),
        "paper_verdicts": {name: asdict(verdict) for name, verdict in result.paper.items()},
        "rows": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
