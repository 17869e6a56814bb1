"""Weights in a file: a ``state_dict`` that ``torch.load`` reads without running any code."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from latency.files import write_whole


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> Path:
    """Write a ``state_dict``; the file is whole or absent."""
    content = io.BytesIO()
    torch.save(dict(weights), content)
    return write_whole(path, content.getvalue())


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a ``state_dict``, onto the CPU.

    Raises:
        ValueError: the file cannot be read, or holds something else.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"the weights {path} cannot be read: {error.strerror}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        said = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} holds no weights that torch can read safely: {said}") from None
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise ValueError(f"{path} must hold a state_dict: tensors by name, and nothing else")
    return loaded
