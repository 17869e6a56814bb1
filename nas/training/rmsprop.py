"""RMSProp as TensorFlow has it, which MnasNet and MobileNetV3 were trained with."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class RMSProp(Optimizer):
    """Weights w, gradient g with weight decay in it, mean square s (1 at first), velocity v::

        s ← decay · s + (1 − decay) · g²
        v ← momentum · v + rate · g / √(s + epsilon)
        w ← w − v

    torch's own adds epsilon to the root instead, begins with s = 0, and multiplies by the rate
    after the velocity: with the papers' epsilon of 1e-3 that is another method.
    """

    def __init__(
        self,
        parameters: ParamsT,
        *,
        lr: float,
        decay: float,
        momentum: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        super().__init__(
            parameters,
            {
                "lr": lr,
                "decay": decay,
                "momentum": momentum,
                "epsilon": epsilon,
                "weight_decay": weight_decay,
            },
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; ``closure`` is called first, to compute the gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step(group)
        return loss

    def _step(self, group: dict[str, Any]) -> None:
        weights: list[Tensor] = [each for each in group["params"] if each.grad is not None]
        if not weights:
            return
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {
                    "square": torch.ones_like(weight),
                    "velocity": torch.zeros_like(weight),
                }
        squares = [self.state[weight]["square"] for weight in weights]
        velocities = [self.state[weight]["velocity"] for weight in weights]
        gradients: list[Tensor] = [each.grad for each in weights if each.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
        roots = torch._foreach_add(squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_addcdiv_(velocities, gradients, roots, group["lr"])
        torch._foreach_sub_(weights, velocities)
