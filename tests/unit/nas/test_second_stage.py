"""What the second stage of a search is told."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from latency.console import Terminal
from nas import second_stage
from nas.second_stage import SecondStage, shared_arguments, shave_winners


def _plain(**settings: Any) -> dict[str, Any]:
    plain = {"netadapt": True, "headroom": 1.25, "handover": True, "measure": {"precision": "fp32"}}
    return plain | settings


def test_by_default_there_is_none() -> None:
    assert SecondStage.of(_plain(netadapt=False)) is None
    assert SecondStage.of(_plain()) == SecondStage(settings={}, headroom=1.25)
    given = {"steps": 100, "tune": {"ema_decay": 0.9}, "executor": {"workers": 2}}
    stage = SecondStage.of(_plain(netadapt=given))
    assert stage is not None
    assert stage.settings == given


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"netadapt": "yes"}, "netadapt must be false, true, or settings .* 'yes'"),
        ({"headroom": 1}, r"headroom must be a number in 1\.01\.\.10, but got 1"),
        ({"handover": False}, "needs handover=true"),
        ({"netadapt": {"stesp": 9}}, r"netadapt has no setting 'stesp'; .* among .*, steps, "),
        (
            {"netadapt": {"tune": {"ema_deacy": 0.9}}},
            r"netadapt has no setting 'tune\.ema_deacy'; .*, ema_decay, ",
        ),
        ({"measure": {"precision": "int8"}}, r"measure\.precision must be fp32 .* got 'int8'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SecondStage.of(_plain(**settings))


def test_it_is_told_what_both_stages_have() -> None:
    given = [
        "target_latency=15ms", "seed=3", "data=mine", "+data.size=2", "executor.workers=2",
        "++measure.threads=2", "runs=/tmp/runs", "table=t.jsonl", "space=mnasnet", "trials=3",
        "name=a", "final.epochs=9", "seedling=1", "+training@final=modern",
        "+training@evaluator.settings=modern",
    ]  # fmt: skip
    assert shared_arguments(given, ["/home/me/conf"]) == [
        "--config-dir=/home/me/conf", "random_seed=3", "data=mine", "+data.size=2",
        "executor.workers=2", "++measure.threads=2", "runs=/tmp/runs", "table=t.jsonl",
        "final.epochs=9", "+training@final=modern",
    ]  # fmt: skip


def test_each_winner_is_shaved_to_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> int:
        commands.append(command[1:])
        return 2 if len(commands) == 1 else 0

    monkeypatch.setattr(second_stage, "_run", run)
    stage = SecondStage(settings={"steps": 100}, headroom=1.25)
    winners = {10.0: Path("runs/a/10ms"), 20.0: Path("runs/a/20ms")}
    assert shave_winners(stage, "a", winners, ["data=mine"], Terminal()) == 2
    assert commands == [
        [
            "-m", "netadapt.run", "data=mine", f"from=runs/a/{search}ms",
            f"name=netadapt_a_{target}ms", f"target_latency={target}ms", "++steps=100",
        ]
        for search, target in ((10, 8), (20, 16))
    ]  # fmt: skip
    assert shave_winners(stage, "a", {10.0: Path("runs/a")}, [], Terminal()) == 0
    assert "name=netadapt_a" in commands[-1]


def test_its_settings_are_written_as_hydra_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(second_stage, "_run", lambda command: commands.append(command) or 0)
    settings = {"weights": None, "kinds": ["expansion", "depth"], "tune": {"epochs": 2}}
    stage = SecondStage(settings=settings, headroom=1.25)
    shave_winners(stage, "a", {10.0: Path("runs/a")}, [], Terminal())
    overrides = OverridesParser.create().parse_overrides(commands[0][-3:])
    assert {each.key_or_group: each.value() for each in overrides} == {
        "weights": None, "kinds": ["expansion", "depth"], "tune.epochs": 2,
    }  # fmt: skip
