"""Points, rivals and gains by hand; and tiny comparisons on a device without a clock."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environment, equal_latency, equal_latency_rivals, netadapt_vs_multiplier
from benchmarks.equal_latency import Outcome, row_of
from benchmarks.equal_latency_points import Point, closest, points_of
from benchmarks.equal_latency_report import draw_curves, gains, print_figures, rivals_of
from benchmarks.equal_latency_rivals import Lengths, Method, Rivals, multiplied
from benchmarks.equal_latency_training import Training, data_config, load_data, run_tasks
from benchmarks.library_pruning import Pruned, pruning_path
from benchmarks.netadapt_vs_multiplier import main, parse_targets
from latency.console import Terminal
from latency.keys import network_key
from nas.executors import Channel, ThreadExecutor
from nas.training.meter import DivergenceError
from netadapt.changes import ProposalKind
from netadapt.journal import Ended, State, StepFolder
from netadapt.proposals import Proposal
from search_spaces import load_seed
from search_spaces.blocks import ConvNormAct
from search_spaces.scaling import round_channels
from search_spaces.seeds import read_seed
from search_spaces.torch_model import Network

TINY = ["--seed-network", "mobilenet_v3_small", "--first-seed", "4", "--seeds", "1"]
TINY += ["--targets", "90,80"]
TINY += ["--resolution", "32", "--train-resolution", "16", "--delta", "0.1", "--workers", "1"]
TINY += ["--seed-steps", "2", "--tuning-steps", "1", "--final-steps", "2"]

SEED = load_seed("mobilenet_v2", resolution=64).with_num_classes(10)
RULE = read_seed("mobilenet_v2").width_rule


def _outcome(method: Method, seed: int, point: int, latency_ms: float, accuracy: float) -> Outcome:
    return Outcome(
        method=method,
        seed=seed,
        point=point,
        target_ms=latency_ms,
        latency_ms=latency_ms,
        interval=0.01,
        accuracy=accuracy,
        steps=100,
        spent=300,
        madds=1_000_000,
        params=1000,
    )


OUTCOMES = [
    _outcome(Method.FULL, 0, 0, 8.0, 0.90),
    _outcome(Method.NETADAPT, 0, 1, 4.0, 0.85),
    _outcome(Method.MULTIPLIER, 0, 1, 4.0, 0.80),
    _outcome(Method.FULL, 1, 0, 8.0, 0.90),
    _outcome(Method.NETADAPT, 1, 1, 4.0, 0.89),
    _outcome(Method.MULTIPLIER, 1, 1, 4.0, 0.82),
]


def test_gains_are_paired_and_speedups_of_means() -> None:
    (gain,) = gains(OUTCOMES, Method.MULTIPLIER)
    # 5 and 7 points: t(0.975) is 12.706 with one degree of freedom, the standard error 1 point.
    assert gain.gain.value == pytest.approx(0.06)
    assert gain.gain.high == pytest.approx(0.06 + 0.12706, abs=1e-4)
    assert (gain.latency_ms, gain.rival_ms) == (4.0, 4.0)
    # From 81 % at 4 ms to 90 % at 8 ms: 87 % two thirds of the way, on a scale of ratios.
    assert gain.speedup.value == pytest.approx(2 ** (2 / 3))


def test_a_rival_that_is_not_as_fast_is_taken_at_the_latency_of_netadapt() -> None:
    slower = [replace(each, latency_ms=2.0) if each.point else each for each in OUTCOMES]
    outcomes = [
        replace(each, latency_ms=4.0) if each.method is Method.NETADAPT else each for each in slower
    ]
    (gain,) = gains(outcomes, Method.MULTIPLIER)
    # The multiplier's curve at 4 ms is half of the way from 80 (82) % at 2 ms to 90 % at 8 ms.
    assert gain.gain.value == pytest.approx((0.85 - 0.85 + 0.89 - 0.86) / 2)


def test_what_is_printed_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert rivals_of(OUTCOMES) == [Method.MULTIPLIER]
    print_figures(OUTCOMES, Terminal())
    printed = capsys.readouterr().out
    assert "2 seeds, 0 to 1; the seed network: 8.000 ms, 90.00%" in printed
    assert "+6.00 (-6.71 to +18.71)" in printed
    assert "100 training steps of every network, 300 of NetAdapt" in printed
    assert printed.strip().endswith("at every point: met (least 1.59×)")
    assert draw_curves(OUTCOMES).startswith(b"\x89PNG")


def test_a_row_says_what_a_network_is() -> None:
    row = row_of(OUTCOMES[1])
    assert (row["method"], row["seed"], row["point"]) == ("netadapt", "0", "1")
    assert (row["latency_ms"], row["accuracy"], row["steps"]) == ("4", "0.85", "100")


def test_the_closest_is_so_by_ratio_and_of_equals_the_slower() -> None:
    assert closest(4.0, {"a": 3.0, "b": 5.2}) == "b"
    assert closest(4.0, {"a": 3.9, "b": 4.2}) == "a"
    assert closest(4.0, {"a": 2.0, "b": 8.0}) == "b"


def test_a_multiplier_narrows_every_layer_alike() -> None:
    networks = multiplied(SEED, RULE)
    assert len({network.blocks for network in networks}) == len(networks) > 40
    half = next(network for network in networks if network.name.endswith("_x0.5"))
    for block, whole in zip(half.blocks[:-1], SEED.blocks[:-1], strict=True):
        assert block.out_channels == round_channels(0.5 * whole.out_channels)  # type: ignore[union-attr]
    last = half.blocks[-2]
    assert isinstance(last, ConvNormAct)
    assert last.out_channels == 640


def _write_steps(folder: Path, latencies_ms: list[float]) -> None:
    """A NetAdapt run whose steps have two proposals each."""
    for number, latency_ms in enumerate(latencies_ms, start=1):
        network = replace(SEED, name=f"step{number}")
        proposal = Proposal(
            kind=ProposalKind.LAYER,
            change="narrower",
            architecture=network,
            sources=tuple(range(len(network.blocks))),
            latency_ms=latency_ms,
            saved_ms=1.0,
        )
        files = StepFolder(folder, number)
        files.propose([proposal] * 2)
        weights = files.answer(1).with_suffix(".pt")
        state = State(
            architecture=network,
            weights=weights,
            accuracy=0.5,
            predicted_ms=latency_ms,
            measured_ms=latency_ms,
        )
        files.end(Ended(change="narrower", saved_ms=1.0, state=state), 2)


def test_points_are_the_first_networks_within_their_targets(tmp_path: Path) -> None:
    _write_steps(tmp_path, [9.0, 7.6, 7.4, 5.0, 4.8])
    points = points_of(tmp_path, [7.5, 6.0, 5.0])
    assert [(p.number, p.target_ms, p.architecture.name) for p in points] == [
        (1, 7.5, "step3"),
        (2, 6.0, "step4"),
        (3, 5.0, "step4"),
    ]
    assert [(p.chosen, p.proposals) for p in points] == [(3, 6), (4, 8), (4, 8)]
    assert points[0].weights == tmp_path / "steps" / "003" / "001.pt"
    with pytest.raises(ValueError, match=r"holds no network within 4\.000 ms"):
        points_of(tmp_path, [4.0])


def test_every_network_at_a_point_has_the_same_steps(tmp_path: Path) -> None:
    _write_steps(tmp_path, [5.0])
    (point,) = points_of(tmp_path, [6.0])
    multiples = multiplied(SEED, RULE)
    pruned = [replace(SEED, blocks=multiples[7].blocks)]
    weights = tmp_path / "torch_pruning_uniform-x.pt"
    rivals = Rivals(
        seed=3,
        points=[point],
        network=SEED,
        weights=weights,
        folder=tmp_path,
        lengths=Lengths(seed=100, tuning=10, final=50),
        multiplied=multiples,
        pruned={Method.UNIFORM: pruned},
        generous=True,
    )
    latencies_ms = {network_key(network): 1.0 for network in rivals.to_measure()}
    latencies_ms[network_key(point.architecture)] = 4.0
    latencies_ms[network_key(multiples[20])] = 3.8
    key = network_key(pruned[0]).partition("@")[0]
    (tmp_path / f"torch_pruning_uniform-{key}.pt").touch()
    cells = {cell.method: cell for cell in rivals.cells(latencies_ms)}
    assert {m: (c.before, c.steps, c.spent) for m, c in cells.items()} == {
        Method.FULL: (0, 160, 160),
        Method.NETADAPT: (110, 50, 170),
        Method.MULTIPLIER: (0, 160, 160),
        Method.GENEROUS: (0, 170, 170),
        Method.UNIFORM: (100, 60, 160),
    }
    assert cells[Method.MULTIPLIER].architecture == multiples[20]
    assert cells[Method.MULTIPLIER].weights is None
    assert cells[Method.NETADAPT].weights == point.weights
    assert cells[Method.UNIFORM].architecture == pruned[0]
    assert cells[Method.NETADAPT].name == "netadapt-seed3-point1"


class _Silent:
    def __call__(self, done: float, total: float) -> None:
        assert 0 <= done <= total

    def describe(self, description: str) -> None: ...


def test_what_a_training_raises_is_told_by_its_name() -> None:
    def diverge(channel: Channel) -> None:
        raise DivergenceError("the loss is nan at step 3 of 9")

    def fail(channel: Channel) -> None:
        raise LookupError("unknown")

    executor = ThreadExecutor(workers=2)
    with pytest.raises(ValueError, match="seed 1: the loss is nan at step 3 of 9"):
        run_tasks(executor, {"seed 1": diverge}, {"seed 1": 1.0}, _Silent())
    with pytest.raises(LookupError, match="unknown"):
        run_tasks(executor, {"a": fail}, {"a": 1.0}, _Silent())
    run_tasks(executor, {}, {}, _Silent())
    executor.close()


def test_data_is_named_by_files_or_is_the_digits(tmp_path: Path) -> None:
    assert load_data(data_config(None, None)).num_classes == 10
    named = json.loads(data_config(tmp_path / "a", tmp_path / "b"))
    assert (named["train"], named["validation"]) == (str(tmp_path / "a"), str(tmp_path / "b"))


@pytest.fixture
def fake_device(make_device: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph takes a millisecond for a million bytes of weights, and fewer are looked at."""

    def cost_ms(entry: dict[str, Any]) -> float:
        return 0.001 + 1e-6 * float(entry.get("weights_bytes", 0))

    def short_path(model: Network, scope: Any) -> Any:
        return pruning_path(model, scope, most=0.3, steps=2)

    monkeypatch.setattr(netadapt_vs_multiplier, "LocalDevice", lambda: make_device(cost_ms))
    monkeypatch.setattr(netadapt_vs_multiplier, "LocalExecutor", ThreadExecutor)
    monkeypatch.setattr(equal_latency_rivals, "WIDTHS", (0.5, 0.75, 0.9))
    monkeypatch.setattr(equal_latency_rivals, "pruning_path", short_path)


@pytest.mark.usefixtures("fake_device")
def test_a_run_that_was_stopped_goes_on_and_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    trained: list[str] = []
    call = Training.call

    def counted(training: Training) -> Any:
        trained.append(training.answer.stem)
        return call(training)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "call", counted)
    out = ["--out", str(tmp_path / "out")]
    with monkeypatch.context() as stopped:
        stopped.setattr(equal_latency, "_outcome", stop)
        assert main([*TINY, *out]) == 130
    first = list(trained)
    assert len(first) == len(set(first)) == 1 + 2 * 4
    (next((tmp_path / "out" / "cells").glob("multiplier-seed4-point2-*.json"))).unlink()
    assert main([*TINY, *out, "--record"]) == 0
    assert [name.partition("-Network")[0] for name in trained[len(first) :]] == [
        "multiplier-seed4-point2"
    ]
    with (tmp_path / "results" / "netadapt_vs_multiplier.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["point"]) for row in rows} == {("full", "0")} | {
        (method, point)
        for method in ("netadapt", "multiplier", "torch_pruning_uniform", "torch_pruning_global")
        for point in ("1", "2")
    }
    full_ms = next(float(row["latency_ms"]) for row in rows if row["method"] == "full")
    for row in rows:
        assert row["seed"] == "4"
        assert 0 <= float(row["accuracy"]) <= 1
        if row["method"] == "netadapt":
            share = {"1": 0.9, "2": 0.8}[row["point"]]
            assert float(row["target_ms"]) == pytest.approx(share * full_ms, rel=1e-4)
            assert float(row["latency_ms"]) <= float(row["target_ms"])
    steps = {(row["point"], row["steps"]) for row in rows if row["point"] != "0"}
    assert len(steps) == 2
    assert (tmp_path / "out" / "accuracy_over_latency.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main([*TINY, *out, "--batch", "16"]) == 2
    assert "holds networks with --batch 32, but now it is 16" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "shares"), [("40,75,55", (0.75, 0.55, 0.4)), ("12.5", (0.125,))])
def test_targets_are_shares_falling(text: str, shares: tuple[float, ...]) -> None:
    assert parse_targets(text) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds must be an integer in 1..1000, but got 0"),
        (["--first-seed", "-1"], "--first-seed must be an integer in 0..1000000, but got -1"),
        (["--final-steps", "0"], "--final-steps must be an integer in 1.."),
        (["--train-resolution", "8"], "--train-resolution must be an integer in 16..4096"),
        (["--delta", "0.9"], "--delta must be"),
        (["--targets", "75,75"], "--targets must be different numbers above 0 and below 100"),
        (["--targets", "100"], "but got '100'"),
        (["--targets", "half"], "but got 'half'"),
        (["--workers", "0"], "workers must be"),
        (["--batch", "1"], "TrainSettings.batch_size must be an integer in 2.."),
        (["--learning-rate", "0"], "TrainSettings.learning_rate must be"),
        (["--train", "a.parquet"], "--train and --validation go together"),
    ],
)
@pytest.mark.usefixtures("fake_device")
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.netadapt_vs_multiplier: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_without_the_library_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert "torch-pruning must be installed" in capsys.readouterr().err


def test_pruned_weights_are_kept_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = replace(SEED, blocks=multiplied(SEED, RULE)[0].blocks)
    made: list[Path] = []

    def prune(seed: Any, weights: Path, method: Method) -> Any:
        made.append(weights)
        yield Pruned(architecture=SEED, weights={})
        yield Pruned(architecture=network, weights={})

    monkeypatch.setattr(equal_latency_rivals, "prune", prune)
    point = Point(
        number=1,
        target_ms=5.0,
        architecture=SEED,
        weights=tmp_path / "a.pt",
        chosen=1,
        proposals=2,
    )
    rivals = Rivals(
        seed=0,
        points=[point],
        network=SEED,
        weights=tmp_path / "seed.pt",
        folder=tmp_path,
        lengths=Lengths(seed=1, tuning=1, final=1),
        multiplied=[network],
        pruned={Method.GLOBAL: [network]},
        generous=False,
    )
    latencies_ms = {network_key(each): 1.0 for each in rivals.to_measure()}
    first, again = (list(rivals.cells(latencies_ms))[-1].weights for _ in range(2))
    assert first == again
    assert first is not None
    assert first.exists()
    assert made == [tmp_path / "seed.pt"]
