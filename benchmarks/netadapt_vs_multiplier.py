"""Whether NetAdapt's networks are more accurate than others that are as fast, and by how much.

    python -m benchmarks.netadapt_vs_multiplier \\
        [--train FILE --validation FILE --augment] --out FOLDER

The seed network is a published one, by default as it suits images of 32 pixels: with a stem of
stride 1 and one block a stage. From each of several random seeds it is trained from scratch, and
NetAdapt shaves it step by step on the latency table of this device, as ``netadapt.run`` does. The
first network that measures within each target is a point, and is trained on. Its rivals there:

- ``multiplier``: the seed network times a uniform width multiplier, of a hundred of them the one
  that measures closest, trained from scratch. Its last layer is narrowed with the rest.
- ``multiplier_generous`` (``--generous``): the same, trained for longer.
- ``torch_pruning_uniform``, ``torch_pruning_global``: the trained seed pruned by Torch-Pruning
  (group magnitude, widths multiples of 8, the same share of all layers or all channels ranked
  together), to what measures closest, and trained on.

What is alike: total training steps, at each point. NetAdapt's are those of the seed, of the
proposals that were taken and of the last training; the multiplier has all of them from scratch, and
the library those after the seed. Steps of proposals that were not taken are not among them;
``multiplier_generous`` has those, too. The batch, the learning rate of all but proposals, its
schedule, the order of images and the images are the same, varied alike with ``--augment``. All
networks train on all training images, but the seed on those that are not kept for comparing
proposals. The validation file is looked at once a network, in the end, and chooses nothing.

Accuracies are at ``--train-resolution``, latencies at ``--resolution``, which is larger by default:
what takes but a third of a millisecond is not known well enough to be shaved by percents. All
networks that are compared are timed in one sitting, in turns. Gains at equal latency are of each
seed: NetAdapt's accuracy less what the rival's curve has at the latency of NetAdapt's network;
intervals are Student's, of these paired differences. Speed-ups at equal accuracy are between the
curves of means over the seeds. A rival's curve is its networks at all points, and the seed network
itself, trained from scratch for as long as they are.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.environment import append_row, environment_columns
from benchmarks.equal_latency import Experiment, Outcome, compare, row_of
from benchmarks.equal_latency_points import Shaving, measure_networks
from benchmarks.equal_latency_report import draw_curves, print_figures
from benchmarks.equal_latency_rivals import Lengths
from benchmarks.equal_latency_training import data_config, load_data
from benchmarks.latency_fidelity import write_csv
from benchmarks.library_pruning import import_torch_pruning
from benchmarks.small_images import for_small_images
from latency.console import Terminal
from latency.devices import Device, LocalDevice
from latency.files import write_json, write_whole
from latency.keys import network_key
from latency.options import make_parser, run_command
from latency.plan import MeasureSettings
from nas.checks import check_range
from nas.data import Augmentation
from nas.executors import LocalExecutor
from nas.settings import for_networks
from nas.training import TrainSettings
from netadapt.proposals import ProposalSettings
from netadapt.tuning import Tuning
from netadapt.weight_transfer import Keep
from search_spaces.architecture import Architecture
from search_spaces.seeds import load_seed, read_seed, seed_names

NETWORKS = tuple(name for name in seed_names() if not name.startswith("shufflenet"))
PACKAGES = ("numpy", "onnxruntime", "torch")
LIBRARY = "torch-pruning"
RECORDED = (
    "resolution",
    "train_resolution",
    "seed_steps",
    "tuning_steps",
    "final_steps",
    "batch",
    "delta",
    "augment",
)
"""The options that a row has."""
USUAL = Augmentation(shift=0.125, flip=True)
"""For photos of 32 pixels: up to four pixels to each side, and every other image mirrored."""
MEASURE = MeasureSettings(runs=6, min_rounds=3, max_rounds=3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Shave, train, compare; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.netadapt_vs_multiplier", __doc__ or "")
    add = parser.add_argument
    add("--train", type=Path, metavar="FILE", help="images as parquet (the embedded digits)")
    add("--validation", type=Path, metavar="FILE", help="images that are tested on")
    add("--seed-network", choices=NETWORKS, default="mobilenet_v3_small", help="(%(default)s)")
    add("--width", type=float, default=1.0, help="its width multiplier (%(default)s)")
    add("--as-published", action="store_true", help="with all its blocks, and a stem of stride 2")
    add("--targets", default="80,65,52", help="in %% of the seed's latency (%(default)s)")
    add("--seeds", type=int, default=3, help="how many random ones (%(default)s)")
    add("--first-seed", type=int, default=0, help="the others follow it (%(default)s)")
    add("--resolution", type=int, default=96, help="that is timed, in pixels (%(default)s)")
    add("--train-resolution", type=int, default=32, help="of training (%(default)s)")
    add("--seed-steps", type=int, default=600, help="of the seed (%(default)s)")
    add("--tuning-steps", type=int, default=50, help="of a proposal (%(default)s)")
    add("--final-steps", type=int, default=6000, help="of a point's network (%(default)s)")
    add("--batch", type=int, default=32, help="images a step (%(default)s)")
    add("--learning-rate", type=float, default=0.05, help="(%(default)s)")
    add("--tuning-learning-rate", type=float, default=0.02, help="of proposals (%(default)s)")
    add("--proposal-share", type=float, default=0.2, help="of training images (%(default)s)")
    add("--delta", type=float, default=0.03, help="of the seed's latency, a step (%(default)s)")
    add("--augment", action="store_true", help="photos: mirrored, and moved by an eighth")
    add("--generous", action="store_true", help="a multiplier with the rejected proposals' steps")
    add("--no-library", action="store_true", help="without Torch-Pruning")
    add("--workers", type=int, default=2, help="trainings at once (%(default)s)")
    add("--out", type=Path, required=True, metavar="FOLDER", help="go on where it stopped")
    add("--record", action="store_true", help="append rows to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.netadapt_vs_multiplier", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    _check(options)
    terminal, device = Terminal(), LocalDevice()
    executor = LocalExecutor(workers=options.workers)
    data = data_config(options.train, options.validation)
    with terminal.progress("reading images"):
        num_classes = load_data(data).num_classes
    network = _network(options, num_classes)
    _check_settings(options.out / "settings.json", options)
    seed_ms = _seed_ms(options.out, network, device, terminal)
    experiment = _experiment(options, network, data, device, seed_ms)
    try:
        outcomes = compare(experiment, seed_ms, executor, terminal)
    finally:
        executor.close()
    print_figures(outcomes, terminal)
    write_csv(options.out / "outcomes.csv", [row_of(each) for each in outcomes])
    write_whole(options.out / "accuracy_over_latency.png", draw_curves(outcomes))
    terminal.line(f"{options.out}: outcomes.csv, accuracy_over_latency.png")
    if options.record:
        terminal.line(f"recorded in {_record(options, outcomes)}")


def _check(options: argparse.Namespace) -> None:
    for name, low, high in (
        ("seeds", 1, 1000),
        ("first_seed", 0, 1_000_000),
        ("resolution", 16, 4096),
        ("train_resolution", 16, 4096),
        ("seed_steps", 1, 10_000_000),
        ("tuning_steps", 1, 10_000_000),
        ("final_steps", 1, 10_000_000),
    ):
        check_range(_option(name), getattr(options, name), low, high, whole=True)
    check_range("--width", options.width, 0.05, 10)
    check_range("--delta", options.delta, 1e-6, 0.5)
    check_range("--proposal-share", options.proposal_share, 0.01, 0.5)
    for learning_rate in (options.learning_rate, options.tuning_learning_rate):
        _train_settings(options, learning_rate)
    parse_targets(options.targets)
    if not options.no_library:
        import_torch_pruning()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def parse_targets(text: str) -> tuple[float, ...]:
    """``"75,55,40"`` → falling shares of the seed's latency.

    Raises:
        ValueError: they are no different numbers above 0 and below 100.
    """
    try:
        shares = sorted((float(each) / 100 for each in text.split(",")), reverse=True)
    except ValueError:
        shares = []
    if not shares or len(set(shares)) < len(shares) or not 0 < shares[-1] <= shares[0] < 1:
        raise ValueError(
            "--targets must be different numbers above 0 and below 100, like 75,55,40, but got "
            f"{text!r:.80}"
        )
    return tuple(shares)


def _network(options: argparse.Namespace, num_classes: int) -> Architecture:
    network = load_seed(options.seed_network, width=options.width)
    if not options.as_published:
        network = for_small_images(network)
    return network.with_resolution(options.resolution).with_num_classes(num_classes)


def _check_settings(path: Path, options: argparse.Namespace) -> None:
    """Refuse a folder whose networks had other settings."""
    told = {"seeds", "first_seed", "generous", "no_library", "workers", "out", "record"}
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in told
    }
    if path.exists():
        kept = json.loads(path.read_text())
        for name in kept | settings:
            if kept.get(name) != settings.get(name):
                raise ValueError(
                    f"{path.parent} holds networks with {_option(name)} {kept.get(name)}, but now "
                    f"it is {settings.get(name)}; give another --out"
                )
    write_json(path, settings)


def _seed_ms(folder: Path, network: Architecture, device: Device, terminal: Terminal) -> float:
    """What the seed network takes; targets are shares of it, and stay where a run goes on."""
    with terminal.progress("measuring the seed network") as update:
        path = folder / "seed.jsonl"
        found = measure_networks(device, path, [network], for_networks(MEASURE), update)
    return found[network_key(network)].latency_ms


def _train_settings(options: argparse.Namespace, learning_rate: float) -> TrainSettings:
    return TrainSettings(
        epochs=1,
        batch_size=options.batch,
        learning_rate=learning_rate,
        augmentation=USUAL if options.augment else None,
    )


def _experiment(
    options: argparse.Namespace, network: Architecture, data: str, device: Device, seed_ms: float
) -> Experiment:
    return Experiment(
        network=network,
        rule=read_seed(options.seed_network).width_rule,
        seeds=range(options.first_seed, options.first_seed + options.seeds),
        lengths=Lengths(
            seed=options.seed_steps, tuning=options.tuning_steps, final=options.final_steps
        ),
        tuning=Tuning(
            data=data,
            share=options.proposal_share,
            steps=options.tuning_steps,
            train=_train_settings(options, options.tuning_learning_rate),
            resolution=options.train_resolution,
            keep=Keep.LARGEST_NORM,
            seed=0,
        ),
        train=_train_settings(options, options.learning_rate),
        shaving=Shaving(
            folder=options.out,
            device=device,
            measure=MEASURE,
            proposals=ProposalSettings(),
            delta=options.delta,
            targets_ms=tuple(share * seed_ms for share in parse_targets(options.targets)),
        ),
        generous=options.generous,
        library=not options.no_library,
    )


def _record(options: argparse.Namespace, outcomes: Sequence[Outcome]) -> Path:
    packages = PACKAGES if options.no_library else (*PACKAGES, LIBRARY)
    setup = {
        "network": _network(options, 2).name,
        "data": "digits" if options.train is None else options.train.stem,
    } | {name: str(getattr(options, name)) for name in RECORDED}
    for outcome in outcomes:
        columns = environment_columns(packages, threads=MEASURE.threads)
        path = append_row("netadapt_vs_multiplier", columns | setup | row_of(outcome))
    return path


if __name__ == "__main__":
    sys.exit(main())
