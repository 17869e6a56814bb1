"""Weights in a file: a ``state_dict``, which is read without running any code of the file's."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from latency.files import write_whole
from nas.training.checkpoint import weights_kept

_WRAPPERS = ("state_dict", "model")
"""Where training scripts put the weights beside what else they keep."""


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> Path:
    """Write a ``state_dict``; the file is whole or absent."""
    content = io.BytesIO()
    torch.save(dict(weights), content)
    return write_whole(path, content.getvalue())


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a ``state_dict``, onto the CPU.

    It may stand by itself, be ``state_dict`` or ``model`` of a dictionary, be in the checkpoint of
    a training of ours, or be a ``.safetensors`` file.

    Raises:
        ValueError: the file cannot be read, or holds something else.
    """
    try:
        loaded = _load_safetensors(path) if path.suffix == ".safetensors" else _load(path)
    except OSError as error:
        raise ValueError(f"the weights {path} cannot be read: {error.strerror}") from None
    if isinstance(loaded, dict):
        wrapped = (loaded[name] for name in _WRAPPERS if isinstance(loaded.get(name), dict))
        loaded = weights_kept(loaded) or next(wrapped, loaded)
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise ValueError(f"{path} must hold a state_dict: tensors by name, and nothing else")
    return loaded


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # where the file is damaged, torch raises whatever comes of it
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} holds no weights that torch can read safely: {said}") from None


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path} holds no weights that safetensors can read: {said}") from None
