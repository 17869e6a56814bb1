"""The search's settings as plain values: what the configuration turns into."""

from dataclasses import dataclass, replace
from pathlib import Path

from latency.plan import MeasureSettings
from nas.training import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Everything about a search that is not itself an object (space, evaluator, sampler, …).

    Attributes:
        name: of the run and its folder.
        target_ms: the latency to meet.
        resolution: the deployed image size: what is timed, trained in the end, exported and tested.
        proxy_resolution: the image size that the search trains at.
        final: how the winner is trained.
        trials: how many networks are evaluated in all.
        finalists: how many of the best may be measured end to end, to find one within the target.
    """

    name: str
    target_ms: float
    resolution: int
    proxy_resolution: int
    trials: int
    finalists: int
    seed: int
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
            ("resolution", 16, 4096),
            ("proxy_resolution", 16, 4096),
        ):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{field} must be an integer in {low}..{high}, but got {value!r}")
