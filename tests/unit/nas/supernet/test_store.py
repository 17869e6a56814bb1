"""The weight store: what it holds, what a network's part of it is, and that it is shared."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nas.supernet.layers import Layer, layers_of, reachable_layers
from nas.supernet.store import WeightStore, slice_part
from search_spaces import build_model
from search_spaces.blocks import InvertedResidual, ShuffleV1Unit, ShuffleV2Unit
from search_spaces.spaces import Choice, SearchSpace

RandomChoices = Callable[[SearchSpace, int], list[dict[str, Choice]]]


@pytest.fixture(scope="module")
def store(any_space: SearchSpace) -> WeightStore:
    return WeightStore.initial(reachable_layers(any_space), seed=0)


def test_layers_are_the_blocks_of_the_network(
    any_space: SearchSpace, random_choices: RandomChoices
) -> None:
    for choices in random_choices(any_space, 10):
        walked = [(block, shape.channels) for block, shape in any_space.build(choices).walk()]
        layers = layers_of(any_space, choices)
        assert [(layer.block, layer.in_channels) for layer in layers] == walked
        assert len({layer.place for layer in layers}) == len(layers)


def test_every_layer_of_every_network_is_reachable(
    any_space: SearchSpace, random_choices: RandomChoices
) -> None:
    reachable = set(reachable_layers(any_space))
    for choices in random_choices(any_space, 30):
        assert reachable.issuperset(layers_of(any_space, choices))


def test_a_network_is_filled_to_the_last_parameter(
    any_space: SearchSpace, store: WeightStore, random_choices: RandomChoices
) -> None:
    for choices in random_choices(any_space, 5):
        network = any_space.build(choices)
        model = build_model(network)
        for parameter in model.parameters():
            nn.init.constant_(parameter, float("nan"))
        store.fill(model, layers_of(any_space, choices))
        state = model.state_dict()
        assert all(torch.isfinite(value).all() for value in state.values())
        build_model(network).load_state_dict(state, strict=True)


def test_every_weight_is_as_large_as_some_network_needs_it(elastic_space: SearchSpace) -> None:
    store = WeightStore.initial(reachable_layers(elastic_space), seed=0)
    shapes = {key: tuple(tensor.shape) for key, tensor in store.tensors.items()}
    # Stage 1 is 4 or 8 wide behind a stem of 4, and is expanded by 2 at most; its kernels are 7 at
    # most. Stage 2 is 6 or 12 wide; where stage 1 is empty it reads the stem.
    first = "stages.stage1.0.InvertedResidual"
    assert shapes["stem.0.ConvNormAct.unit.conv.weight"] == (4, 3, 3, 3)
    assert shapes[f"{first}.expand.conv.weight"] == (8, 4, 1, 1)
    assert shapes[f"{first}.expand.norm.bias"] == (8,)
    assert shapes[f"{first}.depthwise.conv.weight"] == (8, 1, 7, 7)
    assert shapes[f"{first}.squeeze_excite.reduce.weight"] == (4, 8, 1, 1)
    assert shapes[f"{first}.squeeze_excite.reduce.bias"] == (4,)
    assert shapes[f"{first}.project.conv.weight"] == (8, 8, 1, 1)
    assert shapes["stages.stage1.1.InvertedResidual.expand.conv.weight"] == (16, 8, 1, 1)
    assert shapes["stages.stage2.0.InvertedResidual.expand.conv.weight"] == (16, 8, 1, 1)
    assert shapes["stages.stage2.1.InvertedResidual.depthwise.conv.weight"] == (24, 1, 7, 7)
    assert shapes["head.0.ClassifierHead.hidden.weight"] == (5, 12)
    assert shapes["head.0.ClassifierHead.classifier.weight"] == (3, 5)
    assert not [key for key in shapes if ".stage1.2." in key]


def test_kinds_of_blocks_in_one_place_have_weights_of_their_own() -> None:
    kinds = {key.split(".")[3] for key in _shuffle_keys() if key.startswith("stages.stage1.1.")}
    assert kinds == {"ShuffleV1Unit", "ShuffleV2Unit"}


def _shuffle_keys() -> list[str]:
    layers = [
        Layer(
            "stages.stage1.1",
            ShuffleV1Unit(bottleneck_channels=4, out_channels=8, groups=2, input_groups=2),
            8,
        ),
        Layer("stages.stage1.1", ShuffleV2Unit(branch_channels=4, out_channels=8), 8),
    ]
    return list(WeightStore.initial(layers, seed=0).tensors)


@pytest.mark.parametrize(
    ("whole", "part"), [((7, 7), slice(2, 5)), ((5, 5), slice(1, 4)), ((3, 3), slice(0, 3))]
)
def test_a_small_kernel_is_the_middle_of_a_large_one(whole: tuple[int, int], part: slice) -> None:
    kernels = torch.randn(6, 4, *whole)
    assert torch.equal(slice_part(kernels, (2, 3, 3, 3)), kernels[:2, :3, part, part])


def test_matrices_and_vectors_begin_at_the_first_channel() -> None:
    matrix, vector = torch.randn(6, 4), torch.randn(6)
    assert torch.equal(slice_part(matrix, (2, 3)), matrix[:2, :3])
    assert torch.equal(slice_part(vector, (2,)), vector[:2])


def test_networks_share_what_they_have_in_common() -> None:
    wide = Layer("here", InvertedResidual(expanded_channels=8, out_channels=6, kernel=5), 4)
    narrow = Layer("here", InvertedResidual(expanded_channels=4, out_channels=2, kernel=3), 4)
    store = WeightStore.initial([narrow, wide], seed=0)
    store.parts(wide)["depthwise.conv.weight"][:, :, 2, 2] = 7.0
    assert (store.parts(narrow)["depthwise.conv.weight"][:, :, 1, 1] == 7.0).all()
    elsewhere = Layer("there", wide.block, 4)
    with pytest.raises(KeyError):
        store.parts(elsewhere)


def test_fresh_weights_are_he_initialised_by_fan_out(elastic_space: SearchSpace) -> None:
    store = WeightStore.initial(reachable_layers(elastic_space), seed=0)
    standardised = []
    for key, tensor in store.tensors.items():
        if tensor.dim() == 4:
            fan_out = tensor.shape[0] * tensor.shape[2] * tensor.shape[3]
            standardised.append(tensor.flatten() * (fan_out / 2) ** 0.5)
        elif tensor.dim() == 2:
            standardised.append(tensor.flatten() / 0.01)
        else:
            assert (tensor == float(key.endswith("norm.weight"))).all(), key
    values = torch.cat(standardised)
    assert len(values) > 5000
    assert values.mean().item() == pytest.approx(0, abs=0.05)
    assert values.std().item() == pytest.approx(1, abs=0.05)


def test_the_seed_decides_the_weights(elastic_space: SearchSpace) -> None:
    layers = list(reachable_layers(elastic_space))
    first, second, other = (WeightStore.initial(layers, seed=seed) for seed in (0, 0, 1))
    for key, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[key])
        assert tensor.dim() == 1 or not torch.equal(tensor, other.tensors[key])
