"""``python -m latency.table``: shows tables, unites them, takes them in, compares them."""

import argparse
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from latency.console import Terminal
from latency.files import write_whole
from latency.options import make_parser, run_command
from latency.plan import MeasureSettings
from latency.profile import MAX_FILE_BYTES
from latency.table import LatencyTable, TableError, aggregate, read_visits
from latency.table_checks import check_networks, check_visits, checked_settings
from latency.table_diff import diff_lines, header_differences
from latency.table_report import printable, show_lines

DESCRIPTION = """\
Show, unite, take in and compare latency tables.

    python -m latency.table show tables/phone.jsonl
    python -m latency.table merge monday.jsonl tuesday.jsonl --out tables/phone.jsonl
    python -m latency.table import phone.jsonl
    python -m latency.table diff tables/phone.jsonl tables/other_phone.jsonl
"""
TABLES = Path("tables")
"""Where the search keeps its tables."""

Record = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("latency.table", DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, prog="latency.table")

    def command(
        name: str, run: Callable[[argparse.Namespace, Terminal], None], text: str
    ) -> Callable[..., argparse.Action]:
        added = commands.add_parser(name, usage=argparse.SUPPRESS, help=text, description=text)
        added.set_defaults(run=run)
        return added.add_argument

    add = command("show", _show, "what a table holds, and how good it is")
    add("table", type=Path)
    add("--top", type=int, default=5, help="how many extremes to name (%(default)s)")
    add = command("merge", _merge, "the visits of several tables of one device, as one table")
    add("tables", type=Path, nargs="+")
    add("--out", type=Path, required=True, help="the table to write")
    add = command("import", _import, "check a table from elsewhere, and keep it for searches")
    add("table", type=Path)
    add("--out", type=Path, help="the table to write (tables/<name of the file>.jsonl)")
    add = command("diff", _diff, "how much slower the second table is than the first")
    add("table", type=Path)
    add("other", type=Path)
    options = parser.parse_args(arguments)
    run = partial(options.run, options, Terminal())
    return run_command(f"latency.table {options.command}", run)


def _show(options: argparse.Namespace, terminal: Terminal) -> None:
    if options.top < 0:
        raise ValueError(f"--top must be 0 or more, but got {options.top}")
    with terminal.progress(f"reading {options.table}"):
        table, visits = _read(options.table)
        lines = show_lines(table, visits, options.top)
    for line in lines:
        terminal.line(line)


def _merge(options: argparse.Namespace, terminal: Terminal) -> None:
    with terminal.progress(f"reading {len(options.tables)} tables"):
        header, visits = merge(options.tables)
        if options.out.resolve() in [path.resolve() for path in options.tables]:
            write_table(options.out, header, visits)
        else:
            _keep(options.out, header, visits, "give another --out, or name it among the tables")
    entries = len({visit["key"] for visit in visits})
    terminal.line(f"{options.out}: {len(visits)} visits of {entries} entries")


def _import(options: argparse.Namespace, terminal: Terminal) -> None:
    out = options.out or TABLES / f"{options.table.stem}.jsonl"
    with terminal.progress(f"checking {options.table}"):
        table, visits = _read(options.table)
        settings = checked_settings(table)
        check_visits(table.source, visits)
        found = check_networks(table)
        remedy = "give another --out, or unite the two with `python -m latency.table merge`"
        _keep(out, table.header, visits, remedy)
    device = printable(table.header["device"])
    terminal.line(f"{out}: {len(visits)} visits of {len(table)} entries; {device}")
    terminal.line(f"  {found.networks} whole networks against the sum of their blocks: {found}")
    terminal.line(
        "  Search with it on that device, over ssh with device=ssh device.host=…, or, where that\n"
        "  cannot be reached, with device=offline:\n"
    )
    terminal.line(f"    python -m nas.search target_latency=… {_overrides(out, settings)}\n")


def _overrides(path: Path, settings: MeasureSettings) -> str:
    """What the search must be told to use the table at ``path``."""
    usual = MeasureSettings().table_fields
    said = {"table": path} | {
        f"measure.{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.table_fields.items()
        if value != usual[name]
    }
    return shlex.join(f"{name}={value}" for name, value in said.items())


def _keep(out: Path, header: dict[str, Any], visits: list[dict[str, Any]], remedy: str) -> None:
    """Write a table where there is none; it may be there already, but no other."""
    if not out.exists():
        write_table(out, header, visits)
    elif read_visits(out) != (header, visits):
        raise ValueError(f"{out} is there already and holds something else; {remedy}")


def _diff(options: argparse.Namespace, terminal: Terminal) -> None:
    with terminal.progress("reading two tables"):
        lines = diff_lines(_read(options.table)[0], _read(options.other)[0])
    for line in lines:
        terminal.line(line)


def _read(path: Path) -> tuple[LatencyTable, list[dict[str, Any]]]:
    header, visits = read_visits(path)
    if not visits:
        raise TableError(f"{path} holds a header and no visits; measure something into it first")
    return LatencyTable(header, aggregate(visits), str(path)), visits


def merge(paths: Sequence[Path]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The tables' header and their visits, each once, in the order of the tables.

    Raises:
        ValueError: there are fewer than two tables.
        TableError: a file is no table, their headers differ, or two disagree about a visit.
        OSError: a file cannot be read.
    """
    if len(paths) < 2:
        raise ValueError(f"merging takes two tables or more, but got {len(paths)}")
    header, visits = read_visits(paths[0])
    united = {(visit["key"], visit["at_s"]): visit for visit in visits}
    for path in paths[1:]:
        theirs, visits = read_visits(path)
        if differences := header_differences(header, theirs):
            said = "; ".join(f"{name} is {one} and {other}" for name, one, other in differences)
            raise TableError(
                f"{paths[0]} and {path} were measured differently: {said}; merge tables of one "
                "device and the same settings"
            )
        for visit in visits:
            if united.setdefault((visit["key"], visit["at_s"]), visit) != visit:
                raise TableError(
                    f"{path} has other figures than a table before it for the visit of "
                    f"{visit['key']!r:.200} at {visit['at_s']}; merge tables as they were measured"
                )
    return header, list(united.values())


def write_table(path: Path, header: Record, visits: Iterable[Record]) -> None:
    """Write a table's file, whole or not at all.

    Raises:
        ValueError: it would be too large to be read again.
        OSError: it cannot be written.
    """
    content = b"".join(json.dumps(record).encode() + b"\n" for record in (header, *visits))
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{path} would be larger than a table may be, {MAX_FILE_BYTES} bytes")
    write_whole(path, content)
