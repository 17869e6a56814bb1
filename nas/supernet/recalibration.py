"""A network's norm statistics, counted anew on training images."""

from itertools import islice

import torch
from torch import nn

from nas.data import Split
from nas.supernet.settings import SupernetSettings
from nas.training.loop import StepCallback


def recalibration_batches(data: Split, settings: SupernetSettings) -> int:
    """How many batches there are to count on."""
    return min(settings.recalibration_batches, len(data) // _batch_size(data, settings))


def recalibrate(
    model: nn.Module,
    data: Split,
    settings: SupernetSettings,
    *,
    resolution: int,
    seed: int,
    on_step: StepCallback,
) -> None:
    """Set every batch norm's mean and variance to their averages over some training batches.

    A supernet's norms have no statistics that fit all of its networks (Yu and Huang, 2019,
    section 3.3). Only norms are in training mode: nothing is dropped, and no weight changes.
    """
    device = next(model.parameters()).device
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
        norm.train()
    total = recalibration_batches(data, settings)
    generator = torch.Generator().manual_seed(seed)
    batches = data.index_batches(_batch_size(data, settings), generator)
    with torch.no_grad():
        for done, chosen in enumerate(islice(batches, total), start=1):
            model(data.images_at(chosen, resolution).to(device, non_blocking=True))
            on_step(done, total)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _batch_size(data: Split, settings: SupernetSettings) -> int:
    return min(settings.train.batch_size, len(data))
