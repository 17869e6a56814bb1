"""What the modules do beyond their values, which the parity tests compare with other readers'."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces import build_model, load_seed


@pytest.mark.parametrize(
    "name", ["mnasnet_a1", "mobilenet_v3_small", "shufflenet_v1_g3", "shufflenet_v2_x1_0"]
)
def test_maps_and_their_gradients_stay_channels_last_throughout(name: str) -> None:
    layouts: list[tuple[str, bool]] = []

    def watch(path: str, map_: Tensor) -> None:
        # Of a slice of channels, like ShuffleNetV2's halves, the order of strides is what counts.
        layouts.append((path, map_[:, :1].stride(1) == 1 and map_.stride(3) >= map_.shape[1]))

    def listen(path: str, norm: nn.Module) -> None:
        def forward(_: nn.Module, inputs: tuple[Tensor], out: Tensor) -> None:
            watch(f"{path}'s input", inputs[0])
            out.register_hook(lambda gradient: watch(f"{path}'s gradient", gradient))

        norm.register_forward_hook(forward)

    model = build_model(load_seed(name, resolution=64)).to(memory_format=torch.channels_last)
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for path, norm in norms.items():
        listen(path, norm)
    images = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    model.train()(images).sum().backward()
    assert len(layouts) == 2 * len(norms)
    assert [path for path, is_channels_last in layouts if not is_channels_last] == []
