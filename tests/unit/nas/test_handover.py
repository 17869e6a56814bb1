"""The last stage: what is trained stays, whatever becomes of the measurement."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from latency.console import Terminal
from latency.devices.base import DeviceError
from latency.plan import MeasureSettings
from nas import handover
from nas.data import ImageData, MemorySplit, Preprocessing, Split
from nas.exporting.metadata import read_metadata, with_metadata
from nas.exporting.onnx_file import ExportError
from nas.handover import Handover, LastStage
from nas.run_folder import Folder
from nas.training import TrainSettings, full
from nas.training.full import FullTraining
from nas.training.weights import load_weights
from search_spaces import Architecture
from search_spaces.spaces import SearchSpace


@pytest.fixture
def network(small_space: SearchSpace) -> Architecture:
    return small_space.build(small_space.base_choices, name="small_7")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[TrainSettings]:
    """How networks were trained."""
    found: list[TrainSettings] = []
    train = full.train

    def counted(model: Any, split: Any, settings: TrainSettings, **options: Any) -> None:
        found.append(settings)
        train(model, split, settings, **options)

    monkeypatch.setattr(full, "train", counted)
    return found


def _data() -> ImageData:
    generator = torch.Generator().manual_seed(3)

    def split(number: int) -> Split:
        images = torch.rand(number, 3, 16, 16, generator=generator)
        return MemorySplit(images=images, labels=torch.arange(number) % 10)

    return ImageData(
        name="noise",
        train=split(20),
        validation=split(20),
        test=split(20),
        class_names=tuple("0123456789"),
        preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.3,) * 3),
    )


def _hand_over(
    device: Any, network: Architecture, folder: Path, final: TrainSettings | None = None
) -> Handover:
    stage = LastStage(
        data=_data(),
        device=device,
        training=FullTraining(
            settings=final or TrainSettings(epochs=1, batch_size=10), seed=0, begins_anew=True
        ),
        measure=MeasureSettings(),
    )
    return stage.hand_over(network, None, Folder(folder), Terminal())


@contextmanager
def _failing(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, failure: BaseException
) -> Iterator[None]:
    def fail(*_: object, **__: object) -> None:
        raise failure

    with monkeypatch.context() as failing:
        failing.setattr(owner, name, fail)
        yield


def test_a_network_is_trained_once_however_often_measuring_fails(
    network: Architecture,
    trainings: list[TrainSettings],
    make_device: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = make_device()

    with _failing(monkeypatch, device, "measure", DeviceError("the phone is off")):
        for _ in range(2):
            with pytest.raises(DeviceError, match="the phone is off"):
                _hand_over(device, network, tmp_path)
    content = (tmp_path / "best.onnx").read_bytes()
    assert Architecture.from_yaml(tmp_path / "best.yaml") == network

    found = _hand_over(device, network, tmp_path)
    assert len(trainings) == found.tests == 1
    assert found.measured.latency_ms == 1.0
    assert (tmp_path / "best.onnx").read_bytes() == content
    assert len(device.asked) == 1
    onnx.checker.check_model(onnx.load_from_string(content))
    said = read_metadata(content)
    assert (said["name"], said["data"], said["precision"]) == ("small_7", "noise", "fp32")
    assert said["classes"] == list("0123456789")
    assert (said["preprocessing"]["mean"], said["preprocessing"]["std"]) == ([0.5] * 3, [0.3] * 3)
    assert said["preprocessing"]["resolution"] == network.resolution
    assert said["accuracy"] == {
        "validation": found.validation_accuracy,
        "test": found.test_accuracy,
    }
    # What it says of itself is no reason to measure it again.
    (tmp_path / "best.onnx").write_bytes(with_metadata(content, said | {"name": "renamed"}))
    assert _hand_over(device, network, tmp_path) == found
    assert device.asked[1:] == [set()]


def test_what_is_trained_otherwise_is_another_file_with_its_own_measurement(
    network: Architecture,
    trainings: list[TrainSettings],
    make_device: Callable[..., Any],
    tmp_path: Path,
) -> None:
    device, longer = make_device(), TrainSettings(epochs=2, batch_size=10)
    first = _hand_over(device, network, tmp_path)
    second = _hand_over(device, network, tmp_path, longer)
    assert [settings.epochs for settings in trainings] == [1, 2]
    assert (first.tests, second.tests) == (1, 2)
    assert len({*device.asked[0], *device.asked[1]}) == 2
    assert _hand_over(device, network, tmp_path, longer) == second
    assert len(trainings) == 2

    (tmp_path / "best.onnx").unlink()
    assert _hand_over(device, network, tmp_path, longer) == second
    assert len(trainings) == 2
    (tmp_path / "best.pt").unlink()
    assert _hand_over(device, network, tmp_path, longer).tests == 3


@pytest.mark.parametrize("failure", [ExportError("the logits differ"), KeyboardInterrupt()])
def test_whatever_becomes_of_the_onnx_file_weights_and_test_stay(
    failure: BaseException,
    network: Architecture,
    trainings: list[TrainSettings],
    make_device: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    longer = TrainSettings(epochs=2, batch_size=10)
    whole = _hand_over(make_device(), network, tmp_path / "whole", longer)
    _hand_over(make_device(), network, tmp_path / "parts")
    trainings.clear()

    with _failing(monkeypatch, handover, "export_onnx", failure):
        for _ in range(2):
            with pytest.raises(type(failure)):
                _hand_over(make_device(), network, tmp_path / "parts", longer)
    one, other = (load_weights(tmp_path / name / "best.pt") for name in ("whole", "parts"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert Architecture.from_yaml(tmp_path / "parts" / "best.yaml") == network
    assert not (tmp_path / "parts" / "best.onnx").exists(), "it is of other weights"

    found = _hand_over(make_device(), network, tmp_path / "parts", longer)
    assert (found.tests, len(trainings)) == (2, 1)
    assert (found.test_accuracy, found.logit_difference) == (
        whole.test_accuracy,
        whole.logit_difference,
    )
    assert len(json.loads((tmp_path / "parts" / "tests.json").read_text())) == 2
    files = [(tmp_path / name / "best.onnx").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]


def test_weights_are_there_before_the_test_part_is_looked_at(
    network: Architecture,
    make_device: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(model: torch.nn.Module, *_: Any, **__: Any) -> float:
        saved = load_weights(tmp_path / "best.pt")
        assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(handover, "evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            _hand_over(make_device(), network, tmp_path)
    assert _hand_over(make_device(), network, tmp_path).tests == 1


def test_training_that_was_stopped_goes_on(
    network: Architecture,
    make_device: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    final = TrainSettings(epochs=3, batch_size=10)
    whole = _hand_over(make_device(), network, tmp_path / "whole", final)
    evaluate, steps = full.evaluate, []

    def stop(*_: Any, **__: Any) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(full, "evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            _hand_over(make_device(), network, tmp_path / "parts", final)
    assert (tmp_path / "parts" / "checkpoint.pt").exists()
    monkeypatch.setattr(
        "nas.training.learner.Learner.loss_of", lambda *_: steps.append(1)
    )  # nothing is left to be learnt
    found = _hand_over(make_device(), network, tmp_path / "parts", final)
    assert (steps, found.validation_accuracy) == ([], whole.validation_accuracy)
    assert full.evaluate is evaluate
    one, other = (tmp_path / name / "best.pt" for name in ("whole", "parts"))
    weights = load_weights(other)
    assert all(torch.equal(value, weights[name]) for name, value in load_weights(one).items())
    assert not (tmp_path / "parts" / "checkpoint.pt").exists()
