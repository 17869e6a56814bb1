"""What is read off a pruned module is that module: its widths, its weights, its logits."""

import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.library_pruning import Scope, architecture_of, pruning_path, with_plain_layers
from search_spaces import Architecture, build_model, count_costs, load_seed
from search_spaces.blocks import InvertedResidual
from search_spaces.torch_model import Network


def _trained(name: str) -> Network:
    """With batch norms that are not those of a fresh network."""
    model = build_model(load_seed(name, resolution=64).with_num_classes(10))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return model.eval()


def test_plain_layers_compute_the_same() -> None:
    model, images = _trained("mobilenet_v3_small"), torch.randn(2, 3, 64, 64)
    plain = with_plain_layers(model)
    assert {type(m) for m in plain.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}
    with torch.no_grad():
        torch.testing.assert_close(plain(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"])
def test_widths_are_read_off_whatever_was_narrowed(name: str) -> None:
    seed = load_seed(name, resolution=64)
    narrow = load_seed(name, 0.5, 64)
    assert architecture_of(build_model(narrow), seed) == replace(narrow, name=seed.name)


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("name", ["mobilenet_v2", "mnasnet_a1", "mobilenet_v3_small"])
def test_pruned_networks_are_the_librarys(
    name: str, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = _trained(name), torch.randn(2, 3, 64, 64)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    left: list[Any] = []

    def reading(pruned: Any, architecture: Architecture) -> Architecture:
        with torch.no_grad():
            left.append(pruned(images))
        return architecture_of(pruned, architecture)

    monkeypatch.setattr("benchmarks.library_pruning.architecture_of", reading)
    path = list(pruning_path(model, scope, most=0.6, steps=3))
    assert len(path) == 3
    for each, logits in zip(path, left, strict=True):
        ours = build_model(each.architecture)
        ours.load_state_dict(each.weights)
        with torch.no_grad():
            torch.testing.assert_close(ours.eval()(images), logits, rtol=1e-4, atol=1e-5)
    madds = [count_costs(each.architecture).madds for each in path]
    assert count_costs(model.architecture).madds > madds[0] > madds[1] > madds[2]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_pruned_widths_are_multiples_of_eight() -> None:
    (pruned,) = pruning_path(_trained("mobilenet_v2"), Scope.UNIFORM, most=0.4, steps=1)
    widths = [
        width
        for block in pruned.architecture.blocks
        if isinstance(block, InvertedResidual)
        for width in (block.expanded_channels, block.out_channels)
    ]
    assert widths
    assert all(width % 8 == 0 for width in widths)


def test_the_bottleneck_of_a_gate_is_read() -> None:
    seed = load_seed("mobilenet_v3_small", resolution=64)
    index, block = next(
        (index, block)
        for index, block in enumerate(seed.blocks)
        if isinstance(block, InvertedResidual) and block.squeeze_excite is not None
    )
    model: Any = build_model(seed)
    model.blocks[index].squeeze_excite.reduce = nn.Conv2d(block.expanded_channels, 3, 1)
    found = architecture_of(model, seed).blocks[index]
    assert isinstance(found, InvertedResidual)
    assert found.squeeze_excite is not None
    assert found.squeeze_excite.channels == 3


def test_a_block_that_is_not_read_is_refused() -> None:
    seed = load_seed("shufflenet_v2_x0_5", resolution=64)
    with pytest.raises(ValueError, match="has a ShuffleV2Unit, whose widths are not read"):
        architecture_of(build_model(seed), seed)


def test_without_the_library_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ValueError, match=r"torch-pruning must be installed.* --no-library"):
        next(iter(pruning_path(_trained("mobilenet_v3_small"), Scope.UNIFORM)))
