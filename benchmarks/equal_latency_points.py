"""Networks that NetAdapt finds on its way, and the clock that they are measured by.

The first network that measures within a target is a *point*; there every rival has the network
whose measured latency is closest.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from latency.console import Terminal, Update
from latency.devices import Device
from latency.keys import network_key
from latency.measure import ensure_table, measure_entries
from latency.plan import MeasureSettings, Progress, network_entry
from latency.table import Entry
from nas.executors import Executor
from nas.settings import for_networks
from netadapt.clock import Clock
from netadapt.journal import Ended, State, StepFolder, steps_ended
from netadapt.loop import NetAdaptLoop, NothingLeftError
from netadapt.proposals import ProposalSettings, steps_to_propose
from netadapt.step_table import StepTable
from netadapt.tuning import Tuning
from search_spaces.architecture import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network of NetAdapt that is the first to meet a target.

    Attributes:
        number: from 1, for the slowest target.
        weights: the file of its ``state_dict``, fine-tuned as a proposal and no further.
        chosen: NetAdapt's steps on the way: proposals that were taken, this one included.
        proposals: all that were fine-tuned on the way.
    """

    number: int
    target_ms: float
    architecture: Architecture
    weights: Path
    chosen: int
    proposals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaving:
    """How NetAdapt shaves, and by which clock.

    Attributes:
        folder: of the tables, and of what NetAdapt writes of each seed.
        delta: what a proposal saves at least, as a share of the seed's latency.
        targets_ms: falling.
    """

    folder: Path
    device: Device
    measure: MeasureSettings
    proposals: ProposalSettings
    delta: float
    targets_ms: tuple[float, ...]

    def run(
        self,
        seed: Architecture,
        weights: Path,
        accuracy: float,
        seed_ms: float,
        tuning: Tuning,
        executor: Executor,
        terminal: Terminal,
    ) -> list[Point]:
        """Shave a trained network down to the last target, or as far as it goes; its points.

        Raises:
            ValueError: nothing is left to propose before the first target is met.
        """
        folder, path = self.folder / f"seed{tuning.seed}", self.folder / "table.jsonl"
        with terminal.progress(f"measuring blocks of {seed.name}") as update:
            steps = steps_to_propose(seed, self.proposals)
            ensure_table(self.device, path, steps, {}, self.measure, update)
        start = State(
            architecture=seed,
            weights=weights,
            accuracy=accuracy,
            predicted_ms=seed_ms,  # all predictions are made from it
            measured_ms=seed_ms,
        )
        clock = Clock(device=self.device, settings=for_networks(self.measure))
        tables = StepTable(
            device=self.device,
            path=path,
            measure=self.measure,
            proposals=self.proposals,
            seed=seed,
            seed_ms=seed_ms,
        )
        with terminal.progress(f"shaving seed {tuning.seed}") as update:
            loop = NetAdaptLoop(
                folder=folder,
                tuning=tuning,
                proposals=self.proposals,
                delta_ms=self.delta * seed_ms,
                decay=1.0,
                measure_proposals=partial(tables.of, update=update),
                clock=partial(clock.timed, seed, seed_ms),
                executor=executor,
                observer=_Observer(terminal, update, tuning.seed, self.targets_ms[-1]),
            )
            try:
                loop.run(start, self.targets_ms[-1])
            except NothingLeftError as error:
                terminal.line(f"seed {tuning.seed}: no point for every target; {error}")
        return points_of(folder, self.targets_ms)


class _Observer:
    """Shows a person how NetAdapt goes."""

    def __init__(self, terminal: Terminal, update: Update, seed: int, last_ms: float) -> None:
        self._terminal, self._update = terminal, update
        self._seed, self._last_ms = seed, last_ms

    def tuning(self, step: int, done: float, proposals: int) -> None:
        self._update.describe(f"seed {self._seed}, step {step}: {proposals} proposals")
        self._update(done, proposals)

    def ended(self, step: int, before: State, ended: Ended) -> None:
        now = ended.state
        self._terminal.line(
            f"seed {self._seed}, step {step}: {ended.change}; accuracy {before.accuracy:.1%} → "
            f"{now.accuracy:.1%}, measured {now.measured_ms:.3f} ms, last target "
            f"{self._last_ms:.3f} ms"
        )

    def note(self, text: str) -> None:
        self._terminal.line(text)


def points_of(folder: Path, targets_ms: Sequence[float]) -> list[Point]:
    """The first network of a finished run that meets each target that it came to.

    Raises:
        ValueError: it came to none.
    """
    points: list[Point] = []
    proposals = 0
    for step, ended in enumerate(steps_ended(folder), start=1):
        proposals += len(StepFolder(folder, step).proposals() or ())
        while len(points) < len(targets_ms) and ended.state.measured_ms <= targets_ms[len(points)]:
            points.append(
                Point(
                    number=len(points) + 1,
                    target_ms=targets_ms[len(points)],
                    architecture=ended.state.architecture,
                    weights=ended.state.weights,
                    chosen=step,
                    proposals=proposals,
                )
            )
    if not points:
        raise ValueError(f"{folder} holds no network within {targets_ms[0]:.3f} ms")
    return points


def closest(latency_ms: float, networks: Mapping[str, float]) -> str:
    """The key of the network whose latency is closest, as a ratio; of equal ones the slower."""
    return min(
        networks,
        key=lambda key: (abs(math.log(networks[key] / latency_ms)), -networks[key]),
    )


def measure_networks(
    device: Device,
    path: Path,
    networks: Iterable[Architecture],
    settings: MeasureSettings,
    on_progress: Progress,
) -> dict[str, Entry]:
    """Whole networks, end to end and in turns; by their keys. Visits in ``path`` are reused."""
    entries = {
        network_key(network): network_entry(
            network, batch=settings.batch, precision=settings.precision
        )
        for network in networks
    }
    found = measure_entries(device, path, list(entries.values()), settings, on_progress)
    return dict(zip(entries, found, strict=True))
