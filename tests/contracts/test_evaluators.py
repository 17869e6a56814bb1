"""What every evaluator must do, whatever it scores networks by."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from nas.data import SearchData, Split
from nas.evaluators import Evaluator, ProxyEvaluator
from nas.training import TrainSettings
from nas.training.loop import DivergenceError
from search_spaces import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct, InvertedResidual

MakeEvaluator = Callable[..., Evaluator]


def _proxy(data: SearchData, seed: int = 0, learning_rate: float = 0.1) -> Evaluator:
    settings = TrainSettings(epochs=10, batch_size=16, learning_rate=learning_rate)
    return ProxyEvaluator(data=data, seed=seed, resolution=8, settings=settings)


EVALUATORS: dict[str, MakeEvaluator] = {"proxy": _proxy}

NETWORK = Architecture(
    name="tiny",
    blocks=(
        ConvNormAct(out_channels=8, kernel=3, stride=2),
        InvertedResidual(expanded_channels=16, out_channels=8, kernel=3),
        ClassifierHead(num_classes=2),
    ),
    resolution=32,
)
OTHER = replace(
    NETWORK, blocks=(ConvNormAct(out_channels=4, kernel=5, stride=2), ClassifierHead(num_classes=2))
)


def _split(number: int, seed: int) -> Split:
    """Class 1 is brighter."""
    labels = torch.arange(number) % 2
    noise = torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Split(images=noise + labels.view(-1, 1, 1, 1).float(), labels=labels)


def _swapped(split: Split) -> Split:
    return Split(images=split.images, labels=1 - split.labels)


DATA = SearchData(train=_split(64, seed=1), validation=_split(33, seed=2), num_classes=2)


@pytest.mark.parametrize("make", EVALUATORS.values(), ids=EVALUATORS)
class TestEvaluator:
    def test_what_can_be_learnt_is_found(self, make: MakeEvaluator) -> None:
        assert 0.9 < make(DATA).evaluate(NETWORK, lambda *_: None).accuracy <= 1

    def test_accuracy_is_that_of_the_validation_part(self, make: MakeEvaluator) -> None:
        data = replace(DATA, validation=_swapped(DATA.validation))
        told, swapped = (
            make(given).evaluate(NETWORK, lambda *_: None).accuracy for given in (DATA, data)
        )
        assert 0 <= swapped < 0.1
        assert told + swapped == pytest.approx(1)
        assert (33 * told) % 1 == pytest.approx(0, abs=1e-9)

    def test_training_looks_at_the_training_part(self, make: MakeEvaluator) -> None:
        data = replace(DATA, train=_swapped(DATA.train))
        assert make(data).evaluate(NETWORK, lambda *_: None).accuracy < 0.1

    def test_what_was_evaluated_before_does_not_matter(self, make: MakeEvaluator) -> None:
        hard = replace(DATA, train=_split(16, seed=3))
        evaluator = make(hard)
        alone = evaluator.evaluate(NETWORK, lambda *_: None)
        torch.randn(5)
        evaluator.evaluate(OTHER, lambda *_: None)
        assert evaluator.evaluate(NETWORK, lambda *_: None) == alone
        assert make(hard).evaluate(NETWORK, lambda *_: None) == alone

    def test_the_deployed_image_size_does_not_matter(self, make: MakeEvaluator) -> None:
        at_64 = make(DATA).evaluate(NETWORK.with_resolution(64), lambda *_: None)
        assert make(DATA).evaluate(NETWORK, lambda *_: None) == at_64

    def test_steps_are_counted_to_the_end(self, make: MakeEvaluator) -> None:
        steps: list[tuple[int, int]] = []
        make(DATA).evaluate(NETWORK, lambda done, total: steps.append((done, total)))
        (total,) = {total for _, total in steps}
        assert total >= 1
        assert [done for done, _ in steps] == list(range(1, total + 1))

    def test_the_data_stay_as_they_were(self, make: MakeEvaluator) -> None:
        before = DATA.train.images.clone(), DATA.validation.images.clone()
        make(DATA).evaluate(NETWORK, lambda *_: None)
        assert torch.equal(DATA.train.images, before[0])
        assert torch.equal(DATA.validation.images, before[1])

    def test_a_network_that_cannot_be_trained_diverges(self, make: MakeEvaluator) -> None:
        poisoned = Split(images=DATA.train.images * float("inf"), labels=DATA.train.labels)
        with pytest.raises(DivergenceError, match="the loss is nan at step 0 of"):
            make(replace(DATA, train=poisoned)).evaluate(NETWORK, lambda *_: None)


def test_proxy_training_counts_epochs_of_whole_batches() -> None:
    steps: list[tuple[int, int]] = []
    settings = TrainSettings(epochs=3, batch_size=30, learning_rate=0.1)
    evaluator = ProxyEvaluator(data=DATA, seed=0, resolution=8, settings=settings)
    evaluator.evaluate(NETWORK, lambda *step: steps.append(step))  # type: ignore[arg-type]
    # 64 images are two batches of 30.
    assert steps == [(step, 6) for step in range(1, 7)]
