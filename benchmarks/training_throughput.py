"""Training throughput of our modules against timm's of the same architectures.

Run from the root of the repository: ``python -m benchmarks.training_throughput [--record]``.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.environment import append_row, environment_columns
from benchmarks.peers import build_pair, import_timm
from latency.console import Terminal, Update
from latency.options import make_parser, run_command
from nas.training.optimizers import build_optimizer
from nas.training.settings import TrainSettings
from search_spaces.seeds import load_seed
from search_spaces.torch_model import build_model

PEERS = {
    "mobilenet_v1": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mnasnet_a1": "semnasnet_100",
    "mnasnet_b1": "mnasnet_100",
}
SIZES = ("32:32", "224:16")
AIM = 1.0
TOLERANCE = 1e-3
"""Of the logits' largest difference between images; batch statistics magnify rounding."""
PACKAGES = ("torch", "timm")
ALL = "all"

Step = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Seconds of some training steps: of the processor, and by the clock."""

    cpu: float
    wall: float

    def __add__(self, other: "Burst") -> "Burst":
        return Burst(cpu=self.cpu + other.cpu, wall=self.wall + other.wall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One network at one size, or the medians over networks; the columns of a row of results.

    Ratios are of throughputs, medians over the rounds; above 1 ours is faster. All but
    ``wall_ratio`` are by processor time where there is one thread, so that waiting for others is no
    part of them, and by the clock where there are more.

    Attributes:
        network, resolution, batch: what is trained.
        rounds, steps: rounds, and steps in each of the two bursts of a round.
        ours_ms, timm_ms: a step, median over the rounds.
        ratio, ratio_low, ratio_high: ours over timm's, and its 95 % interval.
        twin_ratio: ours over a second module of ours, which is 1 but for noise.
        wall_ratio: ours over timm's by the clock.
    """

    network: str
    resolution: int
    batch: int
    rounds: int
    steps: int
    ours_ms: float
    timm_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    twin_ratio: float
    wall_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure: rounds, and the seconds a burst should take at least."""

    rounds: int
    burst_s: float

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"--rounds must be 1 or more, but got {self.rounds}")
        if not 0 <= self.burst_s <= 60:
            raise ValueError(f"--burst must be in 0..60 seconds, but got {self.burst_s:g}")


def make_step(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """One training step of ``model``: forward, cross-entropy, backward, SGD as in a search."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimizer = build_optimizer(model.parameters(), TrainSettings(epochs=1, learning_rate=1e-3))

    def step() -> None:
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def check_same_logits(ours: nn.Module, theirs: nn.Module, images: Tensor) -> None:
    """Both give equal logits in training mode, with the statistics of ``images``.

    Raises:
        RuntimeError: they differ by more than the tolerance.
    """
    with torch.no_grad():
        expected, logits = theirs.train()(images), ours.train()(images)
    spread = float((expected.amax(0) - expected.amin(0)).max())
    difference = float((logits - expected).abs().max())
    if not difference <= TOLERANCE * spread:
        raise RuntimeError(
            f"on equal weights, logits must be within {TOLERANCE * spread:.1e} of timm's, "
            f"but are {difference:.1e} away"
        )


def make_steps(network: str, resolution: int, batch: int) -> tuple[Step, Step, Step]:
    """A step of our module, of timm's, and of a second module of ours, all with equal weights."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.randn(batch, 3, 1, 1, generator=generator)
    noise = torch.randn(batch, 3, resolution, resolution, generator=generator)
    images = (colours + noise).contiguous(memory_format=torch.channels_last)
    pair = build_pair(load_seed(network, resolution=resolution), PEERS[network], images)
    check_same_logits(pair.ours, pair.theirs, images)
    twin = build_model(pair.ours.architecture)
    twin.load_state_dict(pair.ours.state_dict())
    labels = torch.randint(pair.ours.architecture.num_classes, (batch,), generator=generator)
    ours, theirs, second = (make_step(m, images, labels) for m in (pair.ours, pair.theirs, twin))
    return ours, theirs, second


def time_burst(step: Step, steps: int) -> Burst:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(steps):
        step()
    return Burst(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall)


def time_in_turns(steps: Sequence[Step], number: int) -> list[Burst]:
    """A round: bursts of all in this order and then in the opposite one; the sum of each's two.

    So what drifts evenly during a round meets all alike.
    """
    there = [time_burst(step, number) for step in steps]
    back = [time_burst(step, number) for step in reversed(steps)]
    return [first + second for first, second in zip(there, reversed(back), strict=True)]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the median, by order statistics: it assumes no distribution.

    Of fewer than six values it is from the least to the greatest, which is less sure than that.
    """
    ordered, below, rank = sorted(values), 0.0, 0
    while rank < len(ordered) // 2:
        below += math.comb(len(ordered), rank) / 2 ** len(ordered)
        if below > 0.025:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[-1 - rank]


def measure(network: str, resolution: int, batch: int, effort: Effort, update: Update) -> Figures:
    """Both modules in turns in each round, so that drift of the machine meets both alike."""
    steps = make_steps(network, resolution, batch)
    for _ in range(2):
        warm_up = time_in_turns(steps, 1)
    number = max(1, math.ceil(2 * effort.burst_s / warm_up[0].cpu))
    rounds = []
    for done in range(effort.rounds):
        rounds.append(time_in_turns(steps, number))
        update(done + 1, effort.rounds)
    seconds = [tuple(b.cpu if torch.get_num_threads() == 1 else b.wall for b in r) for r in rounds]
    ratios = [theirs / ours for ours, theirs, _ in seconds]
    low, high = median_interval(ratios)
    return Figures(
        network=network,
        resolution=resolution,
        batch=batch,
        rounds=effort.rounds,
        steps=number,
        ours_ms=statistics.median(500 * ours / number for ours, _, _ in seconds),
        timm_ms=statistics.median(500 * theirs / number for _, theirs, _ in seconds),
        ratio=statistics.median(ratios),
        ratio_low=low,
        ratio_high=high,
        twin_ratio=statistics.median(twin / ours for ours, _, twin in seconds),
        wall_ratio=statistics.median(theirs.wall / ours.wall for ours, theirs, _ in rounds),
    )


def summarise(figures: Sequence[Figures]) -> list[Figures]:
    """For each size the medians over its networks; their interval is of the networks' ratios."""
    rows = []
    for resolution, batch in dict.fromkeys((f.resolution, f.batch) for f in figures):
        group = [f for f in figures if (f.resolution, f.batch) == (resolution, batch)]
        low, high = median_interval([f.ratio for f in group])
        rows.append(
            Figures(
                network=ALL,
                resolution=resolution,
                batch=batch,
                rounds=group[0].rounds,
                steps=round(statistics.median(f.steps for f in group)),
                ours_ms=statistics.median(f.ours_ms for f in group),
                timm_ms=statistics.median(f.timm_ms for f in group),
                ratio=statistics.median(f.ratio for f in group),
                ratio_low=low,
                ratio_high=high,
                twin_ratio=statistics.median(f.twin_ratio for f in group),
                wall_ratio=statistics.median(f.wall_ratio for f in group),
            )
        )
    return rows


def verdict(figures: Sequence[Figures]) -> str:
    """Whether every network is at least as fast as timm's, and if not, whether that is noise."""
    least = min(figures, key=lambda f: f.ratio)
    if least.ratio >= AIM:
        return "met"
    if all(f.ratio_high >= AIM for f in figures):
        return "met but for noise"
    return "missed"


def print_figures(figures: Sequence[Figures], terminal: Terminal) -> None:
    terminal.line(
        f"{'network':<20}{'size':>8}{'ours':>11}{'timm':>11}{'ratio':>8}{'95 % interval':>16}"
        f"{'twin':>8}{'by clock':>10}"
    )
    for f in [*figures, *summarise(figures)]:
        terminal.line(
            f"{f.network:<20}{f.resolution:>5}:{f.batch:<2}{f.ours_ms:>8.1f} ms{f.timm_ms:>8.1f} ms"
            f"{f.ratio:>8.3f}{f.ratio_low:>8.3f}–{f.ratio_high:.3f} {f.twin_ratio:>7.3f}"
            f"{f.wall_ratio:>10.3f}"
        )
    least = min(figures, key=lambda f: f.ratio)
    terminal.line(
        f"least: {least.network} at {least.resolution}×{least.resolution}, {least.ratio:.3f} "
        f"({least.ratio_low:.3f} to {least.ratio_high:.3f})"
    )
    terminal.line(f"aim: {AIM:.1f} times timm's throughput for every network: {verdict(figures)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.training_throughput", __doc__ or "")
    add = parser.add_argument
    add("--network", action="append", choices=PEERS, help="one of them (all)")
    add("--size", action="append", metavar="RESOLUTION:BATCH", help=f"({' and '.join(SIZES)})")
    add("--threads", type=int, default=1, help="threads of torch (%(default)s)")
    add("--rounds", type=int, default=15, help="samples of each ratio (%(default)s)")
    add("--burst", type=float, default=0.3, help="seconds of steps in a row, least (%(default)s)")
    add("--record", action="store_true", help="append rows to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.training_throughput", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    if not 1 <= options.threads <= 1024:
        raise ValueError(f"--threads must be in 1..1024, but got {options.threads}")
    effort = Effort(rounds=options.rounds, burst_s=options.burst)
    sizes = [parse_size(text) for text in options.size or SIZES]
    import_timm()
    torch.set_num_threads(options.threads)
    terminal, figures = Terminal(), []
    for resolution, batch in sizes:
        for network in options.network or PEERS:
            with terminal.progress(f"{network} at {resolution}×{resolution}") as update:
                figures.append(measure(network, resolution, batch, effort, update))
    print_figures(figures, terminal)
    if options.record:
        for row in [*figures, *summarise(figures)]:
            columns = environment_columns(PACKAGES, threads=options.threads)
            for name, value in asdict(row).items():
                columns[name] = f"{value:.4g}" if isinstance(value, float) else str(value)
            path = append_row("training_throughput", columns)
        terminal.line(f"recorded in {path}")


def parse_size(text: str) -> tuple[int, int]:
    """``"224:16"`` → image size in pixels and images a batch."""
    resolution, _, batch = text.partition(":")
    if not (resolution.isdecimal() and batch.isdecimal() and int(batch) >= 2):
        raise ValueError(
            f"--size must be RESOLUTION:BATCH with a batch of 2 or more, like {SIZES[0]}, "
            f"but got {text!r:.80}"
        )
    return int(resolution), int(batch)


if __name__ == "__main__":
    sys.exit(main())
