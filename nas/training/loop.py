"""The one loop that trains: proxies, fine-tunes, winners, and whatever a person gives.

All that is random follows from the seed and the number of the step: the order of images, how they
are mixed, what dropout leaves out. So a training that was stopped goes on as if it had not been.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from nas.data import Shuffle, Split
from nas.training.checkpoint import Checkpoints, Store, purpose_of
from nas.training.devices import Team, alone
from nas.training.learner import Learner
from nas.training.meter import DivergenceError, Meter, Plan, ReportCallback
from nas.training.schedule import Schedule
from nas.training.settings import TrainSettings

__all__ = ["DivergenceError", "TrainSettings", "evaluate", "train", "use_threads"]

StepCallback = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

EpochCallback = Callable[[int], None]
"""Called with the number of epochs done, after each of them but the last."""

REPORT_STEPS = 50


def use_threads(threads: int | None, processes: int = 1) -> None:
    """Let torch use so many threads; ``None`` is one a core, of a share of them."""
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads or max(1, cores // processes))


def train(
    model: nn.Module,
    data: Split,
    settings: TrainSettings,
    *,
    resolution: int,
    seed: int,
    on_step: StepCallback,
    on_epoch: EpochCallback | None = None,
    on_report: ReportCallback | None = None,
    steps: int | None = None,
    checkpoints: Checkpoints | None = None,
    team: Team | None = None,
) -> None:
    """Train ``model`` in place, and leave it on the device; deterministic for a seed.

    Args:
        model: images ``(N, C, H, W)`` → logits ``(N, classes)``.
        data: the images to train on.
        settings: how.
        resolution: of the images, in pixels.
        seed: of whatever is random.
        on_step: told of every step.
        on_epoch: may evaluate the model, which has its averaged weights meanwhile where there are
            such; training goes on as if it had not.
        on_report: told how training goes, every 50 steps and at the end of every epoch.
        steps: batches, instead of the epochs of the settings.
        checkpoints: where training is kept, and goes on from if it was stopped.
        team: the processes that train together; ``None``: this one alone, on one device.

    Raises:
        DivergenceError: the loss became infinite or NaN.
        OtherTrainingError: the checkpoint is of another training.
        ValueError: the checkpoint cannot be read, or the device cannot do what is asked for.
    """
    team = team or alone(settings)
    use_threads(settings.threads, processes=team.ranks)
    plan = _plan(data, settings, steps, team)
    store = None
    if checkpoints is not None:
        purpose = purpose_of(
            settings,
            model.state_dict(),
            data.fingerprint(),
            resolution=resolution,
            seed=seed,
            steps=plan.total,
        )
        store = Store(checkpoints, purpose)
    schedule = Schedule.of(settings, plan.total, plan.steps_an_epoch)
    loop = _Loop(
        learner=Learner(model, settings, schedule, seed=seed, team=team),
        meter=Meter(plan, team, f"lower the learning rate (it is {settings.learning_rate})"),
        plan=plan,
        store=store,
        is_first=team.rank == 0,
    )

    def batches_from(step: int) -> Iterator[tuple[Tensor, Tensor]]:
        epoch, start = divmod(step, plan.steps_an_epoch)
        shuffle = Shuffle(seed=seed, epoch=epoch, start=start)
        batches = data.batches(plan.batch_size, resolution, shuffle, settings.augmentation)
        return islice(batches, plan.total - step)

    loop.run(batches_from, on_step, on_epoch, on_report)


def _plan(data: Split, settings: TrainSettings, steps: int | None, team: Team) -> Plan:
    """How long training is.

    Raises:
        ValueError: the processes cannot share a batch evenly.
    """
    batch_size = min(settings.batch_size, len(data))
    if batch_size % team.ranks:
        raise ValueError(
            f"a batch of {batch_size} cannot be shared by {team.ranks} devices; give a batch_size "
            f"that is a multiple of {team.ranks}"
        )
    steps_an_epoch = len(data) // batch_size
    total = steps or steps_an_epoch * settings.epochs
    return Plan(batch_size=batch_size, steps_an_epoch=steps_an_epoch, total=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loop:
    """Steps, reports, epochs and checkpoints, in their order.

    Attributes:
        is_first: whether this process is the one of its team that writes.
    """

    learner: Learner
    meter: Meter
    plan: Plan
    store: Store | None
    is_first: bool

    def run(
        self,
        batches_from: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
        on_step: StepCallback,
        on_epoch: EpochCallback | None,
        on_report: ReportCallback | None,
    ) -> None:
        """Train from where an earlier training stopped to the end."""
        plan, step = self.plan, self._resume()
        self.meter.begin(step)
        while step < plan.total:
            self.learner.begin()
            for images, labels in batches_from(step):
                self.meter.add(self.learner.loss_of(images, labels, step), step)
                self.learner.follow(step)
                step += 1
                on_step(step, plan.total)
                self._report(step, on_report)
                if not plan.ends_epoch(step):
                    self._save(step, share_of_time=1.0)
            if step == plan.total:
                break
            if on_epoch is not None:
                with self.learner.as_it_would_end():
                    on_epoch(step // plan.steps_an_epoch)
            self._save(step, share_of_time=0.1)
        self._save(step, share_of_time=0.0)
        self.learner.end()

    def _report(self, step: int, on_report: ReportCallback | None) -> None:
        if self.plan.ends_epoch(step) or self.meter.steps_since(step) >= REPORT_STEPS:
            report = self.meter.report(step, self.learner.learning_rate)
            if on_report is not None:
                on_report(report)

    def _resume(self) -> int:
        """The steps that were done before."""
        state = None if self.store is None else self.store.load()
        if state is None:
            return 0
        self.learner.load_state_dict(state["learner"])
        step: int = state["step"]
        return step

    def _save(self, step: int, *, share_of_time: float) -> None:
        """Keep the training, if this share of the time between two checkpoints is over.

        An epoch's end is a good place: what was found of the model since is kept with it.
        """
        if self.store is None or not self.is_first or not self.store.is_due(share_of_time):
            return
        if not self.learner.is_finite():
            self.meter.fail("weights or norm statistics are infinite or NaN", step)
        self.store.save({"step": step, "learner": self.learner.state_dict()})


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    data: Split,
    *,
    resolution: int,
    batch_size: int,
    on_step: StepCallback,
    team: Team | None = None,
) -> float:
    """The share of images in ``data`` whose class ``model`` gets right, on the model's device.

    Args:
        model: images ``(N, C, H, W)`` → logits ``(N, classes)``.
        data: images and their classes.
        resolution: of the images, in pixels.
        batch_size: images at once.
        on_step: called with (images done, images in all) of this process's.
        team: the processes that each take some of the images; ``None``: this one takes all.
    """
    model.eval()
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    part = data
    if team is not None and team.ranks > 1:
        part = data.subset(range(team.rank, len(data), team.ranks))
    correct = torch.zeros((), dtype=torch.int64, device=device)
    done = 0
    for images, labels in part.batches(batch_size, resolution):
        found = model(images.to(device, non_blocking=True)).argmax(1)
        correct += (found == labels.to(device, non_blocking=True)).sum()
        done += len(labels)
        on_step(done, len(part))
    return int(correct if team is None else team.sum(correct)) / len(data)
