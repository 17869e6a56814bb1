"""All files of a report: computed, drawn, written."""

from typing import Any

from latency.table import LatencyTable, MissingEntryError
from nas.handover import Handover
from nas.run_folder import Folder
from netadapt.journal import State
from netadapt.report.figures import draw_trajectory, draw_widths
from netadapt.report.layers import compare_layers, layers_csv
from netadapt.report.page import render_page
from netadapt.report.steps import origins, read_steps, trajectory_csv
from netadapt.report.summary import summarise
from netadapt.setup import NetAdaptRun
from netadapt.tuning import parts_of


def write_report(
    run: NetAdaptRun,
    folder: Folder,
    start: State,
    end: State,
    handover: Handover,
    target_ms: float,
) -> dict[str, Any]:
    """Write the report of a run whose last network was handed over; returns the summary.

    ``summary.json`` comes last: a run that has it is finished.

    Args:
        start, end: the seed, and the last network.
        target_ms: where the seed takes what it took beside ``best.onnx``.
    """
    steps = read_steps(folder.path)
    _, kept = parts_of(run.tuning)
    summary = summarise(
        run, start, end, handover, steps, target_ms=target_ms, proposal_images=len(kept)
    )
    layers = compare_layers(
        start.architecture,
        end.architecture,
        origins(steps, len(start.architecture.blocks)),
        _table(run, start),
    )
    trajectory, widths = draw_trajectory(summary), draw_widths(layers)
    page = render_page(summary, layers, end.architecture.to_yaml())
    folder.write("trajectory.csv", trajectory_csv(summary))
    folder.write("layers.csv", layers_csv(layers))
    folder.write("figures/trajectory.png", trajectory)
    folder.write("figures/widths.png", widths)
    folder.write("report.html", page)
    folder.write_json("summary.json", summary)
    return summary


def _table(run: NetAdaptRun, seed: State) -> LatencyTable | None:
    """The table, as the steps had it; ``None`` where it has gone, or holds the seed no more."""
    try:
        table = LatencyTable.load(run.settings.table)
        return table.at_speed_of(seed.architecture, seed.measured_ms)
    except (OSError, MissingEntryError):
        return None
