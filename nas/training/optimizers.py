"""The optimiser that the settings name."""

from typing import Any, assert_never

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.optimizer import ParamsT

from nas.training.rmsprop import RMSProp
from nas.training.settings import OptimizerKind, Precision, TrainSettings


def parameter_groups(model: nn.Module, settings: TrainSettings) -> ParamsT:
    """A model's parameters; without weight decay on norms and biases, where that is wanted."""
    if settings.decay_vectors:
        return model.parameters()
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    groups: list[dict[str, Any]] = [
        {"params": others},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return groups


def build_optimizer(parameters: ParamsT, settings: TrainSettings) -> Optimizer:
    """The optimiser, at the rate after warm-up.

    SGD and AdamW are fused: one pass over each weight instead of five. With float16, where
    gradients are scaled, they are not: a fused one does not let them be clipped.
    """
    fused = settings.precision is not Precision.FLOAT16
    match settings.optimizer:
        case OptimizerKind.SGD:
            return SGD(
                parameters,
                lr=settings.peak_rate,
                momentum=settings.momentum,
                nesterov=settings.momentum > 0,
                weight_decay=settings.weight_decay,
                fused=fused,
            )
        case OptimizerKind.RMSPROP:
            return RMSProp(
                parameters,
                lr=settings.peak_rate,
                decay=_given(settings.square_decay, 0.9),
                momentum=settings.momentum,
                epsilon=_given(settings.epsilon, 1e-3),
                weight_decay=settings.weight_decay,
            )
        case OptimizerKind.ADAMW:
            return AdamW(
                parameters,
                lr=settings.peak_rate,
                betas=(settings.momentum, _given(settings.square_decay, 0.999)),
                eps=_given(settings.epsilon, 1e-8),
                weight_decay=settings.weight_decay,
                fused=fused,
            )
        case _:
            assert_never(settings.optimizer)


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Let all groups of parameters have this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
