"""Layers that torch has too, made to train fast on a CPU, on small images and channels last.

They equal torch's but for rounding. What they save: arithmetic on padding where maps are small, and
tensors that change their layout on the way through a network or back.
"""

from torch import Tensor, nn
from torch.nn import functional


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, groups: int) -> Tensor:
    """A convolution ``(N, I, H, W)`` → ``(N, O, ⌈H/stride⌉, ⌈W/stride⌉)``, as in mobile networks.

    Padded with zeros by half the kernel. What of the kernel meets nothing else is left out; on a
    map of one pixel that leaves a product. On a CPU, and with its gradient, torch's convolution
    takes 2 to 100 times as long there, and depthwise on two by two pixels 2 to 7 times.

    Args:
        x: the map.
        weight: ``(O, I / groups, K, K)``, where K is odd.
        bias: ``(O,)``.
        stride: of both directions.
        groups: as ``torch.nn.Conv2d`` has it.
    """
    weight = _crop_to_reach(weight, max(x.shape[2:]))
    padding = weight.shape[2] // 2
    is_depthwise = groups == len(weight) == x.shape[1]
    if x.shape[2:] == (1, 1) and (groups == 1 or is_depthwise):
        return _convolve_pixels(x, weight.flatten(1), bias)
    if is_depthwise and x.shape[2:] == (2, 2):
        # The fast kernel of oneDNN for the gradient of weights wants to see no padding here.
        x, padding = functional.pad(x, (padding,) * 4), 0
    return functional.conv2d(x, weight, bias, stride, padding, groups=groups)


def _crop_to_reach(weight: Tensor, size: int) -> Tensor:
    """The middle of a kernel, without what cannot meet a map of ``size`` pixels."""
    kernel = weight.shape[2]
    excess = kernel // 2 - (size - 1)
    if excess <= 0:
        return weight
    return weight[:, :, excess : kernel - excess, excess : kernel - excess]


def _convolve_pixels(x: Tensor, factors: Tensor, bias: Tensor | None) -> Tensor:
    """``convolve`` on maps of one pixel, by factors ``(O, I)`` or, depthwise, ``(O, 1)``."""
    pixels = x.flatten(1)
    if factors.shape[1] == pixels.shape[1]:
        return _as_map(functional.linear(pixels, factors, bias))
    out = pixels * factors.flatten()
    return _as_map(out if bias is None else out + bias)


def _as_map(x: Tensor) -> Tensor:
    """``(N, C)`` → ``(N, C, 1, 1)``, with strides by which torch knows it for channels last."""
    return x[:, None, None].permute(0, 3, 1, 2)


class Convolution(nn.Conv2d):
    """``convolve`` with weights of its own; a ``torch.nn.Conv2d`` to whoever looks for those."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self.stride[0], self.groups)


class GlobalAveragePool(nn.Module):
    """The mean of each channel: ``(N, C, H, W)`` → ``(N, C, 1, 1)``.

    Its gradient is channels last. That of ``torch.nn.AdaptiveAvgPool2d`` is not, and what meets a
    gradient and an activation of different layouts takes some ten times as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _as_map(x.permute(0, 2, 3, 1).mean((1, 2)))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """``(N, g·n, H, W)`` read as ``(g, n)`` channels and written as ``(n, g)``, channels last."""
    n, channels, height, width = x.shape
    grouped = x.permute(0, 2, 3, 1).reshape(n, height, width, groups, channels // groups)
    shuffled = grouped.transpose(3, 4).reshape(n, height, width, channels)
    return shuffled.permute(0, 3, 1, 2)
