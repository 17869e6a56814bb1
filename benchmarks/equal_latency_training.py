"""Trainings of the comparison at equal latency, as tasks that an executor runs side by side.

A training's answer is a file. Where it is there already, the training need not be done again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from omegaconf import OmegaConf

from benchmarks.parquet_images import images_of
from latency.console import Update
from latency.files import write_json
from latency.plan import no_progress
from nas.data import SearchData
from nas.evaluation import ChannelMonitor, Steps
from nas.executors import Call, Channel, Died, Executor, Failed, Finished, Retried, Told
from nas.setup import build
from nas.training import TrainSettings, evaluate, train
from nas.training.meter import DivergenceError
from nas.training.weights import load_weights, save_weights
from netadapt.tuning import Tuning, compare, parts_of
from search_spaces import Architecture, build_model

TESTED_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A network to train on all training images and to test on the validation file.

    Attributes:
        data: its configuration, as ``Tuning`` has it.
        weights: what it begins with; ``None``: random ones.
        steps: batches; ``settings`` says how, without its epochs.
        resolution: of training and testing, in pixels.
        seed: of random weights and of the order of images.
        answer: the file of the accuracy.
    """

    data: str
    architecture: Architecture
    weights: Path | None
    settings: TrainSettings
    steps: int
    resolution: int
    seed: int
    answer: Path

    def call(self) -> Call:
        """The task."""
        return partial(train_and_test, self)


def data_config(train: Path | None, validation: Path | None) -> str:
    """What ``Tuning.data`` and ``Training.data`` are, for these files or the embedded digits."""
    files = {"train": train, "validation": validation}
    target = f"{images_of.__module__}.{images_of.__name__}"
    return json.dumps(
        {"_target_": target} | {name: file and str(file.absolute()) for name, file in files.items()}
    )


@lru_cache(maxsize=1)
def load_data(config: str) -> SearchData:
    """The images that a configuration names; once a process."""
    data: SearchData = build("data", OmegaConf.create(json.loads(config)))
    return data


def train_seed(
    tuning: Tuning,
    architecture: Architecture,
    settings: TrainSettings,
    steps: int,
    answer: Path,
    channel: Channel,
) -> None:
    """Train the network that all begin with, without the images that proposals are compared on."""
    used, kept = parts_of(tuning)
    torch.manual_seed(tuning.seed)
    model = build_model(architecture)
    train(
        model,
        used,
        settings,
        resolution=tuning.resolution,
        seed=tuning.seed,
        on_step=ChannelMonitor(channel, wants_accuracy=False).step,
        steps=steps,
    )
    accuracy = compare(model, kept, tuning.resolution)
    save_weights(answer.with_suffix(".pt"), model.cpu().state_dict())
    write_json(answer, {"accuracy": accuracy})


def train_and_test(training: Training, channel: Channel) -> None:
    """Train a network, and write its accuracy on the validation file, in 0..1."""
    data = load_data(training.data)
    torch.manual_seed(training.seed)
    model = build_model(training.architecture)
    if training.weights is not None:
        model.load_state_dict(load_weights(training.weights))
    train(
        model,
        data.train,
        training.settings,
        resolution=training.resolution,
        seed=training.seed,
        on_step=ChannelMonitor(channel, wants_accuracy=False).step,
        steps=training.steps,
    )
    accuracy = evaluate(
        model,
        data.validation,
        resolution=training.resolution,
        batch_size=TESTED_BATCH,
        on_step=no_progress,
    )
    write_json(training.answer, {"accuracy": accuracy})


def read_accuracy(answer: Path) -> float:
    """What a finished training wrote."""
    return float(json.loads(answer.read_text())["accuracy"])


def run_tasks(
    executor: Executor, calls: Mapping[str, Call], work: Mapping[str, float], update: Update
) -> None:
    """Run tasks side by side until all have ended; ``work`` is how much each is.

    Raises:
        ValueError: a training diverged, or its process died.
    """
    waiting, running = iter(calls), 0
    done = dict.fromkeys(calls, 0.0)
    while True:
        while running < executor.workers and (key := next(waiting, None)) is not None:
            executor.submit(key, calls[key])
            running += 1
        if not running:
            return
        for event in executor.wait():
            match event:
                case Told(key=key, message=Steps(steps, total)):
                    done[key] = steps / total
                case Retried(key=key):
                    done[key] = 0.0
                case Finished(key=key):
                    done[key] = 1.0
                    running -= 1
                case Failed(key=key, error=DivergenceError() as error):
                    raise ValueError(f"{key}: {error}")
                case Failed(error=error):
                    raise error
                case Died(key=key, reason=reason):
                    raise ValueError(f"{key} could not be trained: {reason}")
                case _:
                    raise AssertionError(event)
        update(sum(done[key] * work[key] for key in calls), sum(work[key] for key in calls))
