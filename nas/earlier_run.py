"""The run whose weights another begins with: which images it has seen, what its target is of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from latency.plan import MeasureSettings
from nas.checks import check_range
from nas.data import ImageData
from nas.run_folder import CONFIG_FILE, Folder, config_folder, flat, read_config
from nas.setup import build

_SUMMARY = "summary.json"
_SPLITTING = ("seed", "validation_share", "test_share")
"""Settings of data that decide which images are in which part."""
_READING = frozenset({"name", "scans", "image", "label", "class_names"})
"""Settings of data that are the same images however they are set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """A finished run, as far as one that begins from its weights must know it.

    Attributes:
        config: what its settings were; empty where nobody knows them any more.
    """

    folder: Path
    config: Mapping[str, Any]

    @staticmethod
    def of(weights: Path) -> "EarlierRun | None":
        """The run that a file of weights is of; ``None``: it lies in no folder of a run.

        Raises:
            ValueError: the run's settings cannot be read.
        """
        folder = weights.parent
        if not (folder / "best.yaml").exists():
            return None
        found = config_folder(folder)
        return EarlierRun(folder=folder, config={} if found is None else read_config(found))

    def has_seen(self, node: Mapping[str, Any]) -> bool:
        """Whether it was trained on these images, as far as anybody knows.

        Args:
            node: what ``conf/data`` says now.
        """
        then = self.config.get("data")
        return then is None or _are_same_images(then, node)

    def check_parts(self, node: Mapping[str, Any], data: ImageData) -> None:
        """Refuse to validate or test on images that the weights were trained on.

        Other data than the run's is split as it likes.

        Args:
            node: what ``conf/data`` says now.
            data: what was built of it.

        Raises:
            ValueError: the same images are split otherwise; the message says what to give.
        """
        then = self.config.get("data")
        if then is None or not self.has_seen(node):
            return
        changed = {
            field: then[field]
            for field in _SPLITTING
            if field in then and field in node and then[field] != node[field]
        }
        # A data set that comes in three parts is split by none of them.
        if not changed or _are_same_parts(data, _built({**node, **changed})):
            return
        were = " ".join(f"data.{field}={value}" for field, value in changed.items())
        now = " ".join(f"data.{field}={node[field]}" for field in changed)
        raise ValueError(
            f"{self.folder} was trained with {were}, but now it is {now}: images that its weights "
            f"have learnt would validate or test them; give {were}"
        )

    def target_ms(
        self, device: Mapping[str, Any], measure: MeasureSettings
    ) -> tuple[float | None, str | None]:
        """The run's target, where it is of this device and measured so; else why it is not.

        Args:
            device: what ``conf/device`` says now.

        Returns:
            The target, and ``None``; or ``None``, and a line for a person if there was one.

        Raises:
            ValueError: the run's summary is damaged.
        """
        summary = Folder(self.folder).read_json(_SUMMARY)
        latency = summary.get("latency") if isinstance(summary, dict) else None
        target_ms = latency.get("target_ms") if isinstance(latency, dict) else None
        if target_ms is None:
            return None, None
        check_range(f"latency.target_ms of {self.folder / _SUMMARY}", target_ms, 1e-6, 1e9)
        reason = next(self._other_clock(device, measure), None)
        if reason is None:
            return target_ms, None
        return None, (
            f"the target of {self.folder}, {target_ms:g} ms, is not taken over: {reason}; give "
            f"target_latency={target_ms:g}ms to be judged by it all the same"
        )

    def _other_clock(self, device: Mapping[str, Any], measure: MeasureSettings) -> Iterator[str]:
        """Why its milliseconds are not those of a device measured so."""
        if "device" not in self.config or "measure" not in self.config:
            yield f"without its {CONFIG_FILE} it is not known of which device it is"
            return
        then: MeasureSettings = build("measure", OmegaConf.create(self.config["measure"]))
        for field, was, now in (
            *_differences(flat(self.config["device"], "device."), flat(device, "device.")),
            *_differences(then.table_fields, measure.table_fields, "measure."),
        ):
            yield f"it is of {field}={was}, and now it is {now}"


def _are_same_images(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    decided = {*_SPLITTING, *_READING}
    return all(
        _place(field, then[field]) == _place(field, now[field])
        for field in (then.keys() & now.keys()) - decided
    )


def _place(field: str, value: object) -> object:
    """A path is the same folder however it is written."""
    is_path = field == "path" and isinstance(value, str)
    return Path(str(value)).expanduser().resolve() if is_path else value


def _are_same_parts(one: ImageData, other: ImageData) -> bool:
    return all(
        first.fingerprint() == second.fingerprint()
        for first, second in ((one.validation, other.validation), (one.test, other.test))
    )


def _built(node: Mapping[str, Any]) -> ImageData:
    data: ImageData = build("data", OmegaConf.create(dict(node)))
    return data


def _differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Fields that both have and that differ: name, what it was, what it is."""
    for field in then:
        if field in now and then[field] != now[field]:
            yield f"{prefix}{field}", then[field], now[field]
