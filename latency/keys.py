"""The name of a measured thing: equal blocks on equal inputs have equal keys."""

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape

OVERHEAD_KEY = "overhead"
"""A graph of one operation on one value: what a ``session.run`` costs by itself."""


def block_key(block: Block, input_shape: TensorShape) -> str:
    """``Pool(kind=max, kernel=3, stride=2)@24x112x112``: readable, and unique."""
    return f"{_text(block)}@{input_shape}"


def network_keys(architecture: Architecture) -> tuple[str, ...]:
    """The key of every block of a network, in order."""
    return tuple(block_key(block, shape) for block, shape in architecture.walk())


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
