"""The command line: what it takes, and mistakes in one line."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency.explain.command import folder_name, main, named_networks, roles_in
from latency.keys import network_boundaries, network_key, network_keys
from latency.plan import CALIBRATION
from search_spaces.architecture import Architecture
from search_spaces.seeds import load_seed


def options(*networks: str, seed: tuple[str, ...] = (), **fields: object) -> argparse.Namespace:
    given = {"arch": [], "resolution": None, "num_classes": None, **fields}
    return argparse.Namespace(networks=list(networks), seed=list(seed), **given)


def test_networks_are_seeds_and_files_in_any_notation(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    mine = Architecture.from_yaml(load_seed("mobilenet_v1").to_yaml()).with_resolution(64)
    path.write_text(mine.to_yaml())
    seed = load_seed("mnasnet_a1")
    assert named_networks(options(f"arch={path}", "arch=mnasnet_a1")) == [mine, seed]
    assert named_networks(options("arch=mnasnet_a1", arch=[path])) == [mine, seed]
    (wide,) = named_networks(options("arch=mnasnet_a1:1.5", resolution=[96]))
    assert wide == load_seed("mnasnet_a1", 1.5, resolution=96)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to explain; give one or two of --seed, --arch and arch=NAME_OR_FILE"),
        (["--seed", "mnasnet_a1"] * 3, "one or two networks are explained, but got 3"),
        (["arch=mnasnet_a1", "--seed", "mnasnet_a1"], "are the same; give one of them"),
        (["mnasnet_a1"], "a network is given as arch=NAME_OR_FILE, but got 'mnasnet_a1'"),
        (["arch="], "a network is given as arch=NAME_OR_FILE, but got 'arch='"),
        (["arch=mnasnet"], "there is no seed 'mnasnet'; did you mean"),
        (["arch=missing.yaml"], "No such file or directory: 'missing.yaml'"),
        (["arch=mnasnet_a1", "--device", "moon"], "--device must be"),
        (["--claims", "--runs", "0"], "runs must be an integer in"),
        (["--claims", "--resolution", "160,224"], "at one --resolution, but got 160,224"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.jsonl"
    assert main([*arguments, "--table", str(table)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("latency.explain: error: ")
    assert output.err.count("\n") == 1
    assert message in output.err
    assert not table.exists()


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (["a"], "a"),
        (["mobilenet_v3_large_x0.75", "b"], "mobilenet_v3_large_x0_75_vs_b"),
        (["../../etc"], "______etc"),
        (["n" * 300], "n" * 100),
        ([], "claims"),
    ],
)
def test_a_folder_has_a_harmless_name(names: list[str], folder: str) -> None:
    blocks = load_seed("mobilenet_v1").blocks
    assert folder_name([Architecture(name=name, blocks=blocks) for name in names]) == folder


def test_a_network_keeps_the_role_that_it_has_in_the_table(
    tmp_path: Path, make_header: Callable[..., Any], make_visit: Callable[..., Any]
) -> None:
    fitted, other = load_seed("mobilenet_v1"), load_seed("mobilenet_v2")
    path = tmp_path / "table.jsonl"
    assert roles_in(path, [fitted, other]) == {fitted: "", other: ""}
    visit = make_visit(
        network_key(fitted),
        2.0,
        role=CALIBRATION,
        parts=network_keys(fitted),
        boundaries=network_boundaries(fitted),
    )
    path.write_text(f"{json.dumps(make_header())}\n{json.dumps(visit)}\n")
    assert roles_in(path, [fitted, other]) == {fitted: CALIBRATION, other: ""}
