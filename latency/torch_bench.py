"""Graphs of a plan timed with torch, by whatever runs them."""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from latency.onnx_to_torch import TorchGraph
from latency.profile import (
    REFERENCE,
    THROTTLE_PAUSE_SECONDS,
    THROTTLE_TRIES,
    Plan,
    ProfileError,
    pin,
    turns_of,
    visit_lines,
)

LEAD_RUNS = 3
"""Runs of the reference before the first that is timed: the others are queued meanwhile."""

WARM_UP_SECONDS = 1.0

Run = Callable[[], object]

LAYOUTS = {"fp32": torch.contiguous_format, "fp16": torch.channels_last}
"""By precision. Tensor cores read channels last; without TF32, fp32 uses none of them."""


class Accelerator(Protocol):
    """What runs graphs, one after the other, and says how long each took."""

    device: torch.device

    def describe(self) -> dict[str, Any]:
        """The header fields of a table."""
        ...

    def prepare(self, run: Run) -> Run:
        """What does the same as ``run`` in the quickest way there is."""
        ...

    def seconds(self, runs: Sequence[Run]) -> list[float]:
        """How long each of these took, run without a pause between them."""
        ...

    def readings(self) -> dict[str, float]:
        """``mhz`` and ``celsius`` now, where they are known."""
        ...

    def throttled(self) -> bool:
        """Whether it is slowed down for heat at this moment."""
        ...


class TorchBench:
    """Times graphs with torch, in turns with the plan's reference network.

    Raises:
        ProfileError: torch does not run graphs of the plan's precision.
    """

    def __init__(self, plan: Plan, accelerator: Accelerator) -> None:
        if plan.precision not in LAYOUTS:
            raise ProfileError(
                f"device torch_cuda measures the precisions {' and '.join(LAYOUTS)}, but the "
                f"plan's is {plan.precision}; plan with one of these, or measure with onnxruntime"
            )
        self.seconds_in_runs = 0.0
        self._random = np.random.default_rng(0)
        self._plan = plan
        self._accelerator = accelerator
        self._layout = LAYOUTS[plan.precision]
        if plan.affinity is not None:
            pin(plan.affinity)

    def describe(self) -> dict[str, Any]:
        return self._accelerator.describe()

    def warm_up(self) -> None:
        torch.set_num_threads(self._plan.threads)
        torch.manual_seed(0)
        with _failures_of(self._plan.reference):
            floats = -(-self._plan.weights_bytes // 4)
            values = torch.rand(floats, device=self._accelerator.device) * 0.2 - 0.1
            self._weights = values.view(torch.uint8)
            self._reference = self._prepared(self._plan.reference)
            while self.seconds_in_runs < WARM_UP_SECONDS:
                self._seconds([self._reference] * self._plan.runs)

    def sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """A sitting, repeated where the GPU was slowed down for heat at its end."""
        for attempt in range(THROTTLE_TRIES):
            lines = self._sit(entries)
            if not self._accelerator.throttled():
                return lines
            time.sleep(THROTTLE_PAUSE_SECONDS * 2**attempt)
        return [{**line, "throttled": 1} for line in lines]

    def _sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        turns = turns_of(entries, self._plan.runs, self._random)
        gc.disable()
        try:
            runs = {REFERENCE: self._reference}
            for index, entry in enumerate(entries):
                with _failures_of(entry):
                    runs[index] = self._prepared(entry)
            # What fails on the GPU is told late, and not by whom.
            with _failures_of(entries[0]):
                queue = [self._reference] * LEAD_RUNS + [runs[turn] for turn in turns]
                seconds = self._seconds(queue)[LEAD_RUNS:]
        finally:
            gc.enable()
        readings = self._accelerator.readings()
        return [line | readings for line in visit_lines(entries, turns, seconds)]

    def _seconds(self, runs: Sequence[Run]) -> list[float]:
        # The clock of a GPU ticks every half microsecond.
        seconds = [max(1e-9, took) for took in self._accelerator.seconds(runs)]
        self.seconds_in_runs += sum(seconds)
        return seconds

    def _prepared(self, entry: dict[str, Any]) -> Run:
        if entry.get("trace"):
            raise ProfileError(
                f"device torch_cuda cannot time the nodes of {entry['key']!r:.120}; do so with "
                "onnxruntime"
            )
        graph = TorchGraph(self._plan.graph(entry), self._weights, layout=self._layout)
        image = torch.rand(entry["input_shape"], device=self._accelerator.device)
        if image.dim() == 4:
            image = image.to(memory_format=self._layout)
        return self._accelerator.prepare(partial(graph, image))


@contextlib.contextmanager
def _failures_of(entry: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (ProfileError, OSError):
        raise
    except Exception as error:
        # What torch raises of shapes that do not fit, or of memory, has no other common base.
        reason = str(error).strip().partition("\n")[0]
        raise ProfileError(f"cannot run {entry['key']!r:.120}: {reason:.300}") from None
