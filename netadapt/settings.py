"""The settings of a NetAdapt run as plain values."""

from dataclasses import dataclass
from pathlib import Path

from latency.plan import MeasureSettings
from nas.checks import check_range
from nas.settings import check_shaved_precision, for_networks
from nas.training import TrainSettings
from netadapt.clock import target_in_ms
from netadapt.proposals import ProposalSettings
from netadapt.weight_transfer import Keep


@dataclass(frozen=True, slots=True, kw_only=True)
class NetAdaptSettings:
    """Everything about a run that is not itself an object (device, data, executor).

    Attributes:
        name: of the run and its folder.
        target: what the network must meet: ``10ms``, or ``80%`` of what the seed takes.
        delta: δ, what each proposal of the first step saves at least, as a share of the seed's
            latency.
        decay: what δ is multiplied by after each step.
        proposals: what is proposed.
        keep: which channels stay.
        steps: T, batches that each proposal is fine-tuned for.
        tune: how; its epochs are not used.
        pretrain: how a seed is trained first, where weights are missing.
        final: how the last network is trained, at its own resolution.
        proposal_share: of the training images, what proposals are compared on; not used where the
            weights know them all.
        resolution: the deployed image size, if not the network's own; ``proxy_resolution``: that of
            fine-tuning.
        random_seed: of weights and order; the order is the same for all proposals of a step.
    """

    name: str
    target: str
    delta: float
    decay: float
    proposals: ProposalSettings
    keep: Keep
    steps: int
    tune: TrainSettings
    pretrain: TrainSettings
    final: TrainSettings
    proposal_share: float
    resolution: int | None
    proxy_resolution: int
    random_seed: int
    table: Path
    measure: MeasureSettings

    def __post_init__(self) -> None:
        target_in_ms(self.target, 1.0)
        check_shaved_precision(self.measure.precision)
        check_range("delta", self.delta, 1e-6, 0.5)
        check_range("decay", self.decay, 0.01, 1)
        check_range("steps", self.steps, 1, 10_000_000, whole=True)
        check_range("proposal_share", self.proposal_share, 0.01, 0.5)
        check_range("random_seed", self.random_seed, 0, 2**31, whole=True)
        check_range("proxy_resolution", self.proxy_resolution, 16, 4096, whole=True)
        if self.resolution is not None:
            check_range("resolution", self.resolution, 16, 4096, whole=True)

    @property
    def measure_networks(self) -> MeasureSettings:
        """``measure`` for whole networks."""
        return for_networks(self.measure)
