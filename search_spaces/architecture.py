"""A network: a tuple of blocks and the image it reads. One datum, many readers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from search_spaces.blocks import Block, ClassifierHead, check_fraction, check_integer
from search_spaces.shapes import TensorShape, output_shape

MAX_RESOLUTION = 4096
MAX_BLOCKS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A network for classification, described by absolute numbers.

    Attributes:
        name: for people and file names.
        resolution: height and width of the input image, in pixels.
        image_channels: channels of the input image.
        norm_epsilon: the epsilon of every batch norm (1e-3 in MobileNetV3, 1e-5 elsewhere).
        blocks: from the stem to the head; the last one is a ``ClassifierHead``.

    Raises:
        ValueError: a field is out of range, or a block cannot follow the one before it.
    """

    name: str
    blocks: tuple[Block, ...]
    resolution: int = 224
    image_channels: int = 3
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise ValueError(
                f"Architecture.name must be printable and not empty, but got {self.name!r:.80}"
            )
        check_integer("Architecture", "resolution", self.resolution, 1, MAX_RESOLUTION)
        check_integer("Architecture", "image_channels", self.image_channels, 1, 1024)
        check_fraction("Architecture", "norm_epsilon", self.norm_epsilon)
        if self.norm_epsilon == 0:
            raise ValueError("Architecture.norm_epsilon must be above 0, but got 0")
        _check_blocks(self.blocks)
        for _ in self.walk():
            pass

    @property
    def input_shape(self) -> TensorShape:
        return TensorShape(self.image_channels, self.resolution, self.resolution)

    @property
    def head(self) -> ClassifierHead:
        head = self.blocks[-1]
        assert isinstance(head, ClassifierHead)
        return head

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    def walk(self) -> Iterator[tuple[Block, TensorShape]]:
        """Each block with the shape of its input, from stem to head."""
        shape = self.input_shape
        for index, block in enumerate(self.blocks):
            try:
                following = output_shape(block, shape)
            except ValueError as error:
                raise ValueError(f"blocks[{index}]: {error}") from None
            yield block, shape
            shape = following

    def with_num_classes(self, num_classes: int) -> "Architecture":
        """The same network for another number of classes."""
        head = replace(self.head, num_classes=num_classes)
        return replace(self, blocks=(*self.blocks[:-1], head))

    def with_resolution(self, resolution: int) -> "Architecture":
        """The same network for another image size (MobileNets' resolution multiplier ρ)."""
        return replace(self, resolution=resolution)

    def to_yaml(self) -> str:
        """This network as YAML text, one line a block."""
        from search_spaces.yaml_io import architecture_to_yaml

        return architecture_to_yaml(self)

    @staticmethod
    def from_yaml(source: str | Path) -> "Architecture":
        """Read a network from YAML text, or from the file a ``Path`` names.

        Raises:
            ValueError: the text is not a valid description; the message names the field.
            OSError: the file cannot be read.
        """
        from search_spaces.yaml_io import architecture_from_yaml, read_text

        text = read_text(source) if isinstance(source, Path) else source
        return architecture_from_yaml(text)


def _check_blocks(blocks: object) -> None:
    if not isinstance(blocks, tuple) or not 1 <= len(blocks) <= MAX_BLOCKS:
        raise ValueError(
            f"Architecture.blocks must be a tuple of 1..{MAX_BLOCKS} blocks, but got "
            f"{len(blocks) if isinstance(blocks, tuple) else type(blocks).__name__}"
        )
    for index, block in enumerate(blocks):
        if not isinstance(block, get_args(Block)):
            raise ValueError(f"Architecture.blocks[{index}] must be a block, but got {block!r}")
        if isinstance(block, ClassifierHead) != (index == len(blocks) - 1):
            raise ValueError(
                f"Architecture.blocks must end in its only ClassifierHead, but blocks[{index}] "
                f"of {len(blocks)} is a {type(block).__name__}"
            )
