"""The network that a run begins with: its weights from a file, trained where they are not all."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from latency.console import Terminal
from nas.entry import CONFIG_FOLDER
from nas.resolvers import register_resolvers
from nas.training.failures import TrainingError
from nas.training.released import WeightsSource
from nas.training.weights import load_weights, save_weights
from netadapt import seed as seed_module
from netadapt.seed import Seed, read_seed, train_seed, weights_source
from netadapt.setup import NetAdaptRun, build_run
from search_spaces import Architecture, build_model
from search_spaces.blocks import ClassifierHead, ConvNormAct

NETWORK = Architecture(
    name="tiny",
    blocks=(
        ConvNormAct(out_channels=16, kernel=3, stride=2),
        ConvNormAct(out_channels=16, kernel=3, stride=2),
        ClassifierHead(num_classes=10),
    ),
)
OF_1000 = NETWORK.with_num_classes(1000)
TORCHVISIONS_NAMES = {
    "blocks.0.unit.conv": "features.0.0",
    "blocks.0.unit.norm": "features.0.1",
    "blocks.1.unit.conv": "features.1.0",
    "blocks.1.unit.norm": "features.1.1",
    "blocks.2.classifier": "classifier.1",
}


def _save_as_torchvision(path: Path, network: Architecture) -> dict[str, Tensor]:
    """Write fresh weights of the network; returns them by our names."""
    state: dict[str, Tensor] = build_model(network).state_dict()
    named = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        named[f"{TORCHVISIONS_NAMES[layer]}.{part}"] = value
    save_weights(path, named)
    return state


@pytest.fixture
def run(tmp_path: Path) -> NetAdaptRun:
    """A run with a ``file.yaml``."""
    (tmp_path / "tiny.yaml").write_text(NETWORK.to_yaml())
    register_resolvers()
    overrides = [
        f"seed={tmp_path}/tiny.yaml", f"weights={tmp_path}/tiny.pth", "proxy_resolution=16",
        "pretrain.epochs=3",
    ]  # fmt: skip
    with initialize_config_dir(config_dir=CONFIG_FOLDER, version_base=None):
        return build_run(compose("netadapt", overrides), command="")


def test_all_weights_are_taken_as_they_are(run: NetAdaptRun, tmp_path: Path) -> None:
    state = _save_as_torchvision(tmp_path / "tiny.pth", NETWORK)
    said: list[str] = []
    seed = read_seed(run.seed, run.weights, said.append)
    assert said == [f"weights of tiny from {tmp_path}/tiny.pth, named as in torchvision"]
    accuracy = train_seed(seed, run, tmp_path / "seed.pt", Terminal())
    assert 0 <= accuracy <= 1
    written = load_weights(tmp_path / "seed.pt")
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)


def test_a_new_classifier_is_trained(run: NetAdaptRun, tmp_path: Path) -> None:
    _save_as_torchvision(tmp_path / "tiny.pth", OF_1000)
    said: list[str] = []
    seed = read_seed(run.seed, run.weights, said.append)
    assert said[1:] == [
        "  its classifier of 1000 classes is left out: one of 10 is initialised at random"
    ]
    assert train_seed(seed, run, tmp_path / "seed.pt", Terminal()) > 0.3
    written = load_weights(tmp_path / "seed.pt")
    assert written["blocks.2.classifier.weight"].shape == (10, 16)


def test_what_memory_does_not_suffice_for_is_said_in_one_line(
    run: NetAdaptRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object, **__: object) -> None:
        raise MemoryError("it is full")

    monkeypatch.setattr(seed_module, "train", train)
    nothing = Seed(architecture=NETWORK, weights={})
    with pytest.raises(
        TrainingError, match=r"pretrain\.batch_size=32 \(it is full\); give a lower"
    ):
        train_seed(nothing, run, tmp_path / "seed.pt", Terminal())


def test_weights_that_were_written_stay(run: NetAdaptRun, tmp_path: Path) -> None:
    written = build_model(NETWORK).state_dict()
    path = save_weights(tmp_path / "seed.pt", written)
    before = path.read_bytes()
    train_seed(Seed(architecture=NETWORK, weights={}), run, path, Terminal())
    assert path.read_bytes() == before


def test_what_was_trained_serves_other_runs(run: NetAdaptRun, tmp_path: Path) -> None:
    first = replace(run, weights=None, folder=tmp_path / "runs" / "first")
    assert weights_source(first) is None
    nothing = Seed(architecture=NETWORK, weights={})
    accuracy = train_seed(nothing, first, tmp_path / "first.pt", Terminal())
    assert accuracy > 0.3
    second = replace(first, folder=tmp_path / "runs" / "second")
    seed = read_seed(second.seed, weights_source(second), lambda _: None)
    assert train_seed(seed, second, tmp_path / "second.pt", Terminal()) == accuracy
    # Which images are kept follows from how many there are.
    fewer = replace(second.data, train=second.data.train.subset(range(100)))
    assert weights_source(replace(second, data=fewer)) is None
    given = WeightsSource(path=tmp_path / "given.pt")
    assert weights_source(replace(second, weights=given)) == given


def test_without_a_file_nothing_is_known(run: NetAdaptRun) -> None:
    seed = read_seed(run.seed, None, pytest.fail)
    assert (seed.architecture, dict(seed.weights)) == (run.seed, {})


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "a.pt", {"conv1.weight\nof many": torch.ones(1)})
    with pytest.raises(
        ValueError, match=r"^weights=.*a\.pt are those of another network than tiny"
    ):
        read_seed(NETWORK, WeightsSource(path=path), pytest.fail)
    _save_as_torchvision(path, NETWORK)
    weights = load_weights(path)
    save_weights(path, {**weights, "features.0.0.bias\nof many": torch.ones(1)})
    with pytest.raises(ValueError, match=r"named as those of this network|left over") as refused:
        read_seed(NETWORK, WeightsSource(path=path), pytest.fail)
    assert "\n" not in str(refused.value)
