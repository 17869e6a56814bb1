"""All methods on the same networks, as they are and corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.fidelity_methods import METHODS, Method, Reading
from latency.context import walk_in_context
from latency.fidelity import Fidelity, fidelity
from latency.keys import network_key
from latency.reach import Step
from latency.table import LatencyTable
from search_spaces.architecture import Architecture

UNFITTED, SCALE = "none", "scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How well a method does with a fit.

    Attributes:
        predicted_ms: of the held-out networks, in order.
        entries: graphs that the method times, those of the calibration networks' blocks among them.
        seconds: what their timed runs took.
    """

    method: str
    fit: str
    scale: float
    fidelity: Fidelity
    predicted_ms: tuple[float, ...]
    entries: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All outcomes on the same networks.

    Attributes:
        names, measured_ms, early_ms, late_ms: of every held-out network: all its visits, and the
            earlier and the later half of them.
        noise: the earlier halves against the later.
        network_seconds: what the timed runs of whole networks took.
    """

    names: tuple[str, ...]
    measured_ms: tuple[float, ...]
    early_ms: tuple[float, ...]
    late_ms: tuple[float, ...]
    noise: Fidelity
    network_seconds: float
    outcomes: tuple[Outcome, ...]


def compare(
    table: LatencyTable,
    readings: Mapping[str, Reading],
    held_out: Sequence[Architecture],
    fitted: Sequence[Architecture],
) -> Comparison:
    """Every method with every fit.

    Raises:
        MissingEntryError: the table lacks one of the networks.
        KeyError: it lacks a graph of a method.
    """
    entries = [table.entry(network_key(network)) for network in held_out]
    halves = [entry.halves_ms or (entry.latency_ms, entry.latency_ms) for entry in entries]
    early_ms, late_ms = (tuple(half) for half in zip(*halves, strict=True))
    measured_ms = {
        network: entry.latency_ms for network, entry in zip(held_out, entries, strict=True)
    }
    fitted_ms = {network: table.entry(network_key(network)).latency_ms for network in fitted}
    walks = {network: walk_in_context(network) for network in (*measured_ms, *fitted_ms)}
    return Comparison(
        names=tuple(network.name for network in held_out),
        measured_ms=tuple(measured_ms.values()),
        early_ms=early_ms,
        late_ms=late_ms,
        noise=fidelity(early_ms, late_ms),
        network_seconds=sum(readings[network_key(network)].seconds for network in walks),
        outcomes=tuple(
            outcome
            for method in METHODS
            for outcome in _outcomes(method, readings, walks, measured_ms, fitted_ms)
        ),
    )


def _outcomes(
    method: Method,
    readings: Mapping[str, Reading],
    walks: Mapping[Architecture, Sequence[Step]],
    measured_ms: Mapping[Architecture, float],
    fitted_ms: Mapping[Architecture, float],
) -> list[Outcome]:
    costs = {step: method.added_ms(step, readings) for steps in walks.values() for step in steps}
    sums = {network: sum(costs[step] for step in steps) for network, steps in walks.items()}
    ratios = [latency_ms / sums[network] for network, latency_ms in fitted_ms.items()]
    keys = method.keys(costs)
    outcomes = []
    for fit, scale in ((UNFITTED, 1.0), (SCALE, median(ratios))):
        predicted_ms = tuple(scale * sums[network] for network in measured_ms)
        outcomes.append(
            Outcome(
                method=method.name,
                fit=fit,
                scale=scale,
                fidelity=fidelity(predicted_ms, [*measured_ms.values()]),
                predicted_ms=predicted_ms,
                entries=len(keys),
                seconds=sum(readings[key].seconds for key in keys),
            )
        )
    return outcomes
