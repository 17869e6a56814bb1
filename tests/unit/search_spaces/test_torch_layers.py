"""The layers against torch's own: equal values and gradients, and gradients in channels last."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.torch_layers import Convolution, GlobalAveragePool, channel_shuffle, convolve


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def _channels_last(n: int, channels: int, height: int, width: int) -> Tensor:
    return _random(n, height, width, channels).detach().permute(0, 3, 1, 2).requires_grad_()


def _assert_equal_with_gradients(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    upstream = torch.randn_like(theirs)
    own, given = (torch.autograd.grad(out, inputs, upstream) for out in (ours, theirs))
    for mine, expected in zip(own, given, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 3), (6, 7), (9, 1), (1, 2)])
def test_a_convolution_is_torchs_on_maps_of_every_size(
    height: int, width: int, kernel: int, stride: int, groups: int, has_bias: bool
) -> None:
    x = _channels_last(3, 6, height, width)
    weight = _random(6, 6 // groups, kernel, kernel)
    bias = _random(6) if has_bias else None
    expected = functional.conv2d(x, weight, bias, stride, kernel // 2, groups=groups)
    inputs = [x, weight] if bias is None else [x, weight, bias]
    _assert_equal_with_gradients(convolve(x, weight, bias, stride, groups), expected, inputs)


@pytest.mark.parametrize("size", [1, 4])
def test_channels_can_be_multiplied_depth_by_depth(size: int) -> None:
    x, weight = _channels_last(2, 4, size, size), _random(8, 1, 3, 3)
    expected = functional.conv2d(x, weight, None, 1, 1, groups=4)
    _assert_equal_with_gradients(convolve(x, weight, None, 1, 4), expected, [x, weight])


@pytest.mark.parametrize("size", [1, 4])
def test_the_module_is_a_torch_convolution_to_others(size: int) -> None:
    module = Convolution(4, 6, kernel=3, stride=2, groups=2, bias=True)
    torchs = nn.Conv2d(4, 6, 3, 2, 1, groups=2)
    torchs.load_state_dict(module.state_dict())
    assert isinstance(module, nn.Conv2d)
    x = torch.randn(2, 4, size, size)
    torch.testing.assert_close(module(x), torchs(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5)])
def test_a_global_pool_is_torchs_with_its_gradient_in_channels_last(
    height: int, width: int
) -> None:
    x = _channels_last(3, 6, height, width)
    pooled = GlobalAveragePool()(x)
    _assert_equal_with_gradients(pooled, nn.AdaptiveAvgPool2d(1)(x), [x])
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("groups", [2, 3])
def test_a_channel_shuffle_is_torchs_and_stays_in_channels_last(groups: int) -> None:
    x = _channels_last(2, 6, 3, 4)
    shuffled = channel_shuffle(x, groups)
    assert torch.equal(shuffled, functional.channel_shuffle(x, groups))
    assert shuffled.is_contiguous(memory_format=torch.channels_last)
