"""Where a network is trained: one device or several, and in which precision; Fabric's part."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas.training.settings import Accelerator, Precision, TrainSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train one network together, of which this is one.

    Attributes:
        fabric: what places, wraps and joins; it has been launched where there are several.
    """

    fabric: "Fabric"

    @property
    def rank(self) -> int:
        return self.fabric.global_rank

    @property
    def ranks(self) -> int:
        return self.fabric.world_size

    @property
    def device(self) -> torch.device:
        return self.fabric.device

    def share(self, batch: Tensor) -> Tensor:
        """This process's share of a batch, on its device: every so manieth image."""
        return batch[self.rank :: self.ranks].to(self.device, non_blocking=True)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of the processes' values, for all of them."""
        if self.ranks == 1:
            return values
        total: Tensor = self.fabric.all_reduce(values, reduce_op="sum")  # type: ignore[assignment]
        return total

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Let all processes have what the first one has; norms have counted on a share each."""
        if self.ranks > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

    def set_up(
        self, model: nn.Module, optimizer: Optimizer, settings: TrainSettings
    ) -> tuple[Any, Any]:
        """The model and its optimiser as they train here; the model is moved to the device."""
        if settings.compile:
            model = torch.compile(model)  # type: ignore[assignment]
        return self.fabric.setup_module(model), self.fabric.setup_optimizers(optimizer)


def alone(settings: TrainSettings) -> Team:
    """One device, in this process."""
    return Team(make_fabric(settings, 1))


def make_fabric(settings: TrainSettings, devices: int) -> "Fabric":
    """What trains on so many devices; takes ten milliseconds.

    Raises:
        ValueError: there are no such devices here, or they cannot compute in that precision.
    """
    # It takes a second to import, which only training is to wait for.
    from lightning_fabric import Fabric

    accelerator = accelerator_of(settings)
    if settings.precision is Precision.FLOAT16 and accelerator is Accelerator.CPU:
        raise ValueError(
            "precision=16-mixed needs a CUDA device; on a CPU give 32-true or bf16-mixed"
        )
    if accelerator is Accelerator.CUDA:
        if devices > (found := torch.cuda.device_count()):
            raise ValueError(f"devices={devices}, but torch finds {found} CUDA devices here")
        torch.backends.cudnn.benchmark = True  # images are of one size throughout a training
    return Fabric(
        accelerator=accelerator.value,
        devices=devices,
        strategy="auto" if devices == 1 else "ddp",
        precision=settings.precision.value,
    )


def accelerator_of(settings: TrainSettings) -> Accelerator:
    """What ``auto`` is here.

    Raises:
        ValueError: CUDA is asked for, and torch finds no device.
    """
    has_cuda = torch.cuda.is_available()
    if settings.accelerator is Accelerator.CUDA and not has_cuda:
        raise ValueError("accelerator=cuda, but torch finds no CUDA device here; give cpu or auto")
    if settings.accelerator is Accelerator.AUTO:
        return Accelerator.CUDA if has_cuda else Accelerator.CPU
    return settings.accelerator
