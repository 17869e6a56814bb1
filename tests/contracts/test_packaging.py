"""What the files around the code promise: pins, commands, the table of dependencies."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(r) for r in [*project["dependencies"], *(r for e in extras for r in e)]]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
class TestRequirement:
    def test_is_pinned_within_its_bounds(self, requirement: Requirement) -> None:
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])

    def test_is_explained_in_the_table_of_dependencies(self, requirement: Requirement) -> None:
        text = (ROOT / "docs" / "architecture.md").read_text()
        names = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
        assert any(requirement.name.lower() in re.findall(r"[\w-]+", n.lower()) for n in names)


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """make as a person calls it, even where make runs the tests and leaves its variables behind."""
    inherited = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS", "TARGET", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=environment, check=False, capture_output=True, text=True
    )


def test_pins_are_those_of_a_public_index() -> None:
    assert not [version for version in pins().values() if "+" in version]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["search"], "nas.search +target_latency=15ms"),
        (["search", "TARGET=9ms", "ARGS=a=1"], "nas.search +target_latency=9ms a=1"),
        (["test", "ARGS=-k onnx"], "pytest -n 2 --dist loadfile -k onnx"),
    ],
)
def test_make_ends_in_the_command(arguments: list[str], command: str) -> None:
    printed = make("--dry-run", *arguments).stdout
    assert printed.splitlines()[-1].strip().endswith(command)


def test_make_says_what_is_missing_where_no_python_will_do(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    run = make("search", "PYTHON=no-such-python", cwd=tmp_path)
    assert run.returncode != 0
    assert "Python >= 3.11" in run.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_the_gate() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "exec make test" in script.read_text()
