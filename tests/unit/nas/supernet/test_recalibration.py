"""Norm statistics are counted on training images, and nothing else changes."""

import pytest
import torch
from torch import nn

from nas.data import Split
from nas.supernet import SupernetSettings
from nas.supernet.recalibration import recalibrate, recalibration_batches
from nas.training import TrainSettings


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self.first = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.second = nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.second(self.dropout(self.first(self.conv(images)).relu()))
        return maps


def _settings(batches: int) -> SupernetSettings:
    return SupernetSettings(
        train=TrainSettings(epochs=1, batch_size=5), recalibration_batches=batches
    )


def _recalibrate(
    model: nn.Module, data: Split, batches: int, seed: int = 0
) -> list[tuple[int, int]]:
    steps: list[tuple[int, int]] = []
    recalibrate(
        model,
        data,
        _settings(batches),
        resolution=16,
        seed=seed,
        on_step=lambda *step: steps.append(step),  # type: ignore[arg-type]
    )
    return steps


def test_statistics_are_averages_over_batches(small_split: Split) -> None:
    model = _Model()
    for norm in (model.first, model.second):  # what another network has left behind
        norm.running_mean.fill_(9.0)
        norm.running_var.fill_(9.0)
        nn.init.normal_(norm.weight)
    assert _recalibrate(model, small_split, batches=3) == [(1, 3), (2, 3), (3, 3)]
    order = torch.randperm(22, generator=torch.Generator().manual_seed(0))
    means, variances = [], []
    for layer in range(2):
        found = []
        for batch in range(3):
            maps = model.conv(small_split.images[order[5 * batch : 5 * batch + 5]])
            if layer == 1:
                mean = maps.mean((0, 2, 3), keepdim=True)
                scaled = (maps - mean) / (maps.var((0, 2, 3), False, keepdim=True) + 1e-5).sqrt()
                weight, bias = (p.view(1, 4, 1, 1) for p in model.first.parameters())
                maps = (scaled * weight + bias).relu()
            found.append((maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=1)))
        means.append(torch.stack([mean for mean, _ in found]).mean(0))
        variances.append(torch.stack([variance for _, variance in found]).mean(0))
    for norm, mean, variance in zip((model.first, model.second), means, variances, strict=True):
        torch.testing.assert_close(norm.running_mean, mean.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(norm.running_var, variance.detach(), rtol=1e-5, atol=1e-6)


def test_nothing_but_statistics_changes(small_split: Split) -> None:
    model = _Model()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    _recalibrate(model, small_split, batches=2)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
    assert not any(module.training for module in model.modules())
    assert model.first.momentum == model.second.momentum == nn.BatchNorm2d(1).momentum


def test_counting_again_gives_the_same_whatever_was_counted_before(small_split: Split) -> None:
    model, other = _Model(), _Model()
    other.load_state_dict(model.state_dict())
    _recalibrate(other, small_split, batches=1, seed=7)
    torch.manual_seed(5)
    _recalibrate(other, small_split, batches=2)
    _recalibrate(model, small_split, batches=2)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize(("wanted", "there"), [(1, 1), (4, 4), (5, 4), (100, 4)])
def test_there_are_no_more_batches_than_images(small_split: Split, wanted: int, there: int) -> None:
    assert recalibration_batches(small_split, _settings(wanted)) == there
    assert len(_recalibrate(_Model(), small_split, wanted)) == there


def test_images_go_where_the_model_is(small_split: Split) -> None:
    """On torch's ``meta``, which is no CPU and is everywhere."""
    seen: list[str] = []
    model = nn.Conv2d(3, 4, 3, device="meta")
    model.register_forward_hook(lambda _, given, __: seen.append(given[0].device.type))
    _recalibrate(model, small_split, batches=2)
    assert seen == ["meta", "meta"]
