"""Where a figure was measured, and the table of results that it goes into."""

import csv
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
RESULTS = _ROOT / "benchmarks" / "results"


def environment_columns(packages: Iterable[str], *, threads: int) -> dict[str, str]:
    """The columns that name an environment, the same ones in every table of results.

    Args:
        packages: the distributions whose versions bear on the figures.
        threads: how many threads the measured code was allowed.
    """
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "device": _cpu_model(),
        "threads": str(threads),
        "versions": " ".join(f"{name}={number}" for name, number in versions.items()),
    }


def append_row(topic: str, row: Mapping[str, str]) -> Path:
    """Append ``row`` to ``benchmarks/results/<topic>.csv``, which is begun where it is missing.

    Raises:
        ValueError: the table there has other columns.
    """
    path = RESULTS / f"{topic}.csv"
    path.parent.mkdir(exist_ok=True)
    begun = path.exists()
    if begun:
        with path.open(newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), [])
        if columns != list(row):
            raise ValueError(
                f"{path} has the columns {', '.join(columns)}, but the row has {', '.join(row)}; "
                "move the old table away or give the new one another name"
            )
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerow(row)
    return path


def _commit() -> str:
    """The short commit, with ``-dirty`` where tracked files differ from it (results apart).

    ``unknown`` outside a checkout: the figures are right all the same.
    """
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=_ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
