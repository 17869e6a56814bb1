"""Tensors and plain data in a file with a version: whole or absent, read without running it."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from latency.files import write_whole


def write_state(path: Path, version: int, state: Mapping[str, Any]) -> None:
    """Write tensors and plain data by name."""
    content = io.BytesIO()
    torch.save({"format": version, **state}, content)
    write_whole(path, content.getvalue())


def read_state(path: Path, version: int, *, holds: str, remedy: str) -> dict[str, Any] | None:
    """What was written, with its tensors on the CPU; ``None`` if there is no file.

    Args:
        path: the file.
        version: what this code can read.
        holds: what the file should hold, in a word.
        remedy: what follows where a person deletes it.

    Raises:
        ValueError: it is damaged, or of another version.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged and cannot be read ({' '.join(str(error).split())[:80]}); delete "
            f"it, and {remedy}"
        ) from None
    if not isinstance(state, dict) or state.get("format") != version:
        raise ValueError(
            f"{path} holds no {holds} that this version can read; delete it, and {remedy}"
        )
    return state
