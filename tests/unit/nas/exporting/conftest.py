"""A small network, trained for a second on digits, and the folder of a run that has it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from latency.files import write_json
from nas.data import ImageData
from nas.data.digits import digits_data
from nas.training import TrainSettings, train
from nas.training.weights import save_weights
from search_spaces import Architecture, build_model
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)
from search_spaces.torch_model import Network

RESOLUTION = 16
NETWORK = Architecture(
    name="small",
    blocks=(
        ConvNormAct(out_channels=8, kernel=3, stride=2, activation=Activation.H_SWISH),
        InvertedResidual(
            expanded_channels=24,
            out_channels=8,
            kernel=3,
            squeeze_excite=SqueezeExcite(channels=8),
            skip=Skip.IDENTITY,
        ),
        InvertedResidual(expanded_channels=24, out_channels=16, kernel=5, stride=2),
        ClassifierHead(num_classes=10),
    ),
    resolution=RESOLUTION,
)


@dataclass(frozen=True)
class Trained:
    """A network, and the data that it knows."""

    architecture: Architecture
    model: Network
    data: ImageData


@pytest.fixture(scope="session")
def trained() -> Trained:
    torch.manual_seed(0)
    data, model = digits_data(seed=0), build_model(NETWORK)
    settings = TrainSettings(epochs=2)
    train(model, data.train, settings, resolution=RESOLUTION, seed=0, on_step=lambda *_: None)
    return Trained(NETWORK, model.eval(), data)


@pytest.fixture
def make_run(trained: Trained, tmp_path: Path) -> Callable[..., Path]:
    """``make_run(target_ms=5.0)`` → the folder of a run, as commands leave it."""

    def make(name: str = "run", target_ms: float | None = 5.0, **config: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "best.yaml").write_text(trained.architecture.to_yaml())
        save_weights(folder / "best.pt", trained.model.state_dict())
        data = {"_target_": "nas.data.digits.digits_data", "seed": 0}
        content = {"data": data, **config}
        (folder / "config.yaml").write_text(yaml.safe_dump(content))
        summary: dict[str, Any] = {"accuracy": {"test": 0.9}}
        if target_ms is not None:
            summary["latency"] = {"target_ms": target_ms, "predicted_ms": 3.0}
        write_json(folder / "summary.json", summary)
        write_json(folder / "tests.json", [0.9])
        return folder

    return make
