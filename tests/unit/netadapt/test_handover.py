"""Where the file that is handed over measures too slow, shaving goes on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latency.console import Terminal
from latency.side_by_side import SideBySide
from latency.table import Entry
from nas.handover import Handover, LastStage
from nas.run_folder import Folder
from nas.training.weights import save_weights
from netadapt import pipeline
from netadapt.clock import Timed
from netadapt.journal import Ended, State, StepFolder, steps_ended
from netadapt.loop import NetAdaptLoop
from netadapt.start import Start
from search_spaces import load_seed

SEED = load_seed("mobilenet_v3_small", resolution=32)


def _entry(ms: float) -> Entry:
    return Entry(
        key="a", latency_ms=ms, median_ms=ms, interval=0.01, rounds=1, runs=1, drift=1.0,
        reference_ms=1.0,
    )  # fmt: skip


def _handover(best_ms: float, seed_ms: float) -> Handover:
    beside = SideBySide(
        first=_entry(best_ms), second=_entry(seed_ms), ratio=best_ms / seed_ms, interval=0.01
    )
    return Handover(
        validation_accuracy=0.9, test_accuracy=0.9, tests=1, logit_difference=0.0,
        measured=beside.first, beside=beside,
    )  # fmt: skip


@pytest.fixture
def finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``finish("80%", [(8.5, 10.0)])``: latencies of best.onnx and the seed at each hand-over."""

    def run(target: str, measured: list[tuple[float, float]], most_steps: int = 9) -> Any:
        asked: list[tuple[float, float]] = []
        waiting = iter(measured)

        go_on = NetAdaptLoop.run

        def step(loop: NetAdaptLoop, files: StepFolder, state: State) -> Ended | None:
            """A step takes 5 % of the seed's latency away."""
            if files.number > most_steps:
                return None
            ms = state.measured_ms - 5 * loop.delta_ms
            weights = save_weights(files.path / "000.pt", {})
            new = replace(state, weights=weights, predicted_ms=ms, measured_ms=ms, interval=0.0)
            ended = Ended(change=f"step {files.number}", saved_ms=0.05, state=new)
            files.end(ended, 1)
            return ended

        def shave(loop: NetAdaptLoop, start: State, target_ms: float) -> State:
            state = go_on(loop, start, target_ms)
            asked.append((target_ms, state.measured_ms))
            return state

        monkeypatch.setattr(NetAdaptLoop, "_step", step)
        monkeypatch.setattr(NetAdaptLoop, "run", shave)
        monkeypatch.setattr(LastStage, "hand_over", lambda *_, **__: _handover(*next(waiting)))
        monkeypatch.setattr(pipeline, "write_report", lambda *given: {"target_ms": given[-1]})
        settings = SimpleNamespace(
            target=target, delta=0.01, decay=1.0, proposals=None, final=None, random_seed=0,
            measure_networks=None, table=None, measure=None,
        )  # fmt: skip
        run = SimpleNamespace(
            settings=settings, seed=SEED, data=None, device=None, tuning=None, executor=None
        )
        clock = SimpleNamespace(
            entry=lambda _: None, timed=lambda *_: Timed(measured_ms=1.0, interval=0.0)
        )
        seed = State(
            architecture=SEED, weights=tmp_path / "seed.pt", accuracy=0.9, predicted_ms=10.0,
            measured_ms=10.0,
        )  # fmt: skip
        start = Start(seed=seed, target_ms=pipeline.target_in_ms(target, 10.0))
        folder = Folder(tmp_path)
        summary = pipeline._Stages(run, folder, clock, Terminal()).finish(start)  # type: ignore[arg-type]
        return asked, summary

    return run


def test_what_meets_the_target_is_handed_over_once(finish: Any) -> None:
    asked, _ = finish("80%", [(7.9, 10.0)])
    assert asked == [(pytest.approx(8.0), pytest.approx(8.0))]


def test_a_share_is_of_what_the_seed_takes_then(finish: Any) -> None:
    asked, summary = finish("80%", [(8.2, 10.0), (15.5, 20.0)])
    assert [target for target, _ in asked] == pytest.approx([8.0, 8.0])
    assert asked[1][1] == pytest.approx(7.7)  # from 8.2, one step on
    assert summary == {"target_ms": pytest.approx(16.0)}


def test_a_latency_is_by_the_clock_then(finish: Any) -> None:
    """The machine has become a quarter slower: 8 ms now are 6.4 ms of then."""
    asked, _ = finish("8ms", [(10.0, 12.5), (7.9, 12.5)])
    assert asked[1] == (pytest.approx(6.4), pytest.approx(6.0))


def test_no_step_is_taken_back_on_a_faster_machine(finish: Any, tmp_path: Path) -> None:
    """It has become a tenth faster: 8 ms now are 8.9 ms of then, which step 3 took."""
    asked, _ = finish("8ms", [(8.2, 9.0), (7.9, 9.0)])
    assert asked[1] == (pytest.approx(8 / 0.9), pytest.approx(8.2 / 0.9 - 0.5))
    assert [ended.change for ended in steps_ended(tmp_path)] == [f"step {n}" for n in range(1, 6)]


def test_it_ends_with_what_was_missed_where_nothing_is_left(finish: Any) -> None:
    asked, summary = finish("80%", [(8.2, 10.0)], most_steps=4)
    assert len(asked) == 1
    assert summary == {"target_ms": pytest.approx(8.0)}


def test_it_gives_up_in_the_end(finish: Any) -> None:
    asked, _ = finish("80%", [(9.0, 10.0), (8.8, 10.0), (8.5, 10.0)])
    assert len(asked) == 3
