"""The supernet as an evaluator: trained once, by whoever comes first, and found by all others."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.data import MemorySplit, SearchData, Split
from nas.evaluators import SupernetEvaluator
from nas.supernet import SupernetSettings
from nas.supernet.sampling import largest_choices
from nas.training import TrainSettings
from search_spaces import build_model
from search_spaces.spaces import SearchSpace

SETTINGS = SupernetSettings(
    train=TrainSettings(epochs=3, batch_size=8, learning_rate=0.05),
    samples=1,
    recalibration_batches=2,
    checkpoint_s=0.0,
)


class _Monitor:
    wants_accuracy = True

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self._stop_at = stop_at

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))
        if done == self._stop_at:
            raise KeyboardInterrupt

    def accuracy(self, epoch: int, accuracy: float) -> None:
        raise AssertionError("it has no epochs")


def _split(number: int, seed: int) -> Split:
    images = torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return MemorySplit(images=images, labels=torch.arange(number) % 2)


DATA = SearchData(train=_split(24, 1), validation=_split(20, 2), num_classes=2)


def _evaluator(
    space: SearchSpace, folder: Path, settings: SupernetSettings = SETTINGS
) -> SupernetEvaluator:
    return SupernetEvaluator(
        data=DATA, seed=0, space=space, folder=folder, resolution=8, settings=settings
    )


@pytest.fixture
def space(small_space: SearchSpace) -> SearchSpace:
    return replace(small_space, head=(replace(small_space.head[-1], num_classes=2),))


def test_it_is_trained_once(space: SearchSpace, tmp_path: Path) -> None:
    first, second = _Monitor(), _Monitor()
    _evaluator(space, tmp_path).prepare(first)
    assert first.steps == [(step, 9) for step in range(1, 10)]
    _evaluator(space, tmp_path).prepare(second)
    assert second.steps == []


def test_training_that_was_stopped_goes_on_and_ends_alike(
    space: SearchSpace, tmp_path: Path
) -> None:
    straight, halved, rest = tmp_path / "straight", tmp_path / "halved", _Monitor()
    _evaluator(space, straight).prepare(_Monitor())
    with pytest.raises(KeyboardInterrupt):
        _evaluator(space, halved).prepare(_Monitor(stop_at=6))
    _evaluator(space, halved).prepare(rest)
    assert rest.steps == [(6, 9), (7, 9), (8, 9), (9, 9)]
    files = [folder / "supernet.pt" for folder in (straight, halved)]
    first, second = (torch.load(file, weights_only=True) for file in files)
    assert first["training"] is second["training"] is None
    assert first["tensors"].keys() == second["tensors"].keys()
    for key, tensor in first["tensors"].items():
        assert torch.equal(tensor, second["tensors"][key]), key


def test_others_find_what_one_has_prepared(space: SearchSpace, tmp_path: Path) -> None:
    network, choices = space.build(space.base_choices), space.base_choices
    preparing, waiting = (_evaluator(space, tmp_path) for _ in range(2))
    preparing.prepare(_Monitor())
    found = waiting.evaluate(network, choices, _Monitor())
    assert found == preparing.evaluate(network, choices, _Monitor())


def test_without_training_there_is_no_accuracy(space: SearchSpace, tmp_path: Path) -> None:
    network, choices = space.build(space.base_choices), space.base_choices
    with pytest.raises(ValueError, match=r"supernet.pt is not there; prepare\(\) trains it"):
        _evaluator(space, tmp_path).evaluate(network, choices, _Monitor())
    with pytest.raises(KeyboardInterrupt):
        _evaluator(space, tmp_path).prepare(_Monitor(stop_at=6))
    with pytest.raises(ValueError, match=r"supernet\.pt is not trained to the end"):
        _evaluator(space, tmp_path).weights(network)


def test_a_supernet_of_other_settings_is_refused(space: SearchSpace, tmp_path: Path) -> None:
    _evaluator(space, tmp_path).prepare(_Monitor())
    longer = replace(SETTINGS, train=replace(SETTINGS.train, epochs=4))
    message = r"another settings.train.epochs \(3, but now it is 4\)"
    with pytest.raises(ValueError, match=message):
        _evaluator(space, tmp_path, longer).prepare(_Monitor())


def test_a_network_of_another_space_is_refused(
    space: SearchSpace, wider_space: SearchSpace, tmp_path: Path
) -> None:
    evaluator = _evaluator(space, tmp_path)
    evaluator.prepare(_Monitor())
    stranger = wider_space.build(largest_choices(wider_space)).with_num_classes(2)
    with pytest.raises(ValueError, match="is not in small: no choice makes"):
        evaluator.evaluate(stranger, wider_space.base_choices, _Monitor())
    more_classes = space.build(space.base_choices).with_num_classes(3)
    with pytest.raises(ValueError, match="has 3 classes, but the networks of small have 2"):
        evaluator.weights(more_classes)


def test_steps_are_batches_counted_on_and_validated(space: SearchSpace, tmp_path: Path) -> None:
    evaluator, monitor = _evaluator(space, tmp_path), _Monitor()
    evaluator.prepare(_Monitor())
    evaluator.evaluate(space.build(space.base_choices), space.base_choices, monitor)
    # Two batches of 8 to count on, and 20 images at 32 a batch.
    assert monitor.steps == [(1, 3), (2, 3), (3, 3)]


def test_networks_of_smaller_images_are_trained_and_scored_at_smaller_ones(
    space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[int] = set()
    images_at = MemorySplit.images_at

    def recorded(split: Split, chosen: torch.Tensor, resolution: int) -> torch.Tensor:
        sizes.add(resolution)
        return images_at(split, chosen, resolution)

    monkeypatch.setattr(MemorySplit, "images_at", recorded)
    several = space.with_resolutions((32, 16, 24))
    evaluator = _evaluator(several, tmp_path)
    evaluator.prepare(_Monitor())
    assert sizes == {8, 6, 4}
    for resolution, size in ((32, 8), (24, 6), (16, 4)):
        sizes.clear()
        choices = {**several.base_choices, "resolution": resolution}
        evaluator.evaluate(several.build(choices), choices, _Monitor())
        assert sizes == {size}


def test_the_winner_inherits_trained_weights(space: SearchSpace, tmp_path: Path) -> None:
    evaluator, network = _evaluator(space, tmp_path), space.build(space.base_choices)
    evaluator.prepare(_Monitor())
    state = evaluator.weights(network)
    model = build_model(network)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state, strict=True)
    assert all(
        not torch.equal(value, fresh[name]) for name, value in state.items() if value.dim() == 4
    )
    # They are its own: training the winner leaves the supernet as it was.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for value in state.values():
            value.zero_()
    again = evaluator.weights(network)
    assert all(again[name].abs().sum() > 0 for name in state if name.endswith("conv.weight"))
