"""Bad input ends in one clear line and exit code 2, and leaves nothing behind."""

import json
from pathlib import Path

import pytest


def _refused(done, *words: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    errors = done.stderr.strip()
    assert errors.startswith("error: "), errors
    assert "\n" not in errors
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in errors, errors


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("target_latency=15", ("no unit", "target_latency=15ms")),
        ("target_latency=0ms", ("target_latency", "above 0", "'0ms'")),
        ("target_latency=abc", ("target_latency", "us, ms or s", "'abc'")),
        ("space=nosuch", ("space/nosuch", "mnasnet mobilenet_v3")),
        ("sampler=nosuch", ("sampler/nosuch", "random tpe")),
        ("reward=nosuch", ("reward/nosuch", "hard")),
        ("trials=-1", ("trials", "1..1000000", "-1")),
        ("nosuch=1", ("nosuch",)),
        ("name=../up", ("name", "../up")),
        ("measure.threads=0", ("threads", "got 0")),
        ("final.epochs=many", ("epochs", "'many'")),
        ("evaluator.settings.learning_rate=-1", ("learning_rate", "-1")),
        ("reward.beta=2", ("reward.beta", "2")),
        ("storage=mysql://db/s", ("storage must be sqlite:///FILE", "mysql://db/s")),
        ("storage=sqlite://a:b/x.db", ("storage on SQLite must be a file", "sqlite://a:b/x.db")),
        ("pruner=null", ("pruner must be one of hyperband, median, none, but got null",)),
        ("executor=4", ("executor must be one of local, ray, threads, but got 4",)),
        ("~sampler", ("sampler is missing", "lookup_aware")),
        ("pruner._target_=optuna.pruners.Nope", ("pruner", "optuna.pruners.Nope")),
    ],
)
def test_a_setting_that_cannot_be(
    tmp_path: Path, search_command, run_command, override: str, words: tuple[str, ...]
) -> None:
    _refused(run_command(search_command(override)), *words)
    assert not list(tmp_path.iterdir())


def test_a_sweep_over_a_group_that_is_given_no_name(
    tmp_path: Path, search_command, run_command
) -> None:
    done = run_command(search_command("pruner=median,null", "-m"))
    _refused(done, "pruner must be one of hyperband, median, none, but got median,null")


def test_an_unknown_base_network(tmp_path: Path, search_command, run_command) -> None:
    done = run_command(search_command("space=mnasnet", "space.base=mnasnet_a2"))
    _refused(done, "no seed 'mnasnet_a2'", "mnasnet_a1")
    assert not list(tmp_path.iterdir())


def test_a_target_is_missing(tmp_path: Path, search_command, run_command) -> None:
    command = [a for a in search_command() if not a.startswith("+target_latency")]
    _refused(run_command(command), "target_latency is missing", "target_latency=15ms")
    assert not list(tmp_path.iterdir())


def test_a_setting_is_missing(tmp_path: Path, search_command, run_command) -> None:
    given = search_command("evaluator=table")
    command = [argument for argument in given if "evaluator.settings" not in argument]
    _refused(run_command(command), "evaluator.file is missing", "give evaluator.file=…")
    assert not list(tmp_path.iterdir())


def test_a_run_folder_that_cannot_be_written(tmp_path: Path, search_command, run_command) -> None:
    (tmp_path / "file").write_text("")
    done = run_command(search_command(f"runs={tmp_path}/file"))
    _refused(done, f"{tmp_path}/file/run", "cannot be written", "runs=")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_targets_out_of_reach_and_tables_that_do_not_hold(
    tmp_path: Path, search_command, run_command
) -> None:
    given = search_command("target_latency=1us", "sampler=nsga2", "pruner=median")
    impossible = run_command(given)
    _refused(impossible, "target_latency=0.001ms cannot be met", " ms on this device")
    assert "the pruner ends nothing early here" in impossible.stdout
    table = tmp_path / "table.jsonl"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [table.name]
    assert not (tmp_path / "runs" / "run").exists()

    # What is seen only when there is a table leaves no run behind either.
    refused = run_command(search_command("sampler.fresh=0"))
    _refused(refused, "sampler.fresh must be an integer in 1..100000", "got 0")
    refused = run_command(search_command("storage=postgresql://me:secret@127.0.0.1:9/s"))
    _refused(refused, "postgresql://me:***@127.0.0.1:9/s")
    assert not (tmp_path / "runs" / "run").exists()

    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines[:3], lines[3][:20] + "\n", *lines[4:]]))
    _refused(run_command(search_command()), str(table), "line 4", "delete the line")

    header = json.loads(lines[0])
    header["device"]["cpu"] = "another one"
    table.write_text("".join([json.dumps(header) + "\n", *lines[1:]]))
    _refused(run_command(search_command()), str(table), "another one")
    assert not (tmp_path / "runs" / "run").exists()
