"""What papers claim of the seeds, against this device.

Every claim of a paper is read as a bound on how much slower the network is than another. It holds
where the whole 95 % interval of the measured change lies within the bound, does not hold where the
whole interval lies beyond it, and is within the noise in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from math import hypot
from typing import Any

from latency.keys import network_key
from latency.table import LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Activation,
    Block,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    SqueezeExcite,
)
from search_spaces.costs import count_costs
from search_spaces.seeds import load_seed
from search_spaces.shapes import TensorShape

FASTER, DISCERNIBLE, H_SWISH_OVER_RELU = 0.0, 0.01, 0.018
"""Bounds on a change: none; what a table is measured to; 51.4 ms over 50.5 ms (Table 5)."""

_UNPUBLISHED = "no figure"


class Verdict(StrEnum):
    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    WITHIN_NOISE = "within the noise"
    NO_CLAIM = "no claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That ``network`` takes at most ``1 + at_most`` times as long as ``baseline``.

    Attributes:
        source: where it stands.
        published: the paper's own figure, on its own device.
        at_most: None where no paper claims anything, and the change is measured all the same.
    """

    title: str
    source: str
    published: str
    network: Architecture
    baseline: Architecture
    at_most: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A claim on this device.

    Attributes:
        measured_ms, predicted_ms: of the network and of the baseline.
        interval_ms: half the 95 % interval of the measured change.
        madds_change: multiply-adds of the network, less those of the baseline.
    """

    claim: Claim
    measured_ms: tuple[float, float]
    predicted_ms: tuple[float, float]
    interval_ms: float
    madds_change: int

    @property
    def change_ms(self) -> float:
        """Measured; below 0 where the network is the faster one."""
        return self.measured_ms[0] - self.measured_ms[1]

    @property
    def predicted_change_ms(self) -> float:
        return self.predicted_ms[0] - self.predicted_ms[1]

    @property
    def change(self) -> float:
        """Measured, relative to the baseline."""
        return self.change_ms / self.measured_ms[1]

    @property
    def predicted_change(self) -> float:
        return self.predicted_change_ms / self.predicted_ms[1]

    @property
    def interval(self) -> float:
        """Half the 95 % interval of ``change``."""
        return self.interval_ms / self.measured_ms[1]

    @property
    def verdict(self) -> Verdict:
        bound = self.claim.at_most
        if bound is None:
            return Verdict.NO_CLAIM
        if self.change + self.interval <= bound:
            return Verdict.HOLDS
        if self.change - self.interval > bound:
            return Verdict.DOES_NOT_HOLD
        return Verdict.WITHIN_NOISE

    def record(self) -> dict[str, Any]:
        """Every number, as plain data."""
        return {
            "title": self.claim.title,
            "source": self.claim.source,
            "published": self.claim.published,
            "at_most": self.claim.at_most,
            "network": self.claim.network.name,
            "baseline": self.claim.baseline.name,
            "measured_ms": list(self.measured_ms),
            "predicted_ms": list(self.predicted_ms),
            "change_ms": self.change_ms,
            "change": self.change,
            "interval_ms": self.interval_ms,
            "interval": self.interval,
            "predicted_change_ms": self.predicted_change_ms,
            "predicted_change": self.predicted_change,
            "madds_change": self.madds_change,
            "verdict": str(self.verdict),
        }


def with_activation(network: Architecture, old: Activation, new: Activation) -> Architecture:
    """The network with ``new`` wherever a layer has ``old``; squeeze-and-excite keeps its own."""

    def changed(block: Block) -> Block:
        names = [field.name for field in fields(block) if getattr(block, field.name) is old]
        changes: dict[str, Any] = dict.fromkeys(names, new)
        return replace(block, **changes)

    blocks = tuple(changed(block) for block in network.blocks)
    return replace(network, name=f"{network.name}_{new}", blocks=blocks)


def without_squeeze_excite(network: Architecture) -> Architecture:
    """The network with no squeeze-and-excite in any block."""

    def removed(_: SqueezeExcite, __: TensorShape) -> None:
        return None

    return _with_squeeze(network, "without_se", removed)


def with_squeeze_of_input(network: Architecture) -> Architecture:
    """The network with bottlenecks of a quarter of the block's *input*, as MnasNet has them."""

    def narrowed(squeeze_excite: SqueezeExcite, shape: TensorShape) -> SqueezeExcite:
        return replace(squeeze_excite, channels=max(1, shape.channels // 4))

    return _with_squeeze(network, "se_of_input", narrowed)


def _with_squeeze(
    network: Architecture,
    suffix: str,
    change: Callable[[SqueezeExcite, TensorShape], SqueezeExcite | None],
) -> Architecture:
    def changed(block: Block, shape: TensorShape) -> Block:
        if not isinstance(block, ConvNormAct | DepthwiseSeparable | InvertedResidual):
            return block
        if block.squeeze_excite is None:
            return block
        return replace(block, squeeze_excite=change(block.squeeze_excite, shape))

    blocks = tuple(changed(block, shape) for block, shape in network.walk())
    return replace(network, name=f"{network.name}_{suffix}", blocks=blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AboutBothSizes:
    """A claim of MobileNetV3's paper, about its large and its small network."""

    title: str
    where: str
    of_large: str
    of_small: str = _UNPUBLISHED
    baseline: Callable[[Architecture], Architecture]
    at_most: float


_MOBILENET_V3 = (
    _AboutBothSizes(
        title="efficient last stage",
        where="5.1",
        of_large="-7 ms, -11 %, -30 M MAdds",
        baseline=lambda network: load_seed(f"{network.name}_original_last_stage"),
        at_most=FASTER,
    ),
    _AboutBothSizes(
        title="stem of 16 filters, not 32",
        where="5.1",
        of_large="-2 ms, -10 M MAdds",
        baseline=lambda network: load_seed(f"{network.name}_stem32"),
        at_most=FASTER,
    ),
    _AboutBothSizes(
        title="h-swish, not swish",
        where="5.2",
        of_large="cheaper, no figure",
        of_small="cheaper, no figure",
        baseline=lambda network: with_activation(network, Activation.H_SWISH, Activation.SWISH),
        at_most=FASTER,
    ),
    _AboutBothSizes(
        title="h-swish, not ReLU",
        where="Table 5",
        of_large="+0.9 ms, +1.8 %",
        baseline=lambda network: with_activation(network, Activation.H_SWISH, Activation.RELU),
        at_most=H_SWISH_OVER_RELU,
    ),
    _AboutBothSizes(
        title="SE at 1/4 of the expansion, not of the input",
        where="5.3",
        of_large="no discernible cost",
        of_small="no discernible cost",
        baseline=with_squeeze_of_input,
        at_most=DISCERNIBLE,
    ),
)


def published_claims(
    adapt: Callable[[Architecture], Architecture] = lambda network: network,
) -> tuple[Claim, ...]:
    """The claims; ``adapt`` gives every network another resolution, or other classes."""
    large, small, mnasnet = (
        load_seed(name) for name in ("mobilenet_v3_large", "mobilenet_v3_small", "mnasnet_a1")
    )
    claims = [
        Claim(
            title=claim.title,
            source=f"MobileNetV3, {claim.where}",
            published=claim.of_large if network is large else claim.of_small,
            network=adapt(network),
            baseline=adapt(claim.baseline(network)),
            at_most=claim.at_most,
        )
        for claim in _MOBILENET_V3
        for network in (large, small)
    ]
    return (
        *claims,
        *(
            Claim(
                title="cost of squeeze-and-excite",
                source="no paper",
                published=_UNPUBLISHED,
                network=adapt(network),
                baseline=adapt(without_squeeze_excite(network)),
                at_most=None,
            )
            for network in (large, small, mnasnet)
        ),
    )


def networks_of_claims(claims: Sequence[Claim]) -> list[Architecture]:
    """The networks to be measured, each once."""
    both = (network for claim in claims for network in (claim.network, claim.baseline))
    return list(dict.fromkeys(both))


def judge(claims: Sequence[Claim], table: LatencyTable) -> list[Finding]:
    """The claims, from a table that holds their networks end to end, and their blocks.

    Raises:
        MissingEntryError: the table lacks one of them.
    """
    findings = []
    for claim in claims:
        pair = claim.network, claim.baseline
        entries = [table.entry(network_key(network)) for network in pair]
        madds, baseline_madds = (count_costs(network).madds for network in pair)
        findings.append(
            Finding(
                claim=claim,
                measured_ms=(entries[0].latency_ms, entries[1].latency_ms),
                predicted_ms=(
                    table.network_latency_ms(claim.network),
                    table.network_latency_ms(claim.baseline),
                ),
                interval_ms=hypot(*(entry.latency_ms * entry.interval for entry in entries)),
                madds_change=madds - baseline_madds,
            )
        )
    return findings
