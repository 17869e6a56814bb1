"""Whether reading, decoding and augmenting images keeps up with training on them.

    python -m benchmarks.data_loading [--record]

Images a second of the input pipeline alone, of training alone and of torch's ``DataLoader`` on the
same files, in turns.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.environment import append_row, environment_columns
from latency.console import Terminal
from latency.options import make_parser, run_command
from latency.plan import Progress
from nas.data import Augmentation, ImageData, Shuffle
from nas.data.cropping import crop_box, crop_draws
from nas.data.image_folder import image_folder_data
from search_spaces import build_model, load_seed

AIM = 1.5
PACKAGES = ("numpy", "pillow", "torch")
WORKERS = 2

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Images, and what is done with them.

    Attributes:
        width, height: of the files.
        batches: that one turn of one rival takes.
    """

    resolution: int
    batch: int
    width: int
    height: int
    suffix: str
    images: int
    batches: int
    augmentations: tuple[tuple[str, Augmentation], ...]


CASES = (
    Case(
        resolution=32,
        batch=128,
        width=32,
        height=32,
        suffix=".png",
        images=2400,
        batches=10,
        augmentations=(
            ("shift+flip", Augmentation(shift=0.125, flip=True)),
            ("+rand_augment", Augmentation(shift=0.125, flip=True, rand_augment=9, erase=0.25)),
        ),
    ),
    Case(
        resolution=224,
        batch=32,
        width=500,
        height=375,
        suffix=".jpg",
        images=600,
        batches=10,
        augmentations=(
            ("crop+flip", Augmentation(crop=0.25, flip=True)),
            ("+colour", Augmentation(crop=0.25, flip=True, colour=0.4)),
            ("+rand_augment", Augmentation(crop=0.25, flip=True, rand_augment=9, erase=0.25)),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn of one rival took, by the clock and of the processor (in this process)."""

    images: int
    wall_s: float
    processor_s: float

    @property
    def per_s(self) -> float:
        return self.images / self.wall_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.data_loading", __doc__ or "")
    add = parser.add_argument
    add("--rounds", type=int, default=7, help="(%(default)s)")
    add("--threads", type=int, default=2, help="of torch, in training (%(default)s)")
    add("--record", action="store_true", help="append rows to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.data_loading", partial(_run, options, Terminal()))


def _run(options: argparse.Namespace, terminal: Terminal) -> None:
    if options.rounds < 1 or options.threads < 1:
        raise ValueError("--rounds and --threads must be at least 1")
    torch.set_num_threads(options.threads)
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
            with terminal.progress(f"drawing {case.images} images") as update:
                size = draw_images(Path(folder), case, update)
            terminal.line(
                f"{case.resolution}×{case.resolution} of {case.width}×{case.height}{case.suffix}, "
                f"{size / 1e3:.0f} kB each, batches of {case.batch}"
            )
            data = image_folder_data(path=folder, seed=0)
            with terminal.progress(f"measuring at {case.resolution}") as update:
                found = measure(data, Path(folder), case, options.rounds, update)
        for row in rows_of(case, found):
            terminal.line("  " + "  ".join(f"{name} {value}" for name, value in row.items()))
            if options.record:
                columns = environment_columns(PACKAGES, threads=options.threads)
                append_row("data_loading", columns | row)


def draw_images(folder: Path, case: Case, update: Progress) -> float:
    """Write images of two classes with detail at all scales; returns the mean size in bytes."""
    rng, sizes = np.random.default_rng(0), []
    for number in range(case.images):
        pixels = np.full((case.height, case.width, 3), 120, np.float32)
        for cells, strength in ((4, 60), (16, 30), (64, 18), (250, 12)):
            shape = (min(cells, case.height), min(cells, case.width), 3)
            noise = rng.normal(0, strength, shape).astype(np.float32)
            size = (case.width, case.height)
            for channel in range(3):
                layer = Image.fromarray(noise[:, :, channel])
                pixels[:, :, channel] += np.asarray(layer.resize(size, Image.Resampling.BICUBIC))
        path = folder / ("cat", "dog")[number % 2] / f"{number:05}{case.suffix}"
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(path, quality=90)
        sizes.append(path.stat().st_size)
        update(number + 1, case.images)
    return statistics.mean(sizes)


def measure(
    data: ImageData, folder: Path, case: Case, rounds: int, update: Progress
) -> dict[str, list[Turn]]:
    """What each rival's turn in each round took; before the first round is one to warm up."""
    epochs = iter(range(10**9))
    peer = loader_of(data, folder, case)
    rivals: dict[str, Callable[[], object]] = {"training": training_step(data, case)}
    for name, augmentation in case.augmentations:
        rivals[name] = partial(_drain, partial(_ours, data, case, augmentation, epochs), case)
    rivals["loader"] = partial(_drain, lambda: iter(peer), case)
    found: dict[str, list[Turn]] = {name: [] for name in rivals}
    turns = 0
    for number in range(rounds + 1):
        order = list(rivals) if number % 2 else list(reversed(rivals))
        for name in order:
            wall, processor = time.perf_counter(), time.process_time()
            rivals[name]()
            turn = Turn(
                images=case.batch * case.batches,
                wall_s=time.perf_counter() - wall,
                processor_s=time.process_time() - processor,
            )
            if number:
                found[name].append(turn)
            turns += 1
            update(turns, (rounds + 1) * len(rivals))
    return found


def _ours(
    data: ImageData, case: Case, augmentation: Augmentation, epochs: Iterator[int]
) -> Batches:
    shuffle = Shuffle(seed=0, epoch=next(epochs))
    return data.train.batches(case.batch, case.resolution, shuffle, augmentation)


def _drain(begin: Callable[[], Batches], case: Case) -> None:
    batches = begin()
    taken = sum(1 for _ in islice(batches, case.batches))
    assert taken == case.batches, f"{taken} batches are too few"


def training_step(data: ImageData, case: Case) -> Callable[[], None]:
    """Steps of MobileNetV3-Small on one batch that is there already."""
    model = build_model(
        load_seed("mobilenet_v3_small", resolution=case.resolution).with_num_classes(2)
    )
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    images, labels = next(data.train.batches(case.batch, case.resolution))

    def steps() -> None:
        for _ in range(case.batches):
            loss = functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return steps


class Files(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The files as a data set of torch's: a random crop (or shift) and flip, normalised."""

    def __init__(self, files: Sequence[Path], labels: Sequence[int], case: Case) -> None:
        self._files = files
        self._labels = labels
        self._resolution = case.resolution
        self._crop = case.augmentations[0][1].crop

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        size = (self._resolution, self._resolution)
        draws = np.random.default_rng()
        image = Image.open(self._files[index]).convert("RGB")
        if self._crop is not None:
            box = crop_box(*image.size, self._crop, crop_draws(1, draws)[0])
            image = image.resize(size, Image.Resampling.BILINEAR, box)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
        if self._crop is None:
            by = tuple(draws.integers(-4, 5, 2).tolist())
            pixels = torch.roll(pixels, by, (1, 2))
        if draws.random() < 0.5:
            pixels = pixels.flip(2)
        return (pixels - 0.45) / 0.25, self._labels[index]


def loader_of(
    data: ImageData, folder: Path, case: Case
) -> torch.utils.data.DataLoader[tuple[Tensor, int]]:
    """Torch's own loader, with worker processes that stay."""
    files = sorted(folder.glob(f"*/*{case.suffix}"))[: len(data.train)]
    return torch.utils.data.DataLoader(
        Files(files, [int(file.parent.name == "dog") for file in files], case),
        batch_size=case.batch,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        persistent_workers=True,
        multiprocessing_context="forkserver",
    )


def rows_of(case: Case, found: dict[str, list[Turn]]) -> list[dict[str, str]]:
    """A row for each augmentation; ratios are of one round, and their median is given."""

    def speed(name: str) -> str:
        return f"{statistics.median(turn.per_s for turn in found[name]):.0f}"

    def ratio(name: str, other: str, seconds: Callable[[Turn], float]) -> str:
        pairs = zip(found[other], found[name], strict=True)
        return f"{statistics.median(seconds(one) / seconds(two) for one, two in pairs):.2f}"

    return [
        {
            "resolution": str(case.resolution),
            "batch": str(case.batch),
            "augmentation": name,
            "rounds": str(len(found[name])),
            "pipeline_per_s": speed(name),
            "training_per_s": speed("training"),
            "loader_per_s": speed("loader"),
            "over_training": ratio(name, "training", lambda turn: turn.wall_s),
            "over_training_processor": ratio(name, "training", lambda turn: turn.processor_s),
            "over_loader": ratio(name, "loader", lambda turn: turn.wall_s),
        }
        for name, _ in case.augmentations
    ]


if __name__ == "__main__":
    raise SystemExit(main())
