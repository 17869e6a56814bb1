"""Finished runs beside each other, read from their summaries: of searches, NetAdapt, trainings."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latency.table_report import printable
from nas.report.summary import processor_name

SUMMARY = "summary.json"
NOT_RECORDED = "not recorded"
LATENCY_CONDITIONS = ("processor", "runtime", "provider", "precision", "threads", "batch")
ACCURACY_CONDITIONS = ("data", "test images")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """What a run came to.

    Attributes:
        label: what it is called in the comparison; no two runs share one.
        kind: ``search``, ``NetAdapt`` or ``training``.
        verdict: ``met`` or ``missed``; ``None`` of a training without a target, or not measured.
        target_ms, predicted_ms, measured_ms: a training may have none of them.
        test_accuracy, validation_accuracy: of the file that was handed over, in 0..1.
        resolution: of the image, in pixels.
        conditions: what must be equal for figures to be comparable, by name.
    """

    label: str
    folder: Path
    kind: str
    verdict: str | None
    target_ms: float | None
    predicted_ms: float | None
    measured_ms: float | None
    validation_accuracy: float
    test_accuracy: float
    madds: int
    params: int
    resolution: int
    conditions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A condition that is not the same for all runs.

    Attributes:
        about: the figures that cannot be compared for it: latencies or accuracies.
        runs: value → labels of the runs that have it.
    """

    condition: str
    about: str
    runs: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        values = "; ".join(f"{value} ({', '.join(runs)})" for value, runs in self.runs.items())
        return f"{self.about} are not comparable: {self.condition} differs: {values}"


def read_runs(folders: Sequence[Path]) -> list[ComparedRun]:
    """The runs in these folders, in order.

    Raises:
        ValueError: there are fewer than two, one is given twice, or one is no finished run.
    """
    if len(folders) < 2:
        raise ValueError(f"two runs or more can be compared, but {len(folders)} is given")
    places = Counter(folder.resolve() for folder in folders)
    if twice := [str(place) for place, times in places.items() if times > 1]:
        raise ValueError(f"{twice[0]} is given more than once; give each run once")
    return _labelled([read_run(folder) for folder in folders])


def _labelled(runs: list[ComparedRun]) -> list[ComparedRun]:
    """Where several have a name, their folders tell them apart."""
    runs = _renamed(runs, [f"{run.label}/{run.folder.name}" for run in runs])
    return _renamed(runs, [str(run.folder) for run in runs])


def _renamed(runs: list[ComparedRun], labels: Sequence[str]) -> list[ComparedRun]:
    """Runs that share a label get these."""
    taken = Counter(run.label for run in runs)
    return [
        replace(run, label=label) if taken[run.label] > 1 else run
        for run, label in zip(runs, labels, strict=True)
    ]


def read_run(folder: Path) -> ComparedRun:
    """One run.

    Raises:
        ValueError: the folder holds no ``summary.json``, or a damaged one.
    """
    path = folder / SUMMARY
    try:
        summary = _Summary(path, json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(_missing(folder)) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return _run(folder, summary)


def _missing(folder: Path) -> str:
    parts = sorted(path.parent.name for path in folder.glob(f"*/{SUMMARY}"))
    remedy = (
        f"it has a run for each target: {', '.join(str(folder / part) for part in parts[:5])}"
        if parts
        else "give the folder of a finished run, such as runs/mobilenet_v3_15ms"
    )
    return f"{folder} holds no {SUMMARY}; {remedy}"


@dataclass(frozen=True, slots=True)
class _Summary:
    """A summary's values, by their path in it."""

    path: Path
    content: Any

    def get(self, name: str) -> Any | None:
        """``get("latency.target_ms")``; ``None`` where it is not there."""
        found = self.content
        for part in name.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found

    def number(self, name: str) -> float:
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_figure(value):
            raise self._refuse(name, "a number, 0 or more", value)
        return value

    def latencies(self, *, may_lack: bool) -> dict[str, float | None]:
        names = ("target_ms", "predicted_ms", "measured_ms")
        paths = {name: f"latency.{name}" for name in names}
        return {
            name: None if may_lack and self.get(path) is None else self.number(path)
            for name, path in paths.items()
        }

    def text(self, name: str, *allowed: str) -> str:
        value = self.get(name)
        if not isinstance(value, str) or (allowed and value not in allowed):
            raise self._refuse(name, " or ".join(allowed) or "a text", value)
        return printable(value)

    def _refuse(self, name: str, wanted: str, value: object) -> ValueError:
        return ValueError(
            f"{self.path} is no summary of a run: {name} must be {wanted}, but is {value!r:.80}"
        )


def _is_figure(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _run(folder: Path, summary: _Summary) -> ComparedRun:
    own = ("search", "training")  # sections that no other kind of run has
    kind = next((name for name in own if summary.get(name) is not None), "NetAdapt")
    is_training, is_shaved = kind == "training", kind == "NetAdapt"
    has_none = is_training and summary.get("verdict") is None
    network = "network.best" if is_shaved else "network"
    return ComparedRun(
        label=summary.text("name"),
        folder=folder,
        kind=kind,
        verdict=None if has_none else summary.text("verdict", "met", "missed"),
        **summary.latencies(may_lack=is_training),
        validation_accuracy=summary.number("accuracy.validation"),
        test_accuracy=summary.number("accuracy.test"),
        madds=int(summary.number(f"{network}.madds")),
        params=int(summary.number(f"{network}.params")),
        resolution=int(summary.number("resolution" if is_shaved else "data.resolution")),
        conditions=_conditions(summary, "device" if is_shaved else "environment"),
    )


def _conditions(summary: _Summary, place: str) -> dict[str, str]:
    """``place`` is where device and runtime stand."""
    device = summary.get(f"{place}.device")
    version = summary.get(f"{place}.runtime_version")
    values = {
        "processor": processor_name(device) if isinstance(device, Mapping) else None,
        "runtime": summary.get(f"{place}.runtime"),
        "provider": summary.get(f"{place}.provider"),
        "precision": summary.get("environment.precision"),
        "threads": summary.get("environment.threads"),
        "batch": summary.get("environment.batch"),
        "data": summary.get("data.name"),
        "test images": summary.get("data.test_images"),
    }
    if values["runtime"] is not None and version is not None:
        values["runtime"] = f"{values['runtime']} {version}"
    return {
        name: NOT_RECORDED if value is None else printable(value) for name, value in values.items()
    }


def differences(runs: Sequence[ComparedRun]) -> list[Difference]:
    """Every condition in which the runs differ; those of latencies, where these were measured."""
    found = []
    timed = [run for run in runs if run.measured_ms is not None]
    for names, about, compared in (
        (LATENCY_CONDITIONS, "latencies", timed),
        (ACCURACY_CONDITIONS, "accuracies", runs),
    ):
        for name in names:
            by_value: dict[str, tuple[str, ...]] = {}
            for run in compared:
                value = run.conditions[name]
                by_value[value] = (*by_value.get(value, ()), run.label)
            if len(by_value) > 1:
                found.append(Difference(condition=name, about=about, runs=by_value))
    return found
