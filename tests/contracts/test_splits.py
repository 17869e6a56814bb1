"""What every ``Split`` does, wherever its images are kept."""

import io
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nas.data import Augmentation, LazySplit, MemorySplit, Preprocessing, Shuffle, Split

SIDE = 16
PREPROCESSING = Preprocessing(mean=(0.5, 0.25, 0.125), std=(0.5, 0.25, 0.75), crop=0.8)
EVERYTHING = Augmentation(
    crop=0.3, shift=0.1, flip=True, rand_augment=9, colour=0.4, erase=0.5
)  # fmt: skip

MakeSplit = Callable[[int], Split]


@dataclass(frozen=True)
class Files:
    """PNG files in memory."""

    contents: list[bytes]

    def open(self, index: int) -> Image.Image:
        return Image.open(io.BytesIO(self.contents[index]))

    def name(self, index: int) -> str:
        return f"{index}.png"

    def digest(self, index: int) -> int:
        return hash(self.contents[index])

    def fingerprint(self) -> str:
        return str(hash(tuple(self.contents)))


def _pictures(number: int) -> NDArray[np.uint8]:
    """``(number, SIDE, SIDE, 3)``: smooth, so that roundings on the way matter little."""
    rng = np.random.default_rng(7)
    small = rng.integers(0, 256, (number, 4, 4, 3), dtype=np.uint8)
    return np.stack(
        [
            np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
            for one in small
        ]
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def _in_memory(number: int) -> Split:
    images = torch.from_numpy(_pictures(number)).permute(0, 3, 1, 2)
    return MemorySplit(images=images, labels=torch.arange(number) % 3, preprocessing=PREPROCESSING)


def _lazy(number: int) -> Split:
    # Others lie between, and the order is another one.
    contents = [b"no image"] * (2 * number)
    rows = torch.arange(number).flip(0) * 2
    for row, pixels in zip(rows.tolist(), _pictures(number), strict=True):
        contents[row] = _png(pixels)
    return LazySplit(
        source=Files(contents),
        rows=rows,
        labels=torch.arange(number) % 3,
        preprocessing=PREPROCESSING,
    )


MAKERS: dict[str, MakeSplit] = {"memory": _in_memory, "lazy": _lazy}

Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> MakeSplit:
    return MAKERS[request.param]


def _labels(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches]


def _same(these: Batches, those: Batches) -> bool:
    return len(these) == len(those) and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(these, those, strict=True)
    )


class TestAnySplit:
    def test_images_are_cut_resized_and_normalised_as_pillow_does_it(self, make: MakeSplit) -> None:
        # 10 / 0.8: the whole image becomes 12 pixels, of which the first one is left out.
        ((images, labels),) = make(3).batches(5, 10)
        assert labels.tolist() == [0, 1, 2]
        mean, std = np.array(PREPROCESSING.mean), np.array(PREPROCESSING.std)
        for image, pixels in zip(images, _pictures(3), strict=True):
            resized = Image.fromarray(pixels).resize((12, 12), Image.Resampling.BILINEAR)
            cut = np.asarray(resized.crop((1, 1, 11, 11)))
            expected = (cut / 255 - mean) / std
            assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() < 2 / 255 / std.min()

    @pytest.mark.parametrize("resolution", [7, 16, 40])
    def test_a_batch_is_a_networks_input(self, make: MakeSplit, resolution: int) -> None:
        split = make(4)
        for augmentation in (None, EVERYTHING):
            for images, labels in split.batches(
                2, resolution, Shuffle(seed=0, epoch=0), augmentation
            ):
                assert images.shape == (2, 3, resolution, resolution)
                assert images.dtype == torch.float32
                assert images.is_contiguous(memory_format=torch.channels_last)
                assert torch.isfinite(images).all()
                assert labels.dtype == torch.int64

    def test_unshuffled_batches_are_in_order_and_complete(self, make: MakeSplit) -> None:
        assert _labels(make(5).batches(2, 8)) == [[0, 1], [2, 0], [1]]

    def test_shuffled_an_incomplete_last_batch_is_dropped(self, make: MakeSplit) -> None:
        batches = _labels(make(10).batches(4, 8, Shuffle(seed=0, epoch=0)))
        assert [len(batch) for batch in batches] == [4, 4]

    def test_batches_are_the_images_of_their_numbers(self, make: MakeSplit) -> None:
        split, shuffle = make(7), Shuffle(seed=3, epoch=1)
        numbers = list(split.index_batches(3, shuffle.generator()))
        for chosen, (images, labels) in zip(numbers, split.batches(3, 8, shuffle), strict=True):
            assert torch.equal(images, split.images_at(chosen, 8))
            assert torch.equal(labels, split.labels[chosen])

    def test_some_of_the_images(self, make: MakeSplit) -> None:
        split = make(9)
        some = split.subset([7, 2, 5])
        assert len(some) == 3
        assert torch.equal(some.labels, split.labels[[7, 2, 5]])
        assert torch.equal(
            some.images_at(torch.tensor([1, 2]), 8), split.images_at(torch.tensor([2, 5]), 8)
        )
        again = some.subset([2])
        assert torch.equal(
            again.images_at(torch.tensor([0]), 8), split.images_at(torch.tensor([5]), 8)
        )

    @pytest.mark.parametrize("augmentation", [None, EVERYTHING])
    def test_seed_and_epoch_decide_everything(
        self, make: MakeSplit, augmentation: Augmentation | None
    ) -> None:
        split = make(12)
        runs = []
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0)):
            torch.manual_seed(len(runs))  # the global generator is no part of it
            np.random.seed(len(runs))  # noqa: NPY002
            runs.append(list(split.batches(4, 8, Shuffle(seed=seed, epoch=epoch), augmentation)))
        assert _same(runs[0], runs[1])
        assert not _same(runs[0], runs[2])
        assert not _same(runs[0], runs[3])

    @pytest.mark.parametrize("augmentation", [None, EVERYTHING])
    def test_an_epoch_goes_on_where_it_was_left(
        self, make: MakeSplit, augmentation: Augmentation | None
    ) -> None:
        split = make(12)
        whole = list(split.batches(3, 8, Shuffle(seed=0, epoch=2), augmentation))
        rest = list(split.batches(3, 8, Shuffle(seed=0, epoch=2, start=2), augmentation))
        assert _same(rest, whole[2:])

    def test_the_global_generator_stays_as_it_is(self, make: MakeSplit) -> None:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        list(make(6).batches(2, 8, Shuffle(seed=0, epoch=0), EVERYTHING))
        assert torch.equal(torch.get_rng_state(), before)

    def test_who_stops_early_leaves_no_thread_behind(self, make: MakeSplit) -> None:
        before = threading.active_count()
        batches = make(12).batches(2, 8, Shuffle(seed=0, epoch=0), EVERYTHING)
        next(batches)
        batches.close()  # type: ignore[attr-defined]
        assert threading.active_count() == before

    def test_another_process_may_be_handed_it(self, make: MakeSplit) -> None:
        split = make(5)
        first = list(split.batches(2, 8))
        assert _same(list(pickle.loads(pickle.dumps(split)).batches(2, 8)), first)

    def test_what_is_not_shuffled_is_not_augmented(self, make: MakeSplit) -> None:
        with pytest.raises(ValueError, match="images are augmented where they are shuffled"):
            next(make(4).batches(2, 8, None, EVERYTHING))

    def test_a_fingerprint_is_of_images_labels_and_order(self, make: MakeSplit) -> None:
        split = make(6)
        assert split.fingerprint() == make(6).fingerprint()
        others = [
            split.subset([0, 1, 2]), split.subset([5, 4, 3, 2, 1, 0]), make(7),
        ]  # fmt: skip
        assert len({split.fingerprint(), *(other.fingerprint() for other in others)}) == 4


@pytest.mark.parametrize("augmentation", [None, EVERYTHING, Augmentation(crop=0.1)])
@pytest.mark.parametrize("resolution", [9, 16, 30])
def test_both_give_the_same_batches(augmentation: Augmentation | None, resolution: int) -> None:
    shuffle = Shuffle(seed=4, epoch=1)
    if augmentation is EVERYTHING:  # equalising and the like make much of one level of grey
        augmentation = Augmentation(crop=0.3, shift=0.1, flip=True, colour=0.4, erase=0.5)
    for (one, labels), (other, other_labels) in zip(
        _in_memory(12).batches(6, resolution, shuffle, augmentation),
        _lazy(12).batches(6, resolution, shuffle, augmentation),
        strict=True,
    ):
        assert torch.equal(labels, other_labels)
        # Pillow rounds to whole levels of grey, here up to 1 / 255 / 0.25 high, and three changes
        # of colour make each of them up to 1.4 times as high.
        levels = 2 * 1.4 ** (3 * bool(augmentation and augmentation.colour))
        torch.testing.assert_close(one, other, rtol=0, atol=levels / 255 / 0.25)
