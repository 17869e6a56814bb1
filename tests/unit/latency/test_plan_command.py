"""``python -m latency.plan``: what it writes, says and refuses."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from latency.context import After
from latency.keys import block_key, boundary_key, network_boundaries, network_key, network_keys
from latency.options import SPACES
from latency.plan import whole_networks
from latency.plan_command import main
from latency.profile import Plan
from latency.reach import reachable_steps
from search_spaces import load_seed
from search_spaces.spaces import SearchSpace

REPOSITORY = Path(__file__).parents[3]


def test_a_spaces_plan_holds_every_reachable_block_its_boundaries_and_whole_networks(
    tmp_path: Path, wider_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPACES, "mnasnet", lambda: wider_space)
    path = tmp_path / "space.plan"
    assert main(["--space", "mnasnet", "--threads", "2", "--out", str(path)]) == 0
    with Plan(path) as plan:
        keys = {entry["key"] for entry in plan.entries}
        roles = {entry["key"]: entry["role"] for entry in plan.entries if "role" in entry}
        assert plan.threads == 2
    networks, steps = whole_networks(wider_space), reachable_steps(wider_space)
    inner = [(shape, after) for _, shape, after in steps if after is not After.IMAGE]
    assert keys == {
        *(block_key(*step) for step in steps),
        *(boundary_key(*place) for place in inner),
        *(network_key(network) for network in networks),
    }
    assert roles == {network_key(network): role for network, role in networks.items()}


def test_networks_are_seeds_with_widths_and_files(tmp_path: Path) -> None:
    path, file = tmp_path / "nets.plan", tmp_path / "net.yaml"
    named = load_seed("mobilenet_v3_small", resolution=96)
    file.write_text(named.to_yaml())
    options = ["--arch", str(file), "--seed", "shufflenet_v2_x1_0:1.5", "--seed", "mobilenet_v1"]
    assert main([*options, "--resolution", "64", "--batch", "2", "--out", str(path)]) == 0
    networks = [
        named.with_resolution(64),
        load_seed("shufflenet_v2_x1_0", 1.5, resolution=64),
        load_seed("mobilenet_v1", resolution=64),
    ]
    with Plan(path) as plan:
        assert {entry["key"] for entry in plan.entries} == {
            *(network_key(network) for network in networks),
            *(key for network in networks for key in network_keys(network)),
            *(key for network in networks for key in network_boundaries(network)),
        }
        assert {entry["input_shape"][0] for entry in plan.entries} == {2}


@pytest.mark.parametrize("name", ["two.plan", "two.jsonl", "two networks"])
def test_the_next_command_that_it_prints_works(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--seed", "mobilenet_v3_small", "--resolution", "32", "--runs", "3"]
    options += ["--min-rounds", "1", "--max-rounds", "1", "--out", str(tmp_path / name)]
    assert main(options) == 0
    said = capsys.readouterr().out
    assert "entries, " in said
    (line,) = [line for line in said.splitlines() if "profile.py " in line and "--out" in line]
    python, *arguments = shlex.split(line)
    assert python == "python"
    measured = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert measured.stderr == ""
    assert measured.returncode == 0
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give at least one of --space, --seed and --arch"),
        (["--space", "mobilenet_v4"], "invalid choice: 'mobilenet_v4' (choose from"),
        (["--seed", "mobilnet_v2"], "did you mean mobilenet_v2"),
        (["--seed", "mobilenet_v2:wide"], "with a number for WIDTH, but got 'mobilenet_v2:wide'"),
        (["--seed", "mobilenet_v2:-1"], "width"),
        (["--arch", "gone.yaml"], "gone.yaml"),
        (["--seed", "mobilenet_v2", "--base", "mnasnet_a1"], "give --space as well"),
        (["--space", "mnasnet", "--base", "shufflenet_v1_g1"], "but is a Pool"),
        (["--seed", "mobilenet_v2", "--threads", "0"], "threads must be an integer in 1..1024"),
        (["--seed", "mobilenet_v2", "--batch", "many"], "--batch: invalid int value: 'many'"),
        (["--seed", "mobilenet_v2", "--affinity", "first"], "cores like 0 or 2,3, but got 'first'"),
        (["--seed", "mobilenet_v2", "--runs", "1"], "runs must be an integer in 3..1000"),
        (["--seed", "mobilenet_v2", "--resolution", "0"], "resolution must be in 1..4096"),
        (["--seed", "mobilenet_v2", "--num-classes", "0"], "num_classes must be in 1..65536"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_exit_code_2(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main([*options, "--out", str(tmp_path / "plan")])
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("latency.plan: error: ")
    assert message in error
    assert not list(tmp_path.iterdir())


def test_what_is_no_plan_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text("measured for hours\n")
    assert main(["--seed", "mobilenet_v2", "--out", str(path)]) == 2
    assert "give another name for the plan" in capsys.readouterr().err
    assert path.read_text() == "measured for hours\n"
