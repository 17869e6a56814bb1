"""What the comparison at equal latency says, as text and as a figure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from benchmarks.accuracy_curves import Curve, Interval, Speedup, mean_interval
from benchmarks.equal_latency import Outcome, curve_of
from benchmarks.equal_latency_rivals import Method
from latency.console import Terminal
from latency.figures import png

SPEEDUP_AIM = 1.3
COLOURS = {
    Method.NETADAPT: "#1f5fbf",
    Method.MULTIPLIER: "#b3261e",
    Method.GENEROUS: "#7a1a14",
    Method.UNIFORM: "#e08a00",
    Method.GLOBAL: "#2c8a57",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """NetAdapt against a rival at a point.

    Attributes:
        latency_ms, accuracy: NetAdapt's, means over the seeds.
        rival_ms, rival_accuracy: of the rival's network, means over the seeds.
        gain: NetAdapt's accuracy less the rival's at the latency of NetAdapt's network, in 0..1.
        speedup: at equal accuracy, between the means of both over the seeds.
    """

    point: int
    rival: Method
    latency_ms: float
    accuracy: float
    rival_ms: float
    rival_accuracy: float
    gain: Interval
    speedup: Speedup


def rivals_of(outcomes: Sequence[Outcome]) -> list[Method]:
    """The methods that NetAdapt is compared with, in order."""
    there = {each.method for each in outcomes}
    return [m for m in Method if m in there and m not in (Method.NETADAPT, Method.FULL)]


def gains(outcomes: Sequence[Outcome], rival: Method) -> list[Gain]:
    """At each point, by rising number."""
    mean_curve = Curve.of(_means(outcomes, rival) + _means(outcomes, Method.FULL))
    points = sorted({each.point for each in outcomes if each.method is Method.NETADAPT})
    found = []
    for point in points:
        ours = [e for e in outcomes if (e.method, e.point) == (Method.NETADAPT, point)]
        latency_ms, accuracy = _mean(ours)
        rival_ms, rival_accuracy = _mean(
            [e for e in outcomes if (e.method, e.point) == (rival, point)]
        )
        differences = [
            each.accuracy - curve_of(outcomes, rival, each.seed).accuracy_at(each.latency_ms)
            for each in ours
        ]
        found.append(
            Gain(
                point=point,
                rival=rival,
                latency_ms=latency_ms,
                accuracy=accuracy,
                rival_ms=rival_ms,
                rival_accuracy=rival_accuracy,
                gain=mean_interval(differences),
                speedup=mean_curve.speedup_of(latency_ms, accuracy),
            )
        )
    return found


def _mean(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """(latency, accuracy)."""
    return (
        statistics.mean(each.latency_ms for each in outcomes),
        statistics.mean(each.accuracy for each in outcomes),
    )


def _means(outcomes: Sequence[Outcome], method: Method) -> list[tuple[float, float]]:
    """(latency, accuracy) of each point."""
    points = sorted({each.point for each in outcomes if each.method is method})
    return [_mean([e for e in outcomes if (e.method, e.point) == (method, p)]) for p in points]


def print_figures(outcomes: Sequence[Outcome], terminal: Terminal) -> None:
    """A line a point and rival, and whether the aim is met."""
    line = terminal.line
    full_ms, full_accuracy = _mean([e for e in outcomes if e.method is Method.FULL])
    seeds = sorted({each.seed for each in outcomes})
    line(
        f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}; the seed network: {full_ms:.3f} ms, "
        f"{full_accuracy:.2%}"
    )
    line(
        f"{'rival':<22}{'netadapt':>20}{'rival':>20}{'gain at equal latency, points':>34}"
        f"{'faster at equal accuracy':>27}"
    )
    every = [gain for rival in rivals_of(outcomes) for gain in gains(outcomes, rival)]
    for each in every:
        line(
            f"{each.rival:<22}{each.latency_ms:>9.3f} ms {each.accuracy:>7.2%}"
            f"{each.rival_ms:>9.3f} ms {each.rival_accuracy:>7.2%}"
            f"{each.gain.in_points():>34}{each.speedup!s:>27}"
        )
    ours = [each for each in outcomes if each.method is Method.NETADAPT]
    for point in sorted({each.point for each in ours}):
        steps = statistics.mean(each.steps for each in ours if each.point == point)
        spent = statistics.mean(each.spent for each in ours if each.point == point)
        line(
            f"point {point}: {steps:.0f} training steps of every network, {spent:.0f} of NetAdapt "
            "with the proposals that were not taken"
        )
    least = min((e for e in every if e.rival is Method.MULTIPLIER), key=lambda e: e.speedup.value)
    met = "met" if least.speedup.value >= SPEEDUP_AIM else "missed"
    line(
        f"aim: {SPEEDUP_AIM} times as fast as the multiplier at equal accuracy, at every point: "
        f"{met} (least {least.speedup})"
    )


def draw_curves(outcomes: Sequence[Outcome]) -> bytes:
    """Accuracy over latency as a PNG: of each method the mean over seeds, from least to most."""
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for method in (Method.NETADAPT, *rivals_of(outcomes)):
        points = sorted({each.point for each in outcomes if each.method is method}, reverse=True)
        groups = [[e for e in outcomes if (e.method, e.point) == (method, p)] for p in points]
        groups.append([e for e in outcomes if e.method is Method.FULL])
        latencies_ms = [_mean(group)[0] for group in groups]
        colour = COLOURS[method]
        axes.plot(
            latencies_ms, [100 * _mean(group)[1] for group in groups],
            color=colour, marker="o", markersize=4, label=method.replace("_", " "),
        )  # fmt: skip
        axes.fill_between(
            latencies_ms,
            [100 * min(each.accuracy for each in group) for group in groups],
            [100 * max(each.accuracy for each in group) for group in groups],
            color=colour, alpha=0.15, linewidth=0,
        )  # fmt: skip
    axes.set_xlabel("measured latency on this device, ms")
    axes.set_ylabel("accuracy on the validation file, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return png(figure)
