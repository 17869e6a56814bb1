import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import environment, training_throughput
from benchmarks.peers import build_pair, carry_over
from benchmarks.training_throughput import (
    Burst,
    Effort,
    Figures,
    Step,
    check_same_logits,
    main,
    make_step,
    measure,
    median_interval,
    print_figures,
    summarise,
    time_in_turns,
    verdict,
)
from latency.console import Terminal
from search_spaces import build_model, load_seed

FIGURES = Figures(
    network="a", resolution=32, batch=8, rounds=9, steps=2, ours_ms=10.0, timm_ms=12.0,
    ratio=1.2, ratio_low=1.1, ratio_high=1.3, twin_ratio=1.01, wall_ratio=1.15,
)  # fmt: skip


@pytest.fixture
def timm() -> None:
    pytest.importorskip("timm", reason="needs the extra 'peers'")


def test_a_step_is_one_of_gradient_descent_in_training_mode() -> None:
    network = load_seed("mobilenet_v3_small", width=0.25, resolution=32).with_num_classes(3)
    model = build_model(network).eval()
    images, labels = torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1, 2])
    before = nn.functional.cross_entropy(model.train()(images), labels)
    weights = {name: value.clone() for name, value in model.named_parameters()}
    step = make_step(model.eval(), images, labels)
    for _ in range(30):
        step()
    assert model.training
    assert nn.functional.cross_entropy(model(images), labels) < 0.95 * before
    assert not any(torch.equal(value, weights[name]) for name, value in model.named_parameters())


def test_bursts_take_turns_there_and_back() -> None:
    order: list[str] = []
    steps: list[Step] = [lambda name=name: order.append(name) for name in "abc"]  # type: ignore[misc]
    assert len(time_in_turns(steps, 2)) == 3
    assert "".join(order) == "aabbccccbbaa"


def test_each_gets_the_sum_of_its_own_two_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(count())
    monkeypatch.setattr(
        training_throughput, "time_burst", lambda _, steps: Burst(cpu=next(seconds), wall=steps)
    )
    bursts = time_in_turns([_nothing, _nothing, _nothing], 7)
    assert bursts == [Burst(cpu=total, wall=14) for total in (0 + 5, 1 + 4, 2 + 3)]


def _nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("number", "left_out"),
    [
        # Ranks of the interval by the binomial distribution, as tables of the sign test have them.
        (1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5), (25, 7),
    ],
)  # fmt: skip
def test_the_interval_of_a_median_is_of_order_statistics(number: int, left_out: int) -> None:
    values = [float(value) for value in reversed(range(number))]
    assert median_interval(values) == (left_out, number - 1 - left_out)


@pytest.mark.parametrize(("threads", "ratio"), [(1, 1.5), (2, 3.0)])
def test_ratios_are_of_processor_time_where_there_is_one_thread(
    threads: int, ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By the clock timm takes three times as long as ours, by the processor half as long again.
    taken = {"ours": (0.2, 0.3), "theirs": (0.3, 0.9), "twin": (0.22, 0.3)}
    _pretend(monkeypatch, taken, threads)
    updates: list[tuple[int, int]] = []
    effort = Effort(rounds=3, burst_s=1.0)
    figures = measure("mnasnet_a1", 32, 8, effort, lambda *done: updates.append(done))
    assert figures.ratio == pytest.approx(ratio)
    assert (figures.ratio_low, figures.ratio_high) == pytest.approx((ratio, ratio))
    assert figures.wall_ratio == pytest.approx(3.0)
    assert figures.twin_ratio == pytest.approx(1.1 if threads == 1 else 1.0)
    assert figures.ours_ms == pytest.approx(200.0 if threads == 1 else 300.0)
    assert figures.timm_ms == pytest.approx(300.0 if threads == 1 else 900.0)
    assert figures.steps == 5  # of 0.2 s each in a burst of a second
    assert updates == [(1, 3), (2, 3), (3, 3)]


def _pretend(
    monkeypatch: pytest.MonkeyPatch, taken: dict[str, tuple[float, float]], threads: int
) -> None:
    """Let the steps take so many seconds of the processor and by the clock."""
    now = {"cpu": 0.0, "wall": 0.0}

    def step(cpu: float, wall: float) -> Step:
        def run() -> None:
            now["cpu"] += cpu
            now["wall"] += wall

        return run

    steps = tuple(step(*seconds) for seconds in taken.values())
    monkeypatch.setattr(training_throughput, "make_steps", lambda *_: steps)
    monkeypatch.setattr(training_throughput.time, "process_time", lambda: now["cpu"])
    monkeypatch.setattr(training_throughput.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)


def test_a_summary_is_of_the_networks_of_one_size() -> None:
    figures = [
        replace(FIGURES, network="a", ratio=1.0, timm_ms=10.0),
        replace(FIGURES, network="b", ratio=1.3, timm_ms=30.0),
        replace(FIGURES, network="c", ratio=1.1, timm_ms=20.0),
        replace(FIGURES, network="a", resolution=224, ratio=0.9),
    ]
    small, large = summarise(figures)
    assert (small.network, small.resolution, large.resolution) == ("all", 32, 224)
    assert (small.ratio, small.ratio_low, small.ratio_high) == (1.1, 1.0, 1.3)
    assert small.timm_ms == 20.0
    assert large.ratio == 0.9


@pytest.mark.parametrize(
    ("ratio", "high", "expected"),
    [(1.0, 1.1, "met"), (0.99, 1.01, "met but for noise"), (0.97, 0.99, "missed")],
)
def test_the_aim_is_for_the_slowest_network(
    ratio: float, high: float, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = [FIGURES, replace(FIGURES, network="slow", ratio=ratio, ratio_high=high)]
    assert verdict(figures) == expected
    print_figures(figures, Terminal())
    printed = capsys.readouterr().out
    assert f"least: slow at 32×32, {ratio:.3f} (1.100 to {high:.3f})" in printed
    assert printed.rstrip().endswith(f"for every network: {expected}")


def test_both_networks_are_the_same_function_while_training(timm: None) -> None:
    images = torch.randn(8, 3, 1, 1) + torch.randn(8, 3, 32, 32)
    pair = build_pair(load_seed("mnasnet_a1", resolution=32), "semnasnet_100", images)
    check_same_logits(pair.ours, pair.theirs, images)
    assert pair.ours.training
    assert pair.theirs.training
    with torch.no_grad():
        next(pair.ours.blocks[3].parameters()).mul_(1.5).add_(0.1)
    with pytest.raises(RuntimeError, match=r"logits must be within .* of timm's, but are"):
        check_same_logits(pair.ours, pair.theirs, images)


class _Spare(nn.Sequential):
    """Has a layer that it does not run."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.spare = nn.Linear(1, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self[0](x)
        return out


def _convolution(kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, kernel, stride, kernel // 2))


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (_convolution(), _convolution(kernel=5), "both networks must have equal parameters"),
        (_Spare(nn.Conv2d(3, 4, 3)), _convolution(), r"have 120 \(112 in 1 layers that run\)"),
        (_convolution(), _convolution(stride=2), r"layer 0 has the stride \(2, 2\), but timm's"),
        (
            nn.Sequential(nn.BatchNorm2d(3, eps=1e-3)),
            nn.Sequential(nn.BatchNorm2d(3)),
            "layer 0 has the eps 1e-05, but timm's has 0.001",
        ),
    ],
)
def test_another_network_is_not_taken_for_the_same(
    theirs: nn.Module, ours: nn.Module, message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        carry_over(theirs, ours, torch.randn(2, 3, 8, 8))


def test_a_run_is_printed_and_recorded(
    timm: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    arguments = ["--network", "mobilenet_v3_small", "--size", "32:4", "--rounds", "1"]
    assert main([*arguments, "--burst", "0", "--record"]) == 0
    assert "mobilenet_v3_small" in capsys.readouterr().out
    with (tmp_path / "training_throughput.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["mobilenet_v3_small", "all"]
    for row in rows:
        assert (row["resolution"], row["batch"], row["rounds"], row["steps"]) == (
            "32",
            "4",
            "1",
            "1",
        )
        assert float(row["ours_ms"]) > 0
        assert float(row["ratio"]) == pytest.approx(
            float(row["timm_ms"]) / float(row["ours_ms"]), rel=2e-3
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be 1 or more, but got 0"),
        (["--burst", "-1"], "--burst must be in 0..60 seconds, but got -1"),
        (["--threads", "0"], "--threads must be in 1..1024, but got 0"),
        (["--size", "32"], "--size must be RESOLUTION:BATCH with a batch of 2 or more"),
        (["--size", "32:1"], "like 32:32, but got '32:1'"),
        (["--size", "0:2"], "resolution must be in 1..4096, but got 0"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    timm: None, arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.training_throughput: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_without_timm_the_remedy_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # its import fails as where it is missing
    assert main([]) == 2
    assert "timm must be installed" in capsys.readouterr().err
