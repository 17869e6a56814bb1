import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from nas.storage import open_storage
from nas.storage_proxy import main

REPOSITORY = Path(__file__).parents[3]
pytest.importorskip("grpc")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mysql://me:secret@db/studies"], "storage must be sqlite:///FILE, postgresql://"),
        (["sqlite:////no/such/folder/study.db"], "cannot be opened and written"),
        (["sqlite:///study.db", "--port", "0"], "--port must be in 1..65535, but got 0"),
        (["sqlite:///study.db", "--threads", "0"], "--threads must be in 1..1000, but got 0"),
        (["sqlite:///study.db", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--port", str(free_port()), "--storage", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nas.storage_proxy: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert "secret" not in error
    assert list(tmp_path.iterdir()) == []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_a_port_that_is_taken_is_not_shared(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        assert main(["--storage", "sqlite:///study.db", *where]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"nas.storage_proxy: error: --port {port} of 127.0.0.1 cannot be listened at (Address "
        "already in use); give another\n"
    )


def test_it_says_when_it_serves_and_ends_with_the_interrupt(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "study.db"
    command = [sys.executable, "-m", "nas.storage_proxy", "--storage", f"sqlite:///{path}"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes) as process:  # type: ignore[call-overload]
        ready = f"serving sqlite:///{path} at grpc://127.0.0.1:{port}\n"
        assert process.stdout.readline() == ready
        storage = open_storage(f"grpc://127.0.0.1:{port}", tmp_path)
        study = optuna.create_study(storage=storage, study_name="study")
        study.tell(study.ask(), 0.5)
        storage.close()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("", "stopped\n")
    found = optuna.load_study(storage=open_storage(None, path), study_name="study")
    assert [trial.value for trial in found.trials] == [0.5]
