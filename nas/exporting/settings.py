"""How a run is exported, as plain values, and what ``conf/export.yaml`` turns into."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from latency.devices import Device, LocalDevice
from latency.plan import MeasureSettings
from nas.checks import check_fields, check_range
from nas.configuration import plain_values
from nas.data import ImageData
from nas.exporting.ranges import Method
from nas.exporting.source import FinishedRun
from nas.settings import for_networks
from nas.setup import build
from search_spaces.precision import Precision

PRECISIONS = (Precision.FP32, Precision.INT8)
_HINTS = {"run": "the folder of a finished run: run=runs/NAME"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How the ranges of int8's activations are found.

    Attributes:
        images: of the training part, at random.
        methods: the candidates; the one of highest validation accuracy is taken.
        percentile: of the values that ``percentile`` keeps.
        seed: of which images.
    """

    images: int = 256
    methods: tuple[Method, ...] = tuple(Method)
    percentile: float = 99.99
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, 1, 1_000_000, "images", whole=True)
        check_fields(self, 50, 100, "percentile")
        check_fields(self, 0, 2**31, "seed", whole=True)
        if not self.methods:
            raise ValueError("Calibration.methods must name one or more, but got none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What is exported.

    Attributes:
        precisions: a file each.
        with_preprocessing: whether the graphs take pixels and give probabilities.
        batch: images a run of a file; ``None``: as many as the run was measured with.
        calibration: of int8.
        exclude: parts of the network that stay in float32.
        reduce_range: whether int8's weights have 7 bits.
        max_accuracy_loss: what int8 may lose of the validation accuracy without a warning.
        measure: whether the files are timed; ``None``: where the device answers at once.
        test: whether int8 is tested on the test part, once.
    """

    precisions: tuple[Precision, ...] = PRECISIONS
    with_preprocessing: bool = False
    batch: int | None = None
    calibration: Calibration = Calibration()
    exclude: tuple[str, ...] = ()
    reduce_range: bool = False
    max_accuracy_loss: float = 0.02
    measure: bool | None = None
    test: bool = True

    def __post_init__(self) -> None:
        for field in ("with_preprocessing", "reduce_range", "test"):
            _check_bool(field, getattr(self, field))
        if self.measure is not None:
            _check_bool("measure", self.measure)
        if self.batch is not None:
            check_range("batch", self.batch, 1, 4096, whole=True)
        check_range("max_accuracy_loss", self.max_accuracy_loss, 0, 1)
        if not self.precisions:
            raise ValueError(f"precision must name one of {', '.join(PRECISIONS)}, or both")

    @property
    def decides(self) -> dict[str, Any]:
        """What files depend on, as plain data; not whether they are measured or tested."""
        fields = asdict(self)
        return {name: fields[name] for name in fields.keys() - {"measure", "max_accuracy_loss"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """All that an export is made of.

    Attributes:
        measure: how whole files are timed.
    """

    settings: ExportSettings
    run: FinishedRun
    data: ImageData
    device: Device
    measure: MeasureSettings
    command: str

    @property
    def folder(self) -> Path:
        """Where the files are written."""
        return self.run.folder / "export"

    @property
    def measures(self) -> bool:
        """Whether files are timed."""
        asked = self.settings.measure
        return self.device.is_live if asked is None else asked


def build_export(config: DictConfig, *, command: Sequence[str]) -> Export:
    """Build everything that ``conf/export.yaml`` describes, with the run's own data and device.

    Raises:
        ValueError: a value is out of range or of the wrong type, or the run cannot be used.
    """
    plain = plain_values(config, _HINTS)
    settings = _settings(plain)
    run = FinishedRun.read(Path(str(plain["run"])))
    given = plain.get("device") or run.config.get("device")
    device = LocalDevice() if given is None else build("device", OmegaConf.create(given))
    measure: MeasureSettings = _measure(run.config.get("measure"), settings)
    elsewhere = {name: value for name, value in plain["data"].items() if value is not None}
    data: ImageData = build("data", OmegaConf.create({**run.config["data"], **elsewhere}))
    run.check_data(data)
    return Export(
        settings=settings,
        run=run,
        data=data,
        device=device,
        measure=measure,
        command=shlex.join(command),
    )


def _measure(node: Mapping[str, Any] | None, settings: ExportSettings) -> MeasureSettings:
    """As the run measured, with the export's batch."""
    found = MeasureSettings() if node is None else build("measure", OmegaConf.create(dict(node)))
    fields = {name: getattr(found, name) for name in MeasureSettings.__dataclass_fields__}
    return for_networks(MeasureSettings(**{**fields, "batch": settings.batch or found.batch}))


def _settings(plain: Mapping[str, Any]) -> ExportSettings:
    calibration = dict(plain["calibration"])
    methods = _several(calibration.pop("method"))
    if methods == ["best"]:
        methods = list(Method)
    return ExportSettings(
        precisions=_all_of("precision", _several(plain["precision"]), PRECISIONS),
        calibration=Calibration(
            methods=_all_of("calibration.method", methods, tuple(Method), also=("best",)),
            **calibration,
        ),
        exclude=tuple(map(str, _several(plain["exclude"]))),
        **{
            name: plain[name]
            for name in (
                "with_preprocessing",
                "batch",
                "reduce_range",
                "max_accuracy_loss",
                "measure",
                "test",
            )
        },
    )


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _all_of(field: str, given: Sequence[Any], kinds: Any, also: Sequence[str] = ()) -> Any:
    for value in given:
        if value not in kinds:
            allowed = ", ".join([*map(str, kinds), *also])
            raise ValueError(f"{field} must be among {allowed}, but got {value!r:.80}")
    return tuple(dict.fromkeys(map(type(kinds[0]), given)))


def _check_bool(field: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{field} must be true or false, but got {value!r:.80}")
