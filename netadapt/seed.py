"""The network that a run begins with, and its weights: given, or trained."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latency.console import Terminal
from nas.training import train
from nas.training.failures import in_short
from nas.training.peer_weights import Library
from nas.training.released import WeightsSource, read_weights
from nas.training.weights import load_weights, save_weights
from netadapt.setup import NetAdaptRun
from netadapt.tuning import compare, parts_of
from search_spaces import Architecture, build_model
from search_spaces.torch_model import Network


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seed:
    """A network, and what is known of its weights.

    Attributes:
        weights: part or all of its ``state_dict``; what is not there is initialised at random.
    """

    architecture: Architecture
    weights: Mapping[str, Tensor]


def read_seed(
    network: Architecture, source: WeightsSource | None, say: Callable[[str], None]
) -> Seed:
    """The network with the weights of a file: ours, torchvision's or timm's; ``None``: without.

    Args:
        network: what the weights are of, classes aside.
        say: told what a person should know of the file.

    Raises:
        ValueError: the file cannot be read, or its weights are of another network.
    """
    if source is None:
        return Seed(architecture=network, weights={})
    found = read_weights(source, network, say)
    return Seed(architecture=found.architecture, weights=found.weights)


def weights_source(run: NetAdaptRun) -> WeightsSource | None:
    """The file that was given, or what another run with the same seed has trained."""
    if run.weights is not None:
        return run.weights
    shared = _trained_before(run)
    return WeightsSource(path=shared, library=Library.OURS) if shared.exists() else None


def train_seed(seed: Seed, run: NetAdaptRun, path: Path, terminal: Terminal) -> float:
    """Write the seed's weights to ``path``, where that has not been done; returns their accuracy.

    Where not all are given the network is trained first: by the accuracies of a network that knows
    no classes, no proposal could be told from another.
    """
    _, kept = parts_of(run.tuning)
    torch.manual_seed(run.settings.random_seed)
    model = build_model(seed.architecture)
    if path.exists():
        model.load_state_dict(load_weights(path))
    else:
        fresh = model.state_dict()
        model.load_state_dict({**fresh, **seed.weights})
        if fresh.keys() - seed.weights.keys():
            _train(model, run, terminal)
        save_weights(path, model.cpu().state_dict())
    return compare(model, kept, run.settings.proxy_resolution)


def _train(model: Network, run: NetAdaptRun, terminal: Terminal) -> None:
    """Train as ``pretrain`` says; what begins from no file is kept for other runs."""
    settings = run.settings
    used, _ = parts_of(run.tuning)
    title = f"training {model.architecture.name}"
    with in_short(settings.pretrain, "pretrain"), terminal.progress(title) as update:
        train(
            model,
            used,
            settings.pretrain,
            resolution=settings.proxy_resolution,
            seed=settings.random_seed,
            on_step=update,
        )
    if run.weights is None:
        save_weights(_trained_before(run), model.cpu().state_dict())


def _trained_before(run: NetAdaptRun) -> Path:
    """Where runs with the same seed, data and training leave its weights for each other."""
    settings, tuning = run.settings, run.tuning
    images = run.data.train.fingerprint(), tuning.data, tuning.share
    decides = run.seed, images, settings.pretrain, settings.proxy_resolution, settings.random_seed
    digest = hashlib.sha256(repr(decides).encode()).hexdigest()
    return run.folder.parent / ".seeds" / f"{run.seed.name}-{digest[:12]}.pt"
