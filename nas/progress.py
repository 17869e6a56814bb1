"""What a person sees of a search while it runs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from latency.console import Terminal, Update
from nas.reward import Reward
from nas.study import Candidate, ranked

NOISE_FACTOR = 1.5
MIN_FOR_NOISE = 8


class SearchProgress:
    """A line a trial, and in between how far the running ones are, the best so far, time left."""

    def __init__(
        self,
        terminal: Terminal,
        *,
        trials: int,
        found: Sequence[Candidate],
        finished: int,
        targets_ms: Sequence[float],
        reward: Reward,
    ) -> None:
        """``found`` and ``finished`` (stopped ones included) are of earlier processes."""
        self._terminal = terminal
        self._trials = trials
        self._targets_ms = targets_ms
        self._reward = reward
        self._found = list(found)
        self._finished = self._before = finished
        self._shares: dict[int, float] = {}
        self._update: Update | None = None

    @property
    def found(self) -> list[Candidate]:
        """The networks of earlier processes and of this one, in order."""
        return sorted(self._found, key=lambda candidate: candidate.number)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the context is open, a bar or a line every two seconds says how far all is."""
        with self._terminal.progress("searching") as update:
            self._update = update
            self._show()
            yield
        self._update = None

    def started(
        self,
        number: int,
        latency_ms: float,  # noqa: ARG002 - it is shown when the accuracy is there, too
    ) -> None:
        self._shares[number] = 0.0
        self._show()

    def step(self, number: int, done: int, total: int) -> None:
        self._shares[number] = done / total
        self._show()

    def finished(self, candidate: Candidate) -> None:
        self._shares.pop(candidate.number, None)
        self._found.append(candidate)
        self._finished += 1
        best = self._best()
        self._line(
            f"[{self._finished}/{self._trials}] trial {candidate.number}: "
            f"{self._described(candidate)}; best: trial {best.number}, {self._described(best)}"
        )

    def stopped(self, number: int, epoch: int) -> None:
        self._shares.pop(number, None)
        self._finished += 1
        self._line(
            f"[{self._finished}/{self._trials}] trial {number}: stopped after epoch {epoch}, its "
            "reward is hopeless"
        )

    def retried(self, number: int, reason: str) -> None:
        self._shares[number] = 0.0
        self._line(f"trial {number} begins again: {reason}")

    def failed(self, number: int, reason: str) -> None:
        self._shares.pop(number, None)
        self._line(f"trial {number} failed: {reason}")

    def _best(self) -> Candidate:
        return ranked(self._found, self._targets_ms[0], self._reward)[0]

    def _described(self, candidate: Candidate) -> str:
        return describe(candidate, self._targets_ms[0])

    def _line(self, text: str) -> None:
        self._terminal.line(text)
        self._show()

    def _show(self) -> None:
        if self._update is None:
            return
        running = ", ".join(f"{n} ({share:.0%})" for n, share in sorted(self._shares.items()))
        best = f"; best {self._described(self._best())}" if self._found else ""
        done = self._finished - self._before + sum(self._shares.values())
        self._update.describe(f"trial {running}{best}" if running else "searching")
        self._update(done, self._trials - self._before)


def describe(candidate: Candidate, target_ms: float) -> str:
    """A candidate in one line; whether it is predicted to meet a target."""
    met = "met" if candidate.latency_ms <= target_ms else "missed"
    return (
        f"accuracy {candidate.accuracy:.1%}, {candidate.latency_ms:.2f} ms ({met}), "
        f"reward {candidate.reward:.4f}"
    )


def noise_warning(found: Sequence[Candidate]) -> str | None:
    """A warning where the accuracies do not differ by more than the noise of measuring them.

    Their standard deviation is compared with the mean standard error of one: a share of so many
    images. Training again with another seed would add to that.
    """
    errors = [candidate.standard_error for candidate in found if candidate.standard_error > 0]
    if len(errors) < MIN_FOR_NOISE:
        return None
    spread = float(np.std([candidate.accuracy for candidate in found], ddof=1))
    noise = math.sqrt(float(np.mean(np.square(errors))))
    if spread >= NOISE_FACTOR * noise:
        return None
    return (
        f"warning: the accuracies of {len(found)} networks differ by no more than their noise "
        f"(standard deviation {spread:.2%}, of which measuring them on the validation images "
        f"explains {noise:.2%}): which one is best follows from latency and chance; train longer "
        "(evaluator.settings.epochs), or give more validation images"
    )
