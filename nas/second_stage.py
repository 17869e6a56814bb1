"""``netadapt=true``: a search's winners are shaved to its target by ``python -m netadapt.run``.

The search is given more time than the target, ``headroom`` times as much, and NetAdapt takes it
away again where it costs the least accuracy (MobileNetV3, section 4: search finds the blocks,
NetAdapt the widths). The second stage is a command of its own, with a folder of its own, so either
stage can be run again without the other.
"""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.utils import get_class

from latency.console import Terminal
from nas.checks import check_range
from nas.configuration import as_written, settings_in
from nas.run_folder import flat
from nas.settings import check_shaved_precision
from nas.units import format_latency

_SHARED = ("data", "device", "executor", "final", "measure", "proxy_resolution", "runs", "table")
"""Settings that both stages have, by the same names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondStage:
    """What ``netadapt=`` and ``headroom=`` ask for.

    Attributes:
        settings: of ``conf/netadapt.yaml``, by name.
        headroom: a search's target over the latency that is met in the end.
    """

    settings: Mapping[str, Any]
    headroom: float

    @staticmethod
    def of(plain: Mapping[str, Any]) -> "SecondStage | None":
        """Read a search's configuration; ``None``: the search is all.

        Raises:
            ValueError: a value cannot be used.
        """
        asked, headroom = plain["netadapt"], plain["headroom"]
        if asked is False:
            return None
        if asked is not True and not isinstance(asked, dict):
            raise ValueError(
                "netadapt must be false, true, or settings of its own such as "
                f"netadapt={{steps:100}}, but got {asked!r:.80}"
            )
        settings = {} if asked is True else asked
        _check_names(settings)
        check_shaved_precision(plain["measure"]["precision"])
        check_range("headroom", headroom, 1.01, 10)
        if plain["handover"] is not True:
            raise ValueError("netadapt=… shaves what is handed over; it needs handover=true")
        return SecondStage(settings=settings, headroom=headroom)


def _check_names(settings: Mapping[str, Any]) -> None:
    """Refuse before the search what would be refused after it.

    Raises:
        ValueError: a setting is none of ``conf/netadapt.yaml``, nor of the classes that it names.
    """
    known = as_written("netadapt")
    names = settings_in(known)
    groups = {
        name: {field.name for field in fields(get_class(known[name]["_target_"]))}
        for name in names
        if isinstance(known[name], dict) and "_target_" in known[name]
    }
    for name in flat(settings):
        group, _, field = name.partition(".")
        fits = group in names and (not field or group not in groups or field in groups[group])
        if not fits:
            allowed = ", ".join(sorted(groups.get(group, names)))
            raise ValueError(f"netadapt has no setting {name!r:.80}; it must be among {allowed}")


def shave_winners(
    stage: SecondStage,
    run: str,
    winners: Mapping[float, Path],
    shared: Iterable[str],
    terminal: Terminal,
) -> int:
    """Run the second stage for each winner; returns the last exit code that is not 0, or 0.

    Args:
        run: the name of the search's run.
        winners: their folders, by the search's target in milliseconds.
        shared: arguments that the second stage has in common with the search.
    """
    failed = 0
    for target_ms, folder in winners.items():
        target = format_latency(target_ms / stage.headroom)
        command = [
            "python",
            "-m",
            "netadapt.run",
            *shared,
            f"from={folder}",
            f"name=netadapt_{run}{f'_{target}' if len(winners) > 1 else ''}",
            f"target_latency={target}",
            *(f"++{name}={json.dumps(value)}" for name, value in flat(stage.settings).items()),
        ]
        terminal.line()
        terminal.line(f"second stage: {shlex.join(command)}")
        failed = _run([sys.executable, *command[1:]]) or failed
    return failed


def shared_arguments(overrides: Iterable[str], config_folders: Iterable[str]) -> list[str]:
    """Of what a person gave the search, what the second stage must be told as well.

    Args:
        overrides: of Hydra, as they were given.
        config_folders: folders with configurations of their own.
    """
    return [*(f"--config-dir={folder}" for folder in config_folders), *_taken_over(overrides)]


def _taken_over(overrides: Iterable[str]) -> Iterator[str]:
    """What the second stage is to be told as well."""
    for override in overrides:
        key = re.match(r"[+~]*(?:[\w/]+@)?(\w+)", override)  # of group@package, the package counts
        if key is not None and key[1] in _SHARED:
            yield override
        elif override.startswith("seed="):
            yield f"random_{override}"


def _run(command: list[str]) -> int:
    """The command's exit code. An interrupt is for the command: this process waits for its end."""
    process = subprocess.Popen(command)  # noqa: S603
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
