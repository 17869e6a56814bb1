"""The search's settings as plain values: what the configuration turns into."""

from dataclasses import dataclass, replace
from pathlib import Path

from latency.plan import MeasureSettings
from nas.checks import check_range
from nas.training import TrainSettings
from search_spaces.precision import Precision


def for_networks(measure: MeasureSettings) -> MeasureSettings:
    """The same with the effort that a single figure of a report deserves."""
    return replace(measure, runs=12, min_rounds=8, max_rounds=16)


def check_shaved_precision(precision: str) -> None:
    """Refuse to shave by the clock of another precision than that of the file handed over.

    Raises:
        ValueError: it is another one.
    """
    if precision != Precision.FP32:
        raise ValueError(
            f"measure.precision must be {Precision.FP32} where NetAdapt shaves, for best.onnx is "
            f"what meets the target, but got {str(precision)!r:.80}; python -m nas.export makes "
            "int8 and fp16 files of it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Everything about a search that is not itself an object (space, evaluator, sampler, …).

    Attributes:
        name: of the run and its folder.
        study: its name in the storage, which other processes may share.
        storage: URL of the trials' storage; ``None`` is a file in the run's folder.
        targets_ms: the latencies to meet, each by a network of its own.
        resolutions: the deployed image sizes: what is timed, trained in the end, exported, tested.
        proxy_resolution: the image size that the search trains at.
        final: how a winner is trained.
        trials: how many networks are evaluated in all.
        finalists: how many of the best may be measured end to end, to find one within a target.
        driver_patience_s: after how many seconds without a sign of life another process that shares
            the study is taken for dead, and its unfinished trials are run again.
        handover: whether winners are trained and handed over, or the search ends with the trials.
    """

    name: str
    study: str
    storage: str | None
    targets_ms: tuple[float, ...]
    resolutions: tuple[int, ...]
    proxy_resolution: int
    trials: int
    finalists: int
    seed: int
    handover: bool
    driver_patience_s: float
    table: Path
    measure: MeasureSettings
    final: TrainSettings

    @property
    def measure_networks(self) -> MeasureSettings:
        """``measure`` for whole networks."""
        return for_networks(self.measure)

    def __post_init__(self) -> None:
        for field, low, high in (
            ("trials", 1, 1_000_000),
            ("finalists", 1, 1000),
            ("seed", 0, 2**31),
            ("proxy_resolution", 16, 4096),
        ):
            check_range(field, getattr(self, field), low, high, whole=True)
        for resolution in self.resolutions:
            check_range("resolution", resolution, 16, 4096, whole=True)
        # Between two signs of life there may be twenty seconds.
        check_range("driver_patience_s", self.driver_patience_s, 30, 86_400)
        for field, values in (
            ("target_latency", self.targets_ms),
            ("resolution", self.resolutions),
        ):
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"{field} must be one value or several different ones, but got {list(values)}"
                )
        if not isinstance(self.handover, bool):
            raise ValueError(f"handover must be true or false, but got {self.handover!r}")
