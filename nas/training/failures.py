"""What ends a training and a person can mend: said in one line, with the setting that helps."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.training.devices import accelerator_of
from nas.training.meter import DivergenceError
from nas.training.settings import TrainSettings

_LONGEST = 200


class TrainingError(RuntimeError):
    """The machine cannot train the network with these settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """What a person can do about a training that fails.

    Attributes:
        settings: how it was trained.
        group: what a person calls these settings: ``training``, or ``final`` after a search; with
            ``++`` before where the configuration may not name them.
        changeable: whether the same command may be given other settings, and trains anew then.
        checkpoint: where training is kept, if it is; the file is there if it came so far.
        device: where it was trained.
    """

    settings: TrainSettings
    group: str
    changeable: bool
    checkpoint: Path | None
    device: torch.device

    @contextmanager
    def named(self) -> Iterator[None]:
        """While the context is open, what can be mended is raised with what mends it.

        Raises:
            DivergenceError: the loss became infinite or NaN.
            TrainingError: memory does not suffice, or the network cannot be compiled.
        """
        try:
            yield
        except DivergenceError as error:
            raise DivergenceError(f"{error}: {self._lower_rate()}") from error
        except (RuntimeError, MemoryError) as error:
            reason = self._compiler_said(error)
            if _is_of_memory(reason or error):
                raise TrainingError(self._less_memory(reason or error)) from error
            if reason is None:
                raise
            raise TrainingError(
                f"torch cannot compile the network here ({_first_line(reason)}); give "
                f"++{self.group}.compile=false, or install what it needs"
            ) from error

    def _lower_rate(self) -> str:
        rate = f"a lower {self.group}.learning_rate"
        if self.changeable:
            return f"give {rate}, and the same command trains anew"
        if self.checkpoint is None or not self.checkpoint.exists():
            return f"give {rate} and another name=…"
        return (
            f"to go on from the last finite state give weights={self.checkpoint}, {rate} and "
            "another name=…"
        )

    def _less_memory(self, error: BaseException) -> str:
        settings, group = self.settings, self.group
        remedy = f"give a lower {group}.batch_size"
        parts = min(2 * settings.accumulate, settings.batch_size // 2)
        if parts > settings.accumulate:
            remedy += f", or ++{group}.accumulate={parts} for the same batch in smaller parts"
        if not self.changeable:
            remedy += ", and another name=…"
        owner = self.device if isinstance(error, torch.OutOfMemoryError) else "this machine"
        return (
            f"the memory of {owner} does not suffice for {group}.batch_size="
            f"{settings.batch_size} ({_first_line(error)}); {remedy}"
        )

    def _compiler_said(self, error: BaseException) -> BaseException | None:
        """What the compiler failed of, where it was the compiler that failed."""
        if not self.settings.compile:
            return None
        # Of torch's private modules, but it has no other names for them; compiling imported them.
        from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException
        from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

        if isinstance(error, BackendCompilerFailed):
            return error.inner_exception
        kinds = (TorchDynamoException, CppCompileError, InvalidCxxCompiler)
        return error if isinstance(error, kinds) else None


def in_short(settings: TrainSettings, group: str) -> AbstractContextManager[None]:
    """``Remedies.named`` for a short training that is not kept while it lasts."""
    remedies = Remedies(
        settings=settings,
        group=group,
        changeable=False,
        checkpoint=None,
        device=torch.device(accelerator_of(settings).value),
    )
    return remedies.named()


def _is_of_memory(error: BaseException) -> bool:
    """Also on a CPU, of whose memory torch says so in words alone."""
    return isinstance(
        error, torch.OutOfMemoryError | MemoryError
    ) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
