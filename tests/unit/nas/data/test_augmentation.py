"""What augmentation does to an image: crops, RandAugment, colours, shifts, flips, erased parts."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import Augmentation
from nas.data.cropping import crop_box, crop_draws
from nas.data.moving import move, shifted
from nas.data.painting import OPERATIONS, Paint, draw_paints, paint


def _draws() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": 0}, r"Augmentation\.crop must be a number in 0\.01\.\.1, but got 0"),
        ({"shift": 0.6}, r"Augmentation\.shift must be a number in 0\.\.0\.5"),
        ({"flip": 0.5}, r"Augmentation\.flip must be true or false, but got 0\.5"),
        ({"rand_augment": 11}, r"Augmentation\.rand_augment must be a number in 0\.\.10"),
        ({"colour": -1}, r"Augmentation\.colour must be a number in 0\.\.1"),
        ({"erase": 2}, r"Augmentation\.erase must be a number in 0\.\.1"),
    ],
)
def test_what_is_out_of_range_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)  # type: ignore[arg-type]


class TestCrops:
    @pytest.mark.parametrize("size", [(500, 375), (375, 500), (32, 32)])
    def test_they_lie_inside_and_have_the_areas_and_aspects_asked_for(
        self, size: tuple[int, int]
    ) -> None:
        width, height = size
        boxes = np.array([crop_box(*size, 0.2, drawn) for drawn in crop_draws(2000, _draws())])
        assert boxes.min() >= 0
        assert boxes[:, 2].max() <= width + 1e-9
        assert boxes[:, 3].max() <= height + 1e-9
        widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        areas, aspects = widths * heights / (width * height), widths / heights
        assert 0.2 <= areas.min() < 0.25
        assert 0.9 < areas.max() <= 1
        assert 3 / 4 - 1e-9 <= aspects.min() < 0.78
        assert 1.28 < aspects.max() <= 4 / 3 + 1e-9
        assert (
            abs(np.log(aspects).mean()) < 0.06
        )  # where the image is wide, wide boxes fit more often
        # Places are even: as far from the left as from the right.
        assert boxes[:, 0].mean() == pytest.approx((width - boxes[:, 2]).mean(), rel=0.1)

    def test_where_none_fits_it_is_the_largest_in_the_middle(self) -> None:
        drawn = crop_draws(1, _draws())[0]
        assert crop_box(400, 100, 1.0, drawn) == pytest.approx((133.33, 0, 266.67, 100), abs=0.01)
        assert crop_box(100, 400, 1.0, drawn) == pytest.approx((0, 133.33, 100, 266.67), abs=0.01)


def _picture(side: int = 40) -> Image.Image:
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(30, 220, (5, 5, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def _after(name: str, amount: float, image: Image.Image | None = None) -> np.ndarray:
    return np.asarray(OPERATIONS[name](image or _picture(), amount)).astype(int)


class TestRandAugment:
    """Each of the paper's operations against a formula, or a property, of its own."""

    before = np.asarray(_picture()).astype(int)

    @pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"auto_contrast", "equalise"}))
    def test_no_magnitude_changes_nothing(self, name: str) -> None:
        assert np.abs(_after(name, 0.0) - self.before).max() <= 1

    @pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"identity"}))
    def test_the_strongest_does_something(self, name: str) -> None:
        after = _after(name, 1.0)
        assert after.shape == self.before.shape
        assert np.abs(after - self.before).max() > (2 if name == "sharpness" else 10)

    def test_contrast_is_stretched_to_all_levels(self) -> None:
        after = _after("auto_contrast", 1.0)
        assert (after.min((0, 1)), after.max((0, 1))) == (pytest.approx(0), pytest.approx(255))

    def test_levels_are_equally_frequent_after_equalising(self) -> None:
        counts = np.histogram(_after("equalise", 1.0), 4, (0, 256))[0] / self.before.size
        assert counts == pytest.approx([0.25] * 4, abs=0.03)

    def test_half_of_the_bits_are_lost(self) -> None:
        assert (_after("posterise", 1.0) == self.before // 16 * 16).all()

    def test_bright_pixels_are_inverted(self) -> None:
        expected = np.where(self.before >= 128, 255 - self.before, self.before)
        assert (_after("solarise", 0.5) == expected).all()

    @pytest.mark.parametrize("amount", [-1.0, 0.5])
    def test_brightness_is_a_factor(self, amount: float) -> None:
        expected = np.clip(self.before * (1 + 0.9 * amount), 0, 255)
        assert np.abs(_after("brightness", amount) - expected).max() <= 1

    def test_without_colour_all_channels_are_nearly_alike(self) -> None:
        spread = np.ptp(_after("colour", -1.0), axis=2).max()
        assert spread <= 0.1 * np.ptp(self.before, axis=2).max() + 1

    def test_images_are_turned_by_up_to_thirty_degrees(self) -> None:
        image = _picture()
        anticlockwise = image.rotate(30, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))
        clockwise = image.rotate(-30, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))
        differences = [
            np.abs(_after("rotate", sign) - np.asarray(turned).astype(int))[8:-8, 8:-8].max()
            for sign, turned in ((-1, anticlockwise), (1, clockwise))
        ]
        assert max(differences) <= 2

    def test_images_are_moved_and_grey_comes_in(self) -> None:
        right, down = _after("translate_x", 1.0), _after("translate_y", -0.5)
        assert (right[:, 12:] == self.before[:, :-12]).all()  # 0.3 of 40
        assert (right[:, :12] == 128).all()
        assert (down[:-6] == self.before[6:]).all()
        assert (down[-6:] == 128).all()

    def test_rows_are_moved_by_their_distance_from_the_middle(self) -> None:
        across, along = _after("shear_x", 1.0), _after("shear_y", 1.0)
        # A row 10 pixels above the middle shows what was 3 pixels to its left.
        middle = slice(10, 30)
        for moved, before in (
            (across, self.before),
            (along.swapaxes(0, 1), self.before.swapaxes(0, 1)),
        ):
            there = (before[9, 7:27] + before[9, 6:26]) / 2  # 10.5 above: 3.15 to the left
            assert np.abs(moved[9, middle] - there).mean() < 6

    def test_every_operation_is_drawn_twice_an_image_with_both_signs(self) -> None:
        paints = draw_paints(4000, Augmentation(rand_augment=5), _draws())
        drawn = [operation for each in paints for operation in each.operations]
        assert all(len(each.operations) == 2 and not each.factors for each in paints)
        for name in OPERATIONS:
            amounts = [amount for one, amount in drawn if one == name]
            assert len(amounts) / len(drawn) == pytest.approx(1 / 14, rel=0.15)
            assert set(amounts) == {-0.5, 0.5}


class TestColours:
    def test_factors_are_drawn_around_one(self) -> None:
        paints = draw_paints(2000, Augmentation(colour=0.4), _draws())
        factors = np.array([each.factors for each in paints])
        assert factors.shape == (2000, 3)
        assert 0.6 <= factors.min() < 0.61
        assert 1.39 < factors.max() <= 1.4

    def test_brightness_comes_first(self) -> None:
        image = Image.new("RGB", (4, 4), (100, 60, 20))
        after = paint(image, Paint(operations=(), factors=(0.5, 1.0, 1.0)))
        assert after.getpixel((0, 0)) == (50, 30, 10)
        grey = paint(image, Paint(operations=(), factors=(1.0, 1.0, 0.0)))
        assert len(set(grey.getpixel((0, 0)))) == 1  # type: ignore[arg-type]


class TestMoves:
    @pytest.fixture
    def images(self) -> torch.Tensor:
        return torch.arange(2 * 3 * 64, dtype=torch.float32).view(2, 3, 8, 8)

    def test_shifted_images_repeat_their_edge(self, images: torch.Tensor) -> None:
        moved = shifted(images, np.array([[0.25, 0.0], [0.0, -0.125]]))
        assert torch.equal(moved[0, :, :, 2:], images[0, :, :, :-2])
        assert torch.equal(moved[0, :, :, 0], images[0, :, :, 0])
        assert torch.equal(moved[0, :, :, 1], images[0, :, :, 0])
        assert torch.equal(moved[1, :, :-1], images[1, :, 1:])
        assert torch.equal(moved[1, :, -1], images[1, :, -1])

    def test_half_of_the_images_are_mirrored(self) -> None:
        images = torch.arange(4.0).expand(1000, 3, 4, 4).contiguous()
        moved = move(images, Augmentation(flip=True), _draws())
        mirrored = (moved == images.flip(3)).all((1, 2, 3))
        assert torch.equal(moved[~mirrored], images[~mirrored])
        assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.05)

    @pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
    def test_a_rectangle_gets_the_mean_colour(self, kind: torch.dtype) -> None:
        images = torch.randint(0, 256, (400, 3, 20, 20)).to(kind)
        erased = move(images, Augmentation(erase=0.25), _draws())
        changed = (erased != images).any(1)
        share = float(changed.any((1, 2)).float().mean())
        assert share == pytest.approx(0.25, abs=0.06)
        for image, where, before in zip(erased, changed, images, strict=True):
            if not where.any():
                continue
            rows, columns = where.any(1).nonzero(), where.any(0).nonzero()
            height = int(rows.max() - rows.min()) + 1
            width = int(columns.max() - columns.min()) + 1
            assert 0.01 < height * width / 400 < 0.4
            assert math.exp(-1.5) < height / width < math.exp(1.5)
            inside = image[:, where]
            mean = before.float().mean((1, 2))[:, None]
            assert (inside.float() - mean).abs().max() <= 1
