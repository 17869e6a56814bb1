"""The task of fine-tuning one proposal: weights carried over, T steps, accuracy, files.

It runs wherever an executor has it run, and leaves its answer in the run's folder: first the
weights, then a small file with the accuracy. Who finds that file need not do it again.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from omegaconf import OmegaConf
from sklearn.model_selection import train_test_split
from torch import nn

from latency.files import write_json
from latency.plan import no_progress
from nas.data import ImageData, Split
from nas.evaluation import ChannelMonitor
from nas.executors import Channel
from nas.setup import build
from nas.training import TrainSettings, evaluate, train
from nas.training.failures import in_short
from nas.training.weights import load_weights, save_weights
from netadapt.weight_transfer import Keep, transfer_weights
from search_spaces import Architecture, build_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What all proposals of a run have alike.

    Attributes:
        data: its configuration, as JSON, so that it can be pickled and hashed.
        share: of the training images, what proposals are compared on; ``None``: the seed's weights
            know them all, and proposals are compared on the validation part.
        steps: batches; ``train`` says how, without its epochs.
        resolution: of training and comparing, in pixels.
        seed: of which images are kept, and of weights that the file of a network lacks.
    """

    data: str
    share: float | None
    steps: int
    train: TrainSettings
    resolution: int
    keep: Keep
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One proposal.

    Attributes:
        old, weights: the network that it is made of, and the file of its ``state_dict``.
        new, sources: the smaller network, and where its blocks come from.
        order: seed of the order of images: the same for all proposals of a step, and another one in
            each, or no step would see more images than the first.
        answer: the file of the accuracy; the weights lie beside it, as ``.pt``.
    """

    old: Architecture
    weights: Path
    new: Architecture
    sources: tuple[int, ...]
    order: int
    answer: Path


def tune(tuning: Tuning, task: Task, channel: Channel) -> float:
    """Fine-tune a proposal; returns its accuracy on the images kept for proposals, in 0..1.

    Raises:
        DivergenceError: the loss became infinite or NaN.
        TrainingError: memory does not suffice, or the network cannot be compiled.
    """
    used, kept = parts_of(tuning)
    state = transfer_weights(
        task.old,
        load_weights(task.weights),
        task.new,
        sources=task.sources,
        keep=tuning.keep,
        seed=tuning.seed,
    )
    model = build_model(task.new)
    model.load_state_dict(state)
    torch.manual_seed(task.order)
    with in_short(tuning.train, "tune"):
        train(
            model,
            used,
            tuning.train,
            resolution=tuning.resolution,
            seed=task.order,
            on_step=ChannelMonitor(channel, wants_accuracy=False).step,
            steps=tuning.steps,
        )
    accuracy = compare(model, kept, tuning.resolution)
    save_weights(task.answer.with_suffix(".pt"), model.cpu().state_dict())
    write_json(task.answer, {"accuracy": accuracy})
    return accuracy


def compare(model: nn.Module, kept: Split, resolution: int) -> float:
    """The accuracy on the images kept for proposals, in 0..1."""
    return evaluate(model, kept, resolution=resolution, batch_size=128, on_step=no_progress)


@lru_cache(maxsize=1)
def parts_of(tuning: Tuning) -> tuple[Split, Split]:
    """The images that are trained on, and those that proposals are compared on."""
    data: ImageData = build("data", OmegaConf.create(json.loads(tuning.data)))
    if tuning.share is None:
        return data.train, data.validation
    return hold_out(data.train, tuning.share, tuning.seed)


def hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Keep a share of the images apart, with equal class shares.

    Raises:
        ValueError: a class has too few images.
    """
    try:
        used, kept = train_test_split(
            range(len(split)), test_size=share, stratify=split.labels.numpy(), random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"proposal_share={share} leaves a class without images to train or to compare on "
            f"({error}); give another share, or more images"
        ) from None
    return split.subset(used), split.subset(kept)
