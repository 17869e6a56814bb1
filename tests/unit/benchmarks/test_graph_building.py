import dataclasses

import pytest
import torch

from benchmarks import graph_building
from benchmarks.graph_building import Case, Figures, check_same_output, make_cases, summarise


@pytest.fixture(scope="module")
def case() -> Case:
    return next(case for case in make_cases() if "ShuffleV2Unit" in case.label)


def test_all_four_graphs_give_the_output_of_the_module(case: Case) -> None:
    assert check_same_output(case, threads=1) <= graph_building.TOLERANCE


def test_a_graph_of_something_else_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    inline = graph_building.BUILDERS[1]
    wrong_epsilon = dataclasses.replace(
        inline, build=lambda case: inline.build(dataclasses.replace(case, norm_epsilon=0.5))
    )
    monkeypatch.setattr(graph_building, "BUILDERS", (wrong_epsilon,))
    with pytest.raises(RuntimeError, match="the inline graph must be within"):
        check_same_output(case, threads=1)


def test_speed_ups_are_against_the_faster_exporter() -> None:
    figures = [
        Figures(label="a", weightless_ms=1, inline_ms=2, torchscript_ms=20, dynamo_ms=900),
        Figures(label="b", weightless_ms=2, inline_ms=4, torchscript_ms=80, dynamo_ms=60),
    ]
    summary = summarise(figures)
    assert summary["weightless_speedup"] == 25
    assert summary["weightless_speedup_min"] == 20
    assert summary["inline_speedup_min"] == 10
    assert summary["torchscript_ms"] == 50


def test_statistics_are_those_of_a_trained_network(case: Case) -> None:
    norms = [m for m in case.module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.running_mean is not None and norm.running_mean.std() > 0 for norm in norms)
