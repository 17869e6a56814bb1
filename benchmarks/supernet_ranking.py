"""How well a supernet ranks networks: beside training them alone, and beside noise in that.

    python -m benchmarks.supernet_ranking [--space mobilenet_v3] [--out FOLDER] [--record]

Random networks of a space are trained alone, each from several random seeds, and are scored by a
supernet, on the embedded digits. The figure is Kendall's τ between both; what τ could be at all is
seen in that between trainings from different seeds. What a step of the supernet costs is timed
beside steps of its networks alone.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.elastic_space import elastic_space
from benchmarks.environment import append_row, environment_columns
from benchmarks.rank_agreement import Accuracies, Ranking, noise, rank
from benchmarks.supernet_experiment import Experiment, measure, time_supernet
from benchmarks.supernet_steps import StepTimes
from latency.console import Terminal
from latency.files import write_json
from latency.options import SPACES as SEARCHED
from latency.options import make_parser, run_command
from nas.data.digits import digits_data
from nas.supernet import SupernetSettings
from nas.training import TrainSettings
from search_spaces.spaces import SearchSpace

SPACES: Mapping[str, Callable[..., SearchSpace]] = {"elastic": elastic_space, **SEARCHED}
AIM, COST_AIM = 0.5, 1.15
PACKAGES = ("numpy", "scipy", "torch")
VALIDATION_SHARE, TEST_SHARE = 0.45, 0.01
"""Of the digits. There is no test here, and the more there is to validate on, the less chance."""


def figures(
    experiment: Experiment, found: Accuracies, ranking: Ranking, times: StepTimes
) -> dict[str, str]:
    """The columns of a row of results."""
    row: dict[str, float] = {
        "networks": experiment.networks,
        "seeds": experiment.seeds,
        "epochs": experiment.alone.epochs,
        "supernet_epochs": experiment.supernet.train.epochs,
        "alone_accuracy": found.alone.mean(),
        "alone_spread": found.alone.mean(axis=0).std(ddof=1),
        "alone_noise": noise(found.alone),
        "supernet_accuracy": found.supernet.mean(),
        "supernet_spread": found.supernet.std(ddof=1),
    }
    for name, interval in asdict(ranking).items():
        row |= {f"tau_{name}" + suffix: interval[key] for key, suffix in _SUFFIXES.items()}
    row |= {
        "timed_steps": times.steps,
        "step_ms": times.step_ms,
        "alone_step_ms": times.alone_ms,
        "step_ratio": times.ratio,
        "step_ratio_low": times.low,
        "step_ratio_high": times.high,
        "cost_in_trainings": cost_in_trainings(experiment, times),
    }
    return {
        name: str(value) if isinstance(value, int) else f"{value:.4g}"
        for name, value in row.items()
    }


_SUFFIXES = {"value": "", "low": "_low", "high": "_high"}


def cost_in_trainings(experiment: Experiment, times: StepTimes) -> float:
    """How many networks could be trained alone in the time that the supernet's training takes."""
    images = len(experiment.data.train)
    steps, alone_steps = (
        settings.epochs * (images // settings.batch_size)
        for settings in (experiment.supernet.train, experiment.alone)
    )
    return steps * times.step_ms / (alone_steps * times.alone_ms)


def print_figures(
    experiment: Experiment,
    found: Accuracies,
    ranking: Ranking,
    times: StepTimes,
    terminal: Terminal,
) -> None:
    line = terminal.line
    line(f"{experiment.networks} networks of {experiment.space.name}, Kendall's τ (95 % interval):")
    line(f"  supernet and the mean of {experiment.seeds} trainings   {ranking.supernet_mean}")
    line(f"  supernet and one training              {ranking.supernet_one}")
    line(f"  one training and another               {ranking.alone_one}")
    line(f"  multiply-adds and the mean             {ranking.madds_mean}")
    line(
        f"accuracies {found.alone.mean():.1%} alone, {found.supernet.mean():.1%} in the supernet; "
        f"between networks ±{found.alone.mean(axis=0).std(ddof=1):.1%}, from seed to seed "
        f"±{noise(found.alone):.1%}"
    )
    line(
        f"a step of the supernet takes {times.ratio:.2f} ({times.low:.2f} to {times.high:.2f}) "
        f"times as long as those of its {times.networks} networks alone; all of its training as "
        f"long as that of {cost_in_trainings(experiment, times):.0f} networks"
    )
    ranked = ranking.supernet_mean.value >= AIM or (
        ranking.supernet_one.value >= ranking.alone_one.value
    )
    line(f"aim: τ of {AIM}, or what noise allows: {'met' if ranked else 'missed'}")
    line(f"aim: {COST_AIM} times at most: {'met' if times.ratio <= COST_AIM else 'missed'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, rank, print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.supernet_ranking", __doc__ or "")
    add = parser.add_argument
    add("--space", choices=SPACES, default="elastic", help="(%(default)s)")
    add("--networks", type=int, default=40, help="random ones that are ranked (%(default)s)")
    add("--seeds", type=int, default=2, help="trainings of each alone (%(default)s)")
    add("--epochs", type=int, default=5, help="of a network alone (%(default)s)")
    add("--supernet-epochs", type=int, default=20, help="(%(default)s)")
    add("--learning-rate", type=float, default=0.05, help="of a network alone (%(default)s)")
    add("--supernet-learning-rate", type=float, default=0.05, help="(%(default)s)")
    add("--samples", type=int, default=2, help="random networks a step (%(default)s)")
    add("--resolution", type=int, default=32, help="of training, in pixels (%(default)s)")
    add("--steps", type=int, default=40, help="that are timed (%(default)s)")
    add("--random-seed", type=int, default=0, help="(%(default)s)")
    add("--out", type=Path, metavar="FOLDER", help="keep trainings here; go on where it stopped")
    add("--record", action="store_true", help="append a row to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.supernet_ranking", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    for name, lowest in (("networks", 4), ("seeds", 2), ("steps", 2)):
        if (value := getattr(options, name)) < lowest:
            raise ValueError(f"--{name} must be {lowest} or more, but got {value}")
    terminal, experiment = Terminal(), _experiment(options)
    with ExitStack() as stack:
        folder = options.out
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _check_settings(folder / "settings.json", options)
        found = measure(experiment, folder, terminal)
    ranking = rank(found)
    times = time_supernet(experiment, options.steps, terminal)
    print_figures(experiment, found, ranking, times, terminal)
    if options.record:
        row = environment_columns(PACKAGES, threads=1) | {"space": options.space}
        row |= figures(experiment, found, ranking, times)
        terminal.line(f"recorded in {append_row('supernet_ranking', row)}")


def _experiment(options: argparse.Namespace) -> Experiment:
    data = digits_data(seed=0, validation_share=VALIDATION_SHARE, test_share=TEST_SHARE)
    return Experiment(
        space=SPACES[options.space](resolution=options.resolution, num_classes=data.num_classes),
        data=data.for_search(),
        networks=options.networks,
        seeds=options.seeds,
        resolution=options.resolution,
        alone=TrainSettings(epochs=options.epochs, learning_rate=options.learning_rate),
        supernet=SupernetSettings(
            train=TrainSettings(
                epochs=options.supernet_epochs, learning_rate=options.supernet_learning_rate
            ),
            samples=options.samples,
        ),
        seed=options.random_seed,
    )


def _check_settings(path: Path, options: argparse.Namespace) -> None:
    """Refuse a folder whose trainings had other settings."""
    told = {"networks", "seeds", "steps", "out", "record"}
    settings = {name: value for name, value in vars(options).items() if name not in told}
    if path.exists():
        kept = json.loads(path.read_text())
        for name in kept | settings:
            if kept.get(name) != settings.get(name):
                raise ValueError(
                    f"{path.parent} holds trainings with {name}={kept.get(name)}, but now it is "
                    f"{settings.get(name)}; give another --out"
                )
    write_json(path, settings)


if __name__ == "__main__":
    sys.exit(main())
