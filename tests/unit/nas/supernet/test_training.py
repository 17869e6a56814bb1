"""Training a supernet, held to training its networks one by one with plain modules."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.data import MemorySplit, Split
from nas.supernet import SupernetSettings, WeightStore, training
from nas.supernet.layers import layers_of, reachable_layers
from nas.supernet.sampling import largest_choices, smallest_choices
from nas.supernet.training import SupernetTrainer, add_gradient, run_network
from nas.training import TrainSettings
from nas.training.meter import DivergenceError
from search_spaces import build_model
from search_spaces.spaces import Choices, SearchSpace

RandomChoices = Callable[[SearchSpace, int], list[Choices]]


def _settings(**changed: Any) -> SupernetSettings:
    own = {"samples": 2, "distillation": 1.0, "checkpoint_s": 0.0}
    own |= {name: changed.pop(name) for name in own if name in changed}
    train = {"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "warmup": 0.0} | changed
    return SupernetSettings(train=TrainSettings(**train), **own)


def _trainer(
    weights: WeightStore, space: SearchSpace, data: Split, settings: SupernetSettings
) -> SupernetTrainer:
    return SupernetTrainer(weights, space, data, settings, resolution=16, seed=0)


def _fresh(space: SearchSpace) -> WeightStore:
    return WeightStore.initial(reachable_layers(space), seed=0)


def _without_dropout(space: SearchSpace) -> SearchSpace:
    return replace(space, head=(*space.head[:-1], replace(space.head[-1], dropout=0.0)))


def _nobody(*_: object) -> None: ...


def test_a_network_of_the_store_computes_what_its_model_computes(
    any_space: SearchSpace, random_choices: RandomChoices
) -> None:
    space, images = _without_dropout(any_space), torch.randn(4, 3, 32, 32, dtype=torch.float64)
    # Maps of one pixel make norms of four values, in which rounding is blown up: double precision.
    weights = WeightStore({key: value.double() for key, value in _fresh(space).tensors.items()})
    for choices in (largest_choices(space), *random_choices(space, 2)):
        layers = layers_of(space, choices)
        logits, _ = run_network(weights, layers, images, space.norm_epsilon)
        model = build_model(space.build(choices)).double()
        weights.fill(model, layers)
        torch.testing.assert_close(logits, model(images), rtol=1e-6, atol=1e-6)


def _part(whole: Tensor, shape: torch.Size) -> Tensor:
    """First channels, middle of the kernel; said once more, by indexing."""
    indices = [slice(0, length) for length in shape[:2]]
    for size, length in zip(whole.shape[2:], shape[2:], strict=True):
        indices.append(slice(size // 2 - length // 2, size // 2 + length // 2 + 1))
    return whole[tuple(indices)]


def _gradients_one_by_one(
    weights: WeightStore, space: SearchSpace, data: Split, networks: list[Choices], share: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sums of gradients over networks trained as modules, and which weights they touched."""
    sums = {key: torch.zeros_like(tensor) for key, tensor in weights.tensors.items()}
    touched = {key: torch.zeros_like(tensor) for key, tensor in weights.tensors.items()}
    teacher: Tensor | None = None
    for choices in networks:
        layers = layers_of(space, choices)
        model = weights.network(space.build(choices), layers).train()
        logits = model(data.images)
        smoothed = 0.9 * functional.one_hot(data.labels, 3) + 0.1 / 3
        if teacher is None:
            teacher, targets = logits.detach().softmax(1), smoothed
        else:
            targets = share * teacher + (1 - share) * smoothed
        loss: Tensor = -(targets * logits.log_softmax(1)).sum(1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        for layer, module in zip(layers, model.blocks, strict=True):
            for path, parameter in module.named_parameters():
                key = f"{layer.place}.{type(layer.block).__name__}.{path}"
                assert parameter.grad is not None
                _part(sums[key], parameter.shape).add_(parameter.grad)
                _part(touched[key], parameter.shape).fill_(1)
    return sums, touched


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_step_sums_the_gradients_of_its_networks(
    elastic_space: SearchSpace, small_split: Split, share: float
) -> None:
    space, weights = _without_dropout(elastic_space), _fresh(elastic_space)
    before = {key: tensor.clone() for key, tensor in weights.tensors.items()}
    settings = _settings(
        epochs=1, batch_size=22, learning_rate=0.1, momentum=0.5, weight_decay=0.01,
        label_smoothing=0.1, distillation=share,
    )  # fmt: skip
    trainer = _trainer(weights, space, small_split, settings)
    networks = trainer.networks(0)
    assert networks[0] == largest_choices(space)
    assert networks[1] == smallest_choices(space)
    assert len(networks) == 4
    sums, touched = _gradients_one_by_one(weights, space, small_split, networks, share)
    trainer.run(_nobody, _nobody)
    for key, old in before.items():
        if not touched[key].any():
            assert torch.equal(weights.tensors[key], old), key
            continue
        decay = 0.01 if old.dim() > 1 else 0.0
        # Nesterov's first step is 1 + momentum times the gradient.
        expected = old - 0.1 * 1.5 * (sums[key] + decay * old)
        torch.testing.assert_close(weights.tensors[key], expected, rtol=1e-4, atol=1e-5)


def test_only_the_parts_of_its_networks_are_trained(
    elastic_space: SearchSpace, small_split: Split
) -> None:
    narrow = {
        f"{stage.name}.{option}": values[0]
        for stage in elastic_space.stages
        for option, values in stage.options.items()
    }
    narrow |= {"stage1.depth": 1, "stage2.depth": 1}
    space, weights = _only(elastic_space, narrow), _fresh(elastic_space)
    before = {key: tensor.clone() for key, tensor in weights.tensors.items()}
    settings = _settings(epochs=1, batch_size=22, weight_decay=0.0)
    _trainer(weights, space, small_split, settings).run(_nobody, _nobody)
    changed = {key: weights.tensors[key] != old for key, old in before.items()}
    layers = layers_of(space, narrow)
    model = build_model(space.build(narrow))
    for layer, module in zip(layers, model.blocks, strict=True):
        for path, parameter in module.named_parameters():
            own = _part(
                changed[f"{layer.place}.{type(layer.block).__name__}.{path}"], parameter.shape
            )
            assert own.any(), path
            own.fill_(False)
    assert not any(rest.any() for rest in changed.values())


def _only(space: SearchSpace, choices: Choices) -> SearchSpace:
    """The same places with a single network."""
    stages = []
    for stage in space.stages:
        values = {option: choices[f"{stage.name}.{option}"] for option in stage.options}
        options = {option: (value,) for option, value in values.items()}
        stages.append(replace(stage, options=options, base=values))
    return replace(space, stages=tuple(stages))


def test_gradients_of_parts_add_up_in_the_whole() -> None:
    whole = torch.zeros(4, 2, 5, 5)
    add_gradient(whole, torch.ones(2, 1, 3, 3))
    add_gradient(whole, torch.full((1, 2, 5, 5), 10.0))
    assert whole.grad is not None
    assert whole.grad[0, 0, 2, 2] == 11
    assert whole.grad[1, 0].sum() == 9
    assert whole.grad[0, 1].sum() == 250
    assert whole.grad[2:].abs().sum() == whole.grad[1, 1].abs().sum() == 0


def test_training_that_was_stopped_goes_on_bit_for_bit(
    elastic_space: SearchSpace, small_split: Split
) -> None:
    settings = _settings(epochs=4)  # 8 steps, 2 an epoch; dropout and all
    straight = _fresh(elastic_space)
    _trainer(straight, elastic_space, small_split, settings).run(_nobody, _nobody)
    for stop in (1, 3, 4, 7):
        kept: dict[str, Any] = {}
        weights = _fresh(elastic_space)
        trainer = _trainer(weights, elastic_space, small_split, settings)

        def save(kept: Any = kept, weights: Any = weights, trainer: Any = trainer) -> None:
            kept["tensors"] = {key: tensor.clone() for key, tensor in weights.tensors.items()}
            kept["state"] = torch.utils._pytree.tree_map(_copied, trainer.state())

        def stopped(done: int, total: int, stop: int = stop) -> None:
            assert total == 8
            if done == stop + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trainer.run(stopped, save)
        assert kept["state"]["step"] == stop
        torch.randn(3)
        resumed = WeightStore(kept["tensors"])
        again = _trainer(resumed, elastic_space, small_split, settings)
        again.load_state(kept["state"])
        steps: list[int] = []
        again.run(lambda done, _, steps=steps: steps.append(done), _nobody)  # type: ignore[misc]
        assert steps == list(range(stop + 1, 9))
        for key, tensor in straight.tensors.items():
            assert torch.equal(tensor, resumed.tensors[key]), key


def _copied(value: object) -> object:
    return value.clone() if isinstance(value, Tensor) else value


def test_it_is_saved_as_often_as_the_settings_say(
    elastic_space: SearchSpace, small_split: Split
) -> None:
    for seconds, expected in ((0.0, [1, 2, 3, 4, 5, 6]), (1e6, [6])):
        saved: list[int] = []
        settings = _settings(checkpoint_s=seconds)
        trainer = _trainer(_fresh(elastic_space), elastic_space, small_split, settings)
        trainer.run(_nobody, lambda trainer=trainer, saved=saved: saved.append(trainer.step))  # type: ignore[misc]
        assert saved == expected


def test_every_network_learns(elastic_space: SearchSpace, random_choices: RandomChoices) -> None:
    labels = torch.arange(48) % 3
    images = torch.randn(48, 3, 16, 16) + 2 * functional.one_hot(labels, 3).view(48, 3, 1, 1)
    data, space = MemorySplit(images=images, labels=labels), _without_dropout(elastic_space)
    weights = _fresh(space)
    settings = _settings(epochs=30, learning_rate=0.1, warmup=0.2)
    _trainer(weights, space, data, settings).run(_nobody, _nobody)
    for choices in random_choices(space, 8):
        model = weights.network(space.build(choices), layers_of(space, choices)).train()
        assert (model(images).argmax(1) == labels).float().mean() > 0.9


def test_a_loss_that_is_no_number_stops_training(
    elastic_space: SearchSpace, small_split: Split
) -> None:
    settings = _settings(epochs=100, learning_rate=900.0, weight_decay=1.0)
    trainer = _trainer(_fresh(elastic_space), elastic_space, small_split, settings)
    message = r"the loss is (nan|inf) at step \d+ of 200 of the supernet; lower .* \(it is 900.0\)"
    with pytest.raises(DivergenceError, match=message):
        trainer.run(_nobody, _nobody)


def test_fresh_models_are_no_part_of_the_store(elastic_space: SearchSpace) -> None:
    weights, layers = _fresh(elastic_space), layers_of(elastic_space, elastic_space.base_choices)
    model = weights.network(elastic_space.build(elastic_space.base_choices), layers)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    again = build_model(elastic_space.build(elastic_space.base_choices))
    weights.fill(again, layers)
    assert all(p.abs().sum() > 0 for p in again.parameters() if p.dim() > 1)


def test_a_step_is_all_on_the_device_of_the_weights(
    elastic_space: SearchSpace, small_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's ``meta``, whose tensors have no values, and refuse to meet those of a CPU."""
    monkeypatch.setattr(torch, "isfinite", lambda _: True)
    # A fused optimiser asks for values.
    monkeypatch.setattr(training, "build_optimizer", lambda groups, _: torch.optim.SGD(groups))
    weights = _fresh(elastic_space).to(torch.device("meta"))
    _trainer(weights, elastic_space, small_split, _settings()).train_on(torch.arange(8))
    network = elastic_space.build(elastic_space.base_choices)
    model = weights.network(network, layers_of(elastic_space, elastic_space.base_choices))
    found = [*weights.tensors.values(), *model.state_dict().values()]
    assert {tensor.device.type for tensor in found} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_learns_what_a_cpu_does(elastic_space: SearchSpace, small_split: Split) -> None:
    space = _without_dropout(elastic_space)
    found = []
    for device in ("cpu", "cuda"):
        weights = _fresh(space).to(torch.device(device))
        _trainer(weights, space, small_split, _settings()).train_on(torch.arange(8))
        found.append({key: tensor.cpu() for key, tensor in weights.tensors.items()})
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)
