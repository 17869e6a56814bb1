"""``python -m benchmarks.tabular_problems``: train every network of two small spaces.

Leaves ``results/tabular/<space>.jsonl``, the latencies of its blocks on this machine, and
``<space>.csv``: a row a network, with its choices and its accuracy, which is what
``evaluator=table`` reads. Stopped at any moment, it goes on where it was.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import torch

from benchmarks.tabular_spaces import SPACES
from latency.console import Terminal
from latency.devices import LocalDevice
from latency.measure import ensure_table
from latency.plan import MeasureSettings, whole_networks
from latency.reach import reachable_steps
from nas.data import MemorySplit, SearchData, Split
from nas.data.digits import digits_data
from nas.training import TrainSettings, evaluate, train
from search_spaces import Architecture, build_model
from search_spaces.spaces import Choice, SearchSpace

FOLDER = Path(__file__).parent / "results" / "tabular"
RESOLUTION = 8  # the digits' own
NOISE = 0.8
SETTINGS = TrainSettings(epochs=4, batch_size=32, learning_rate=0.05)
SEEDS = (0, 1)


def hard_digits() -> SearchData:
    """The digits in noise of 0.8 standard deviations; without it all networks are alike.

    Half of them validate, so that an accuracy is good to about a percentage point.
    """
    data = digits_data(seed=0, validation_share=0.45, test_share=0.01)
    return SearchData(
        train=_with_noise(data.train, seed=1),
        validation=_with_noise(data.validation, seed=2),
        num_classes=data.num_classes,
    )


def _with_noise(split: Split, *, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = split.images_at(torch.arange(len(split)), RESOLUTION)
    noise = torch.randn(images[:, :1].shape, generator=generator)
    return MemorySplit(images=images + NOISE * noise, labels=split.labels)


def train_network(architecture: Architecture, data: SearchData, seed: int) -> float:
    """The validation accuracy of a network that is trained from scratch."""
    torch.manual_seed(seed)
    model = build_model(architecture)
    train(model, data.train, SETTINGS, resolution=RESOLUTION, seed=seed, on_step=_nobody)
    return evaluate(model, data.validation, resolution=RESOLUTION, batch_size=256, on_step=_nobody)


def measure_blocks(space: SearchSpace, path: Path, terminal: Terminal) -> None:
    """The latency table of a space, on this machine, with one thread."""
    with terminal.progress(f"measuring the blocks of {space.name}") as update:
        ensure_table(
            LocalDevice(),
            path,
            reachable_steps(space),
            whole_networks(space),
            MeasureSettings(),
            update,
            terminal.line,
        )


def fill(space: SearchSpace, data: SearchData, path: Path) -> Iterator[tuple[int, int]]:
    """Train what ``path`` lacks, a row at a time; yields (done, all)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(space.choices)
    header = [*names, "accuracy", *(f"accuracy_seed{seed}" for seed in SEEDS)]
    known = _known(path, len(header))
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if not known:
            writer.writerow(header)
        for done, values in enumerate(product(*space.choices.values())):
            yield done, space.size
            if tuple(map(str, values)) in known:
                continue
            writer.writerow([*values, *_accuracies(space, names, values, data)])
            file.flush()
    yield space.size, space.size


def _accuracies(
    space: SearchSpace, names: Sequence[str], values: Sequence[Choice], data: SearchData
) -> list[str]:
    architecture = space.build(dict(zip(names, values, strict=True)))
    accuracies = [train_network(architecture, data, seed) for seed in SEEDS]
    mean = sum(accuracies) / len(accuracies)
    return [f"{accuracy:.5f}" for accuracy in (mean, *accuracies)]


def _known(path: Path, columns: int) -> set[tuple[str, ...]]:
    """The choices of finished rows; a torn last one is cut off."""
    if not path.exists():
        return set()
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    _, *rows = csv.reader(whole.splitlines())
    return {tuple(row[: columns - 1 - len(SEEDS)]) for row in rows}


def _nobody(done: int, total: int) -> None: ...


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--space", choices=SPACES, action="append", help="by default all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the tables are")
    given = parser.parse_args(arguments)
    terminal, data = Terminal(), hard_digits()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.space or SPACES:
        path = given.folder / f"{name}.csv"
        space = SPACES[name](num_classes=data.num_classes)
        measure_blocks(space, path.with_suffix(".jsonl"), terminal)
        with terminal.progress(f"training the networks of {name}") as update:
            for done, total in fill(space, data, path):
                update(done, total)
        terminal.line(f"{path}: {space.size} networks")


if __name__ == "__main__":
    main()
