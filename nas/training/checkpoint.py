"""A training's file: all that going on needs, and what it belongs to. Whole or absent."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.training.settings import TrainSettings
from nas.training.state_file import read_state, write_state

FORMAT = 1

Purpose = Mapping[str, str]
"""What a training is of, by the names that a person knows; equal where it can go on."""


class OtherTrainingError(ValueError):
    """The file is of a training with other settings, of another network or on other images."""


class Stateful(Protocol):
    """What is kept beside the training itself."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Where a training is kept, and how often.

    Attributes:
        path: of the file.
        every_s: seconds between two of them; each epoch ends with one anyway.
        beside: what is kept and goes on together with the training.
    """

    path: Path
    every_s: float = 60.0
    beside: Stateful | None = None


class Store:
    """Keeps a training, and gives it back."""

    def __init__(self, checkpoints: Checkpoints, purpose: Purpose) -> None:
        self._checkpoints, self._purpose = checkpoints, purpose
        self._saved_at = time.monotonic()

    @property
    def path(self) -> Path:
        return self._checkpoints.path

    def load(self) -> dict[str, Any] | None:
        """What was kept last, if anything was.

        Raises:
            OtherTrainingError: it is of another training.
            ValueError: it is damaged.
        """
        state = load_checkpoint(self.path, self._purpose)
        if state is not None and self._checkpoints.beside is not None:
            self._checkpoints.beside.load_state_dict(state["beside"])
        return state

    def is_due(self, share_of_time: float) -> bool:
        """Whether this share of the time between two checkpoints is over."""
        return time.monotonic() - self._saved_at >= share_of_time * self._checkpoints.every_s

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep it instead of what was kept before."""
        beside = self._checkpoints.beside
        kept = {**state, "beside": None if beside is None else beside.state_dict()}
        save_checkpoint(self.path, self._purpose, kept)
        self._saved_at = time.monotonic()


def purpose_of(
    settings: TrainSettings,
    weights: Mapping[str, Tensor],
    data: str,
    *,
    resolution: int,
    seed: int,
    steps: int,
) -> Purpose:
    """All that trained weights depend on; threads and devices, for some, are no part of it.

    Args:
        settings: of training.
        weights: that it begins with.
        data: the fingerprint of the images and their classes.
        resolution: of images, in pixels.
        seed: of whatever is random.
        steps: in all.
    """
    return {
        **{f"training.{name}": value for name, value in settings.decisive().items()},
        "network": _digest((name, tuple(value.shape)) for name, value in weights.items()),
        "weights": _digest(_bytes(value) for value in weights.values()),
        "data": data,
        "resolution": str(resolution),
        "seed": str(seed),
        "steps": str(steps),
    }


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _digest(parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()[:16]


def save_checkpoint(path: Path, purpose: Purpose, state: Mapping[str, Any]) -> None:
    """Write the file under a temporary name and rename it; ``state`` is plain data and tensors."""
    write_state(path, FORMAT, {"purpose": dict(purpose), "state": dict(state)})


def load_checkpoint(path: Path, purpose: Purpose) -> dict[str, Any] | None:
    """The state that was saved, on the CPU; ``None`` if there is no file.

    Raises:
        OtherTrainingError: it is of another training; the message says which setting differs.
        ValueError: it is damaged.
    """
    plain = read_state(path, FORMAT, holds="training", remedy="training begins anew")
    if plain is None:
        return None
    theirs: Purpose = plain["purpose"]
    for name in {**theirs, **purpose}:
        if theirs.get(name) != purpose.get(name):
            raise OtherTrainingError(
                f"{path} is of a training with {name}={theirs.get(name)}, but now it is "
                f"{purpose.get(name)}; go on with the old one, or delete the file to begin anew"
            )
    state: dict[str, Any] = plain["state"]
    return state


def weights_kept(content: Mapping[Any, Any]) -> dict[str, Tensor] | None:
    """What a training would have ended with where it was kept: its average, or else its weights.

    Args:
        content: of a file; ``None`` is returned where it is no checkpoint of a training.
    """
    match content:
        case {
            "format": version,
            "purpose": dict(),
            "state": {"learner": {"model": dict() as model, "average": average}},
        } if version == FORMAT:
            return average or model
    return None
