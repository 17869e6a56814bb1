"""The search's settings as plain values: what the configuration turns into."""

from dataclasses import dataclass, replace
from pathlib import Path

from latency.plan import MeasureSettings
from nas.training import TrainSettings

_LEAST_PATIENCE_S = 12.0


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
        """``measure`` with the effort that a single figure of a report deserves."""
        return replace(self.measure, runs=12, min_rounds=8, max_rounds=16)

    def __post_init__(self) -> None:
        for field, low, high in (
            ("trials", 1, 1_000_000),
            ("finalists", 1, 1000),
            ("seed", 0, 2**31),
            ("proxy_resolution", 16, 4096),
        ):
            _check_integer(field, getattr(self, field), low, high)
        for resolution in self.resolutions:
            _check_integer("resolution", resolution, 16, 4096)
        for field, values in (
            ("target_latency", self.targets_ms),
            ("resolution", self.resolutions),
        ):
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"{field} must be one value or several different ones, but got {list(values)}"
                )
        patience_s = self.driver_patience_s
        if (
            isinstance(patience_s, bool)
            or not isinstance(patience_s, int | float)
            or (not _LEAST_PATIENCE_S <= patience_s <= 86400)
        ):
            raise ValueError(
                f"driver_patience_s must be a number in {_LEAST_PATIENCE_S:g}..86400 (a sign of "
                f"life is given every ten seconds), but got {patience_s!r}"
            )
        if not isinstance(self.handover, bool):
            raise ValueError(f"handover must be true or false, but got {self.handover!r}")


def _check_integer(field: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{field} must be an integer in {low}..{high}, but got {value!r}")
