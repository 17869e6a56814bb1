"""How training images are varied: settings."""

from dataclasses import dataclass

from nas.checks import check_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is done to training images, in this order; by itself nothing.

    Attributes:
        crop: the least share of an image's area that is cut out and resized, in 0.01..1, of an
            aspect of 3/4 to 4/3 (Szegedy et al., 2015, section 6); ``None``: the cut of validation.
        rand_augment: two operations an image, of this magnitude in 0..10 (Cubuk et al., 2020);
            ``None``: none.
        colour: by up to how much brightness, contrast and saturation change: factors in
            1 - colour..1 + colour.
        shift: by up to how much of its side an image is moved, each way; what comes in repeats
            the edge. 0.125 are four pixels of 32.
        flip: whether every other image is mirrored, left to right.
        erase: the share of images that lose a rectangle (Zhong et al., 2020), in 0..1.
    """

    crop: float | None = None
    rand_augment: float | None = None
    colour: float = 0.0
    shift: float = 0.0
    flip: bool = False
    erase: float = 0.0

    def __post_init__(self) -> None:
        if self.crop is not None:
            check_fields(self, 0.01, 1, "crop")
        check_fields(self, 0, 0.5, "shift")
        if not isinstance(self.flip, bool):
            raise ValueError(f"Augmentation.flip must be true or false, but got {self.flip!r:.80}")
        if self.rand_augment is not None:
            check_fields(self, 0, 10, "rand_augment")
        check_fields(self, 0, 1, "colour", "erase")

    @property
    def repaints(self) -> bool:
        """Whether ``paint`` does anything."""
        return self.rand_augment is not None or self.colour > 0
