"""What every evaluator must do, whatever it scores networks by."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest
import torch
from scipy.stats import beta

from nas.data import MemorySplit, SearchData, Split
from nas.evaluators import (
    Evaluator,
    GivesWeights,
    NeedsPreparation,
    ProxyEvaluator,
    ScoresAtOnce,
    StoppedEarly,
    SupernetEvaluator,
)
from nas.supernet import SupernetSettings
from nas.training import TrainSettings, evaluate
from nas.training.meter import DivergenceError
from search_spaces import build_model
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct, InvertedResidual
from search_spaces.spaces import Choices, SearchSpace, Stage

TRAIN = TrainSettings(epochs=10, batch_size=16, learning_rate=0.1)


@dataclass(slots=True)
class Listener:
    """Hears all, and ends an evaluation after ``patience`` accuracies."""

    wants_accuracy: bool = False
    patience: int | None = None
    steps: list[tuple[int, int]] = field(default_factory=list)
    accuracies: list[tuple[int, float]] = field(default_factory=list)

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def accuracy(self, epoch: int, accuracy: float) -> None:
        self.accuracies.append((epoch, accuracy))
        if len(self.accuracies) == self.patience:
            raise StoppedEarly


def _proxy(data: SearchData, space: SearchSpace, folder: Path) -> Evaluator:
    return ProxyEvaluator(data=data, seed=0, resolution=8, settings=TRAIN)


def _supernet(data: SearchData, space: SearchSpace, folder: Path) -> Evaluator:
    evaluator = SupernetEvaluator(
        data=data,
        seed=0,
        space=space,
        folder=folder,
        resolution=8,
        settings=SupernetSettings(train=TRAIN, samples=1),
    )
    assert isinstance(evaluator, NeedsPreparation)
    assert isinstance(evaluator, GivesWeights)
    return evaluator


MakeEvaluator = Callable[..., Evaluator]
EVALUATORS: dict[str, MakeEvaluator] = {"proxy": _proxy, "supernet": _supernet}


def _layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    block = InvertedResidual(
        expanded_channels=8 * int(values["expansion"]), out_channels=8, kernel=int(values["kernel"])
    )
    return (block,)


def _space(resolution: int = 32) -> SearchSpace:
    stage = Stage(
        name="stage1",
        options={"kernel": (3, 5), "expansion": (1, 2)},
        base={"kernel": 3, "expansion": 2},
        layers=_layers,
    )
    return SearchSpace(
        name="tiny",
        stem=(ConvNormAct(out_channels=8, kernel=3, stride=2),),
        stages=(stage,),
        head=(ClassifierHead(num_classes=2),),
        resolution=resolution,
    )


SPACE = _space()
CHOICES: Choices = SPACE.base_choices
OTHER: Choices = {"stage1.kernel": 5, "stage1.expansion": 1}


def _split(number: int, seed: int) -> Split:
    """Class 1 is brighter."""
    labels = torch.arange(number) % 2
    noise = torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return MemorySplit(images=noise + labels.view(-1, 1, 1, 1).float(), labels=labels)


def _swapped(split: Split) -> Split:
    return MemorySplit(images=split.images, labels=1 - split.labels)


DATA = SearchData(train=_split(64, seed=1), validation=_split(33, seed=2), num_classes=2)
HARD = replace(DATA, train=_split(16, seed=3))


@dataclass(frozen=True, slots=True)
class Ready:
    """An evaluator that has done what it must before the first network."""

    evaluator: Evaluator
    space: SearchSpace

    def accuracy(self, choices: Choices = CHOICES, listener: Listener | None = None) -> float:
        network = self.space.build(choices)
        found = self.evaluator.evaluate(network, choices, listener or Listener())
        assert found.of_network
        return found.accuracy


def _ready(
    make: MakeEvaluator, folder: Path, data: SearchData = DATA, space: SearchSpace = SPACE
) -> Ready:
    evaluator = make(data, space, folder)
    if isinstance(evaluator, NeedsPreparation):
        evaluator.prepare(Listener())
    return Ready(evaluator, space)


GetReady = Callable[..., Ready]


@pytest.fixture(params=EVALUATORS.values(), ids=EVALUATORS)
def ready(request: pytest.FixtureRequest, tmp_path: Path) -> GetReady:
    folders = (tmp_path / str(number) for number in count())
    return lambda *args, **kwargs: _ready(request.param, next(folders), *args, **kwargs)


class TestEvaluator:
    def test_what_can_be_learnt_is_found(self, ready: GetReady) -> None:
        assert 0.9 < ready().accuracy() <= 1

    def test_accuracy_is_that_of_the_validation_part(self, ready: GetReady) -> None:
        data = replace(DATA, validation=_swapped(DATA.validation))
        told, swapped = ready(DATA).accuracy(), ready(data).accuracy()
        assert 0 <= swapped < 0.1
        assert told + swapped == pytest.approx(1)
        assert (33 * told) % 1 == pytest.approx(0, abs=1e-9)

    def test_the_standard_error_is_that_of_a_share_of_the_validation_part(
        self, ready: GetReady
    ) -> None:
        given = ready(HARD)
        found = given.evaluator.evaluate(SPACE.build(CHOICES), CHOICES, Listener())
        right = round(33 * found.accuracy)
        spread = beta(right + 1, 33 - right + 1).std()
        assert found.standard_error == pytest.approx(spread, rel=1e-9)

    def test_training_looks_at_the_training_part(self, ready: GetReady) -> None:
        data = replace(DATA, train=_swapped(DATA.train))
        assert ready(data).accuracy() < 0.1

    def test_what_was_evaluated_before_does_not_matter(self, ready: GetReady) -> None:
        evaluator = ready(HARD)
        alone = evaluator.accuracy()
        torch.randn(5)
        evaluator.accuracy(OTHER)
        assert evaluator.accuracy() == alone
        assert ready(HARD).accuracy() == alone

    def test_the_deployed_image_size_does_not_matter(self, ready: GetReady) -> None:
        at_64 = ready(HARD, space=_space(resolution=64))
        assert ready(HARD).accuracy() == at_64.accuracy()

    def test_steps_are_counted_to_the_end(self, ready: GetReady) -> None:
        listener = Listener()
        ready().accuracy(listener=listener)
        (total,) = {total for _, total in listener.steps}
        assert total >= 1
        assert [done for done, _ in listener.steps] == list(range(1, total + 1))

    def test_the_data_stay_as_they_were(self, ready: GetReady) -> None:
        before = DATA.train.images.clone(), DATA.validation.images.clone()
        ready().accuracy()
        assert torch.equal(DATA.train.images, before[0])
        assert torch.equal(DATA.validation.images, before[1])

    def test_a_network_that_cannot_be_trained_diverges(self, ready: GetReady) -> None:
        poisoned = MemorySplit(images=DATA.train.images * float("inf"), labels=DATA.train.labels)
        with pytest.raises(DivergenceError, match="the loss is nan at step 0 of"):
            ready(replace(DATA, train=poisoned)).accuracy()

    def test_accuracies_on_the_way_are_for_those_who_want_them(self, ready: GetReady) -> None:
        evaluator, deaf, eager = ready(HARD), Listener(), Listener(wants_accuracy=True)
        assert evaluator.accuracy(listener=deaf) == evaluator.accuracy(listener=eager)
        assert deaf.accuracies == []
        assert [epoch for epoch, _ in eager.accuracies] == list(range(1, 1 + len(eager.accuracies)))
        assert deaf.steps == eager.steps
        assert isinstance(evaluator.evaluator, ScoresAtOnce) == (not eager.accuracies)

    def test_who_listens_may_end_it(self, ready: GetReady) -> None:
        evaluator, eager = ready(HARD), Listener(wants_accuracy=True)
        evaluator.accuracy(listener=eager)
        for patience in range(1, 1 + len(eager.accuracies)):
            listener = Listener(wants_accuracy=True, patience=patience)
            with pytest.raises(StoppedEarly):
                evaluator.accuracy(listener=listener)
            assert listener.accuracies == eager.accuracies[:patience]

    def test_weights_are_those_of_the_accuracy(self, ready: GetReady) -> None:
        given = ready(HARD)
        if not isinstance(given.evaluator, GivesWeights):
            pytest.skip("it gives none")
        for choices in (CHOICES, OTHER):
            network = SPACE.build(choices)
            model = build_model(network)
            model.load_state_dict(given.evaluator.weights(network))
            found = evaluate(
                model, HARD.validation, resolution=8, batch_size=7, on_step=lambda *_: None
            )
            assert found == given.accuracy(choices)


class TestProxyEvaluator:
    def test_epochs_are_of_whole_batches(self) -> None:
        listener = Listener()
        settings = TrainSettings(epochs=3, batch_size=30, learning_rate=0.1)
        evaluator = ProxyEvaluator(data=DATA, seed=0, resolution=8, settings=settings)
        evaluator.evaluate(SPACE.build(CHOICES), CHOICES, listener)
        # 64 images are two batches of 30.
        assert listener.steps == [(step, 6) for step in range(1, 7)]

    def test_there_is_an_accuracy_after_every_epoch_but_the_last(self) -> None:
        eager, settings = Listener(wants_accuracy=True), replace(TRAIN, epochs=4)
        evaluator = ProxyEvaluator(data=DATA, seed=0, resolution=8, settings=settings)
        evaluator.evaluate(SPACE.build(CHOICES), CHOICES, eager)
        assert [epoch for epoch, _ in eager.accuracies] == [1, 2, 3]

    def test_smaller_networks_are_trained_at_smaller_images(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: set[int] = set()
        images_at = MemorySplit.images_at

        def recorded(split: Split, chosen: torch.Tensor, resolution: int) -> torch.Tensor:
            sizes.add(resolution)
            return images_at(split, chosen, resolution)

        monkeypatch.setattr(MemorySplit, "images_at", recorded)
        for full_resolution, deployed, size in ((None, 16, 8), (32, 32, 8), (32, 16, 4)):
            evaluator = ProxyEvaluator(
                data=DATA, seed=0, resolution=8, settings=TRAIN, full_resolution=full_resolution
            )
            sizes.clear()
            network = SPACE.build(CHOICES).with_resolution(deployed)
            evaluator.evaluate(network, CHOICES, Listener())
            assert sizes == {size}
