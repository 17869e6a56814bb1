"""A supernet's file: its weights, how far their training is, and what it was made for."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nas.data import Split
from nas.supernet.settings import SupernetSettings
from nas.training.state_file import read_state, write_state
from search_spaces.spaces import SearchSpace

FORMAT = 2
_SAMPLED = 16
"""Networks that a space is known again by."""

Purpose = Mapping[str, str]
"""What weights are made for, by the names that a person knows; equal where they can be used."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """What is kept; ``training`` is what going on needs, and ``None`` where training is over."""

    tensors: Mapping[str, Tensor]
    training: Mapping[str, Any] | None


def purpose_of(
    space: SearchSpace, data: Split, settings: SupernetSettings, *, resolution: int, seed: int
) -> Purpose:
    """All that trained weights depend on; threads, for one, are no part of it."""
    rows = space.sample_indices(_SAMPLED, np.random.default_rng(0))
    networks = [space.build(space.choices_at(row)).blocks for row in rows]
    return {
        "space": _digest(space.name, space.choices, space.base_choices, networks),
        "data": data.fingerprint(),
        "seed": str(seed),
        "resolution": str(resolution),
        "settings.samples": str(settings.samples),
        "settings.distillation": f"{settings.distillation:g}",
        **{f"settings.train.{name}": value for name, value in settings.train.decisive().items()},
    }


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def save_checkpoint(path: Path, purpose: Purpose, checkpoint: Checkpoint) -> None:
    """Write the file under a temporary name and rename it."""
    write_state(
        path,
        FORMAT,
        {
            "purpose": dict(purpose),
            "tensors": dict(checkpoint.tensors),
            "training": checkpoint.training,
        },
    )


def load_checkpoint(path: Path, purpose: Purpose) -> Checkpoint | None:
    """Read the file; ``None`` if there is none.

    Raises:
        ValueError: it is damaged, or its weights were made for something else.
    """
    plain = read_state(path, FORMAT, holds="supernet", remedy="the supernet is trained anew")
    if plain is None:
        return None
    for name in {**plain["purpose"], **purpose}:
        theirs, ours = plain["purpose"].get(name), purpose.get(name)
        if theirs != ours:
            raise ValueError(
                f"{path} holds a supernet of another {name} ({theirs}, but now it is {ours}); go "
                "on with the old one, give this run another name=…, or delete the file to train a "
                "new one"
            )
    return Checkpoint(tensors=plain["tensors"], training=plain["training"])
