"""The name of a measured thing: equal blocks on equal inputs in equal places have equal keys."""

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

from latency.context import After, walk_in_context
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape


def block_key(block: Block, input_shape: TensorShape, after: After) -> str:
    """``Pool(kind=max, kernel=3, stride=2)@24x112x112 after conv``: readable, and unique."""
    return f"{_text(block)}@{input_shape} after {after}"


def alone_key(block: Block, input_shape: TensorShape) -> str:
    """A block timed by itself, without the stubs that stand for its neighbours."""
    return f"{_text(block)}@{input_shape} alone"


def boundary_key(shape: TensorShape, after: After) -> str:
    """What is subtracted of a block that stands ``after`` something on a map of this shape."""
    return f"boundary@{shape} after {after}"


def network_keys(architecture: Architecture) -> tuple[str, ...]:
    """The key of every block of a network, in order."""
    return tuple(block_key(*step) for step in walk_in_context(architecture))


def network_boundaries(architecture: Architecture) -> tuple[str, ...]:
    """The keys of the boundaries between a network's blocks, in order."""
    inner = walk_in_context(architecture)[1:]
    return tuple(boundary_key(shape, after) for _, shape, after in inner)


def network_key(architecture: Architecture) -> str:
    """A whole network's key: its blocks decide, its name does not."""
    digest = hashlib.sha256("\n".join(network_keys(architecture)).encode()).hexdigest()
    return f"Network({digest[:16]})@{architecture.input_shape}"


def _text(value: Any) -> str:
    if not is_dataclass(value) or isinstance(value, type):
        return str(value)
    inner = ", ".join(
        f"{field.name}={_text(getattr(value, field.name))}" for field in fields(value)
    )
    return f"{type(value).__name__}({inner})"
