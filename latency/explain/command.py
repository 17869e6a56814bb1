"""The command line of ``latency.explain``."""

import argparse
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from latency.console import Terminal
from latency.devices.base import Device
from latency.explain.claims import judge, networks_of_claims, published_claims
from latency.explain.figure import draw_explanations
from latency.explain.network import Explanation, explain_network
from latency.explain.report import LEGEND, claim_lines, comparison_lines, network_lines
from latency.files import write_json, write_whole
from latency.keys import network_key
from latency.measure import ensure_table, has_header, measure_entries
from latency.options import (
    adapted,
    add_device_options,
    add_measure_options,
    add_network_options,
    device_of,
    make_parser,
    networks_of,
    run_command,
    settings_of,
)
from latency.plan import CALIBRATION, MeasureSettings, network_entry, steps_of
from latency.table import LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.seeds import seed_names

DESCRIPTION = """\
Where the milliseconds go: a network by block and by kind of operation, predicted and traced.

    python -m latency.explain --seed mnasnet_a1 --seed mobilenet_v3_large --table local.jsonl
    python -m latency.explain arch=mnasnet_a1 arch=mine.yaml --table local.jsonl
    python -m latency.explain --claims --table local.jsonl

What the table lacks is measured. Traces are kept beside it, in a table of their own. With --claims:
what papers claim of the seeds, each with its verdict on this device.
"""
MOST_NETWORKS = 2
_YAML = (".yaml", ".yml")
_LONGEST_NAME = 100
_UNCALIBRATED = (
    "{path} holds no networks to calibrate on, so predictions are plain sums of blocks; a table of "
    "a space has them (`python -m latency.plan --space NAME`)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, draw; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("latency.explain", DESCRIPTION)
    add = parser.add_argument
    add("networks", nargs="*", metavar="arch=NAME_OR_FILE", help="a seed, or a network in YAML")
    add_network_options(parser)
    add_measure_options(parser)
    add_device_options(parser)
    add("--table", type=Path, required=True, help="table to read; what it lacks is measured")
    add("--claims", action="store_true", help="check what papers claim of the seeds")
    add("--out", type=Path, help="folder for what is written (runs/explain/NAME)")
    options = parser.parse_intermixed_args(arguments)
    return run_command("latency.explain", partial(_explain, options, Terminal()))


def _explain(options: argparse.Namespace, terminal: Terminal) -> None:
    if options.resolution is not None and len(options.resolution) > 1:
        sizes = ",".join(map(str, options.resolution))
        raise ValueError(f"networks are explained at one --resolution, but got {sizes}")
    networks = named_networks(options)
    if not networks and not options.claims:
        raise ValueError(
            "nothing to explain; give one or two of --seed, --arch and arch=NAME_OR_FILE, or "
            "--claims"
        )
    settings, device = settings_of(options), device_of(options)
    folder = options.out or Path("runs/explain") / folder_name(networks)
    if networks:
        explanations = _explained(networks, device, settings, options.table, terminal)
        write_json(
            folder / "explain.json",
            {"networks": [explanation.record() for explanation in explanations]},
        )
        write_whole(folder / "explain.png", draw_explanations(explanations))
        for line in _lines(explanations):
            terminal.line(line)
        terminal.line(f"{folder}: explain.json, explain.png")
    if options.claims:
        claims = published_claims(lambda network: adapted(network, options)[0])
        of_claims = networks_of_claims(claims)
        findings = judge(claims, _measured(of_claims, device, settings, options.table, terminal))
        write_json(folder / "claims.json", [finding.record() for finding in findings])
        for line in claim_lines(findings):
            terminal.line(line)
        terminal.line(f"{folder}: claims.json")


def named_networks(options: argparse.Namespace) -> list[Architecture]:
    """The networks to explain.

    Raises:
        ValueError: there are more than two, or both are the same one.
    """
    networks = networks_of(options)
    for text in options.networks:
        networks += networks_of(_named(text, options))
    if len(networks) > MOST_NETWORKS:
        raise ValueError(f"one or two networks are explained, but got {len(networks)}")
    if len({network_key(network) for network in networks}) < len(networks):
        raise ValueError(
            f"two different networks are compared, but {networks[0].name} and {networks[1].name} "
            "are the same; give one of them"
        )
    return networks


def _named(text: str, options: argparse.Namespace) -> argparse.Namespace:
    """The options as they would be if ``arch=NAME_OR_FILE`` were their only network."""
    field, equals, name = text.partition("=")
    if field != "arch" or not equals or not name:
        raise ValueError(f"a network is given as arch=NAME_OR_FILE, but got {text!r:.80}")
    is_seed = name.partition(":")[0] in seed_names()
    if not is_seed and (Path(name).suffix in _YAML or Path(name).exists()):
        return argparse.Namespace(**{**vars(options), "seed": [], "arch": [Path(name)]})
    return argparse.Namespace(**{**vars(options), "seed": [name], "arch": []})


def folder_name(networks: Sequence[Architecture]) -> str:
    """A name for a folder, whatever the networks are called."""
    names = "_vs_".join(network.name for network in networks) or "claims"
    return re.sub(r"[^\w-]", "_", names)[:_LONGEST_NAME]


def _explained(
    networks: Sequence[Architecture],
    device: Device,
    settings: MeasureSettings,
    path: Path,
    terminal: Terminal,
) -> list[Explanation]:
    table = _measured(networks, device, settings, path, terminal)
    entries = [
        network_entry(network, batch=settings.batch, precision=settings.precision, trace=True)
        for network in networks
    ]
    # An entry that is traced is visited once, so it is none for the table itself.
    traces = path.with_name(f"{path.stem}.trace{path.suffix}")
    with terminal.progress("tracing") as update:
        traced = measure_entries(device, traces, entries, settings, update)
    return [
        explain_network(network, table, entry)
        for network, entry in zip(networks, traced, strict=True)
    ]


def _measured(
    networks: Sequence[Architecture],
    device: Device,
    settings: MeasureSettings,
    path: Path,
    terminal: Terminal,
) -> LatencyTable:
    """The table, with the networks end to end and their blocks."""
    names = " and ".join(network.name for network in networks[:MOST_NETWORKS])
    more = len(networks) - MOST_NETWORKS
    with terminal.progress(
        f"measuring {names}" + (f" and {more} more" if more > 0 else "")
    ) as update:
        table = ensure_table(
            device,
            path,
            steps_of(networks),
            roles_in(path, networks),
            settings,
            update,
            terminal.line,
        )
    if not any(entry.role == CALIBRATION for entry in table.entries):
        terminal.line(_UNCALIBRATED.format(path=path))
    return table


def roles_in(path: Path, networks: Sequence[Architecture]) -> dict[Architecture, str]:
    """Each network in the role that it has in the table: what is fitted on stays fitted on."""
    held = LatencyTable.load(path) if has_header(path) else None
    keys = {network: network_key(network) for network in networks}
    return {
        network: "" if held is None or key not in held else held.entry(key).role
        for network, key in keys.items()
    }


def _lines(explanations: Sequence[Explanation]) -> list[str]:
    lines = [line for explanation in explanations for line in network_lines(explanation)]
    if len(explanations) == MOST_NETWORKS:
        lines += comparison_lines(*explanations)
    return [*lines, LEGEND]
