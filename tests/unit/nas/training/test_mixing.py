"""Mixed images and the labels that go with them."""

import numpy as np
import pytest
import torch

from nas.training.mixing import Mixed, mix

IMAGES = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 6).contiguous()
LABELS = torch.tensor([0, 1, 2, 3])


def _mix(seed: int, *, mixup: float = 0.0, cutmix: float = 0.0) -> Mixed:
    return mix(IMAGES, LABELS, mixup=mixup, cutmix=cutmix, generator=np.random.default_rng(seed))


def test_without_either_nothing_is_changed() -> None:
    mixed = _mix(0)
    assert mixed.images is IMAGES
    assert mixed.share == 1.0


def test_mixup_adds_images_as_it_adds_labels() -> None:
    mixed = _mix(3, mixup=0.8)
    # Image i is i everywhere, so a mixed one is what its label says in the mean.
    targets = mixed.targets(4)
    assert 0 < mixed.share < 1
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed.images[:, 0, 0, 0], targets @ torch.arange(4.0))
    torch.testing.assert_close(targets[0], torch.tensor([mixed.share, 0, 0, 1 - mixed.share]))


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_gives_labels_by_area(seed: int) -> None:
    mixed = _mix(seed, cutmix=1.0)
    own = (mixed.images[0] == 0).float().mean()
    assert float(own) == pytest.approx(mixed.share)
    torch.testing.assert_close(mixed.images.mean((1, 2, 3)), mixed.targets(4) @ torch.arange(4.0))
    # What comes from the other image is one rectangle.
    rows, columns = torch.nonzero(mixed.images[0, 0] == 3, as_tuple=True)
    if len(rows):
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert height * width == len(rows)
    assert torch.equal(IMAGES, torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 6))


def test_of_both_each_is_taken_half_of_the_time() -> None:
    cut = [len(_mix(seed, mixup=1.0, cutmix=1.0).images[0].unique()) == 2 for seed in range(200)]
    assert 60 < sum(cut) < 140


def test_the_shares_are_betas() -> None:
    shares = np.array([_mix(seed, mixup=0.2).share for seed in range(2000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.04)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), rel=0.1)


def test_the_same_generator_gives_the_same_batch() -> None:
    assert torch.equal(_mix(5, mixup=1, cutmix=1).images, _mix(5, mixup=1, cutmix=1).images)


def test_a_batch_in_parts_is_all_of_it() -> None:
    mixed = _mix(3, mixup=0.8)
    parts = mixed.parts(3)
    assert [len(part.labels) for part in parts] == [2, 2]
    assert torch.equal(torch.cat([part.images for part in parts]), mixed.images)
    assert torch.equal(torch.cat([part.targets(4) for part in parts]), mixed.targets(4))
