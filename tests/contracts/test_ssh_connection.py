"""Connections that break, and machines that cannot be measured on."""

import shlex
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import latency.profile
from latency.context import After
from latency.devices import conversation, remote, ssh
from latency.devices.base import DeviceError
from latency.plan import MeasureSettings, entry_builders, no_progress, write_plan
from latency.profile import parse_table
from search_spaces.blocks import Block, ConvNormAct
from search_spaces.shapes import TensorShape

ROUNDS = 4
SETTINGS = MeasureSettings(runs=3, min_rounds=ROUNDS, max_rounds=ROUNDS)
LONG_SETTINGS = MeasureSettings(runs=3, min_rounds=500, max_rounds=500)
STEPS: list[tuple[Block, TensorShape, After]] = [
    (ConvNormAct(out_channels=channels, kernel=3), TensorShape(4, 8, 8), After.IMAGE)
    for channels in range(8, 16)
]
BUILDERS = entry_builders(STEPS, {}, SETTINGS)
VISITS = ROUNDS * len(BUILDERS)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of measurement, or a few."""
    return _plan(tmp_path_factory.mktemp("plans") / "plan", SETTINGS)


def _plan(path: Path, settings: MeasureSettings) -> Path:
    write_plan(path, list(BUILDERS.values()), settings, no_progress)
    return path


@pytest.fixture(autouse=True)
def _progress_without_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _bend(latency.profile, "HEARTBEAT_SECONDS = 1.5", 0.02, tmp_path, monkeypatch)
    monkeypatch.setattr(conversation, "SAVE_SECONDS", 0.0)


def _bend(
    module: ModuleType, line: str, value: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have the module with another constant sent to the device."""
    code = Path(str(module.__file__)).read_text()
    assert f"\n{line}\n" in code
    bent = folder / Path(str(module.__file__)).name
    bent.write_text(code.replace(f"\n{line}\n", f"\n{line.split()[0]} = {value}\n"))
    monkeypatch.setattr(module, "__file__", str(bent))


def _once_under_way(act: Callable[[], None]) -> Callable[[int, int], None]:
    """Progress that acts once, when something is measured and something is not."""
    acted = threading.Event()

    def on_progress(done: int, total: int) -> None:
        if 0 < done < total and not acted.is_set():
            acted.set()
            act()

    return on_progress


def _interrupt() -> None:
    raise KeyboardInterrupt


def _lines(table: Path) -> list[bytes]:
    """The whole lines of a table."""
    return table.read_bytes().split(b"\n")[:-1]


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _check_complete(table: Path, held: list[bytes]) -> None:
    """Every entry as often as planned, and among the visits, once, all that was held."""
    records = parse_table(table, table.read_bytes())
    counts = Counter(record["key"] for record in records[1:])
    assert counts == dict.fromkeys(BUILDERS, ROUNDS)
    assert set(held) <= set(_lines(table))


def test_a_connection_that_is_cut(ssh_login: Any, plan: Path, tmp_path: Path) -> None:
    table, device = tmp_path / "table.jsonl", ssh_login.device()
    cut = _once_under_way(lambda: ssh_login.signal_sessions(signal.SIGKILL))
    with pytest.raises(
        DeviceError, match=r"^the connection to 127\.0\.0\.1 was lost, or"
    ) as caught:
        device.measure(plan, table, cut)
    assert "\n" not in str(caught.value)
    _wait_until(lambda: not ssh_login.processes())
    (unfinished,) = ssh_login.remote_tables()
    here, there = _lines(table), _lines(unfinished)
    assert 1 < len(here) <= len(there) <= VISITS
    assert here == there[: len(here)]
    device.measure(plan, table, no_progress)
    assert _lines(table)[: len(here)] == here
    _check_complete(table, there)
    assert ssh_login.remote_tables() == []


def test_a_connection_that_goes_silent(
    ssh_login: Any, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a cable is pulled: neither end is told, and no process ends."""
    _bend(remote, "LEASE_SECONDS = 15", 2, tmp_path, monkeypatch)
    monkeypatch.setattr(conversation, "SIGN_SECONDS", 0.2)
    table = tmp_path / "table.jsonl"
    device = ssh_login.device()
    device = ssh_login.device(options={**device.options, "ServerAliveInterval": 1})
    stop = _once_under_way(lambda: ssh_login.signal_sessions(signal.SIGSTOP))
    try:
        with pytest.raises(DeviceError, match=r"was lost, .*give the same command again$"):
            device.measure(_plan(tmp_path / "long", LONG_SETTINGS), table, stop)
        _wait_until(lambda: not ssh_login.processes())
    finally:
        ssh_login.signal_sessions(signal.SIGKILL)
    (unfinished,) = ssh_login.remote_tables()
    there = _lines(unfinished)
    assert set(_lines(table)) <= set(there)
    device.measure(plan, table, no_progress)
    assert set(there) <= set(_lines(table))
    records = parse_table(table, table.read_bytes())
    assert min(Counter(record["key"] for record in records[1:]).values()) >= ROUNDS


def test_an_interruption_brings_what_is_finished_and_ends_the_rest(
    ssh_login: Any, plan: Path, tmp_path: Path
) -> None:
    table, device = tmp_path / "table.jsonl", ssh_login.device()
    with pytest.raises(KeyboardInterrupt):
        device.measure(plan, table, _once_under_way(_interrupt))
    _wait_until(lambda: not ssh_login.processes())
    (unfinished,) = ssh_login.remote_tables()
    held = _lines(table)
    assert 1 < len(held) <= VISITS
    assert held == _lines(unfinished)
    device.measure(plan, table, no_progress)
    _check_complete(table, held)


def test_what_ends_the_far_end_leaves_no_orphan(ssh_login: Any, plan: Path, tmp_path: Path) -> None:
    table, device = tmp_path / "table.jsonl", ssh_login.device()

    def kill() -> None:
        for pid, command in ssh_login.processes().items():
            if "remote.py" in command:
                subprocess.run(["kill", "-KILL", str(pid)], check=True)

    with pytest.raises(DeviceError, match="or what measures there was killed"):
        device.measure(plan, table, _once_under_way(kill))
    device.measure(plan, table, no_progress)
    _check_complete(table, [])
    assert not ssh_login.processes()


def test_a_device_that_was_wiped_is_given_what_was_measured(
    ssh_login: Any, plan: Path, tmp_path: Path
) -> None:
    table, device = tmp_path / "table.jsonl", ssh_login.device()
    with pytest.raises(KeyboardInterrupt):
        device.measure(plan, table, _once_under_way(_interrupt))
    held = _lines(table)
    moved = ssh_login.device(folder="~/elsewhere")
    moved.measure(plan, table, no_progress)
    assert _lines(table)[: len(held)] == held
    _check_complete(table, held)
    assert list((ssh_login.home / "elsewhere").iterdir()) == []


def test_two_tables_do_not_mix(ssh_login: Any, plan: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    device = ssh_login.device()
    for table in (first, second):
        with pytest.raises(KeyboardInterrupt):
            device.measure(plan, table, _once_under_way(_interrupt))
    assert not set(_lines(first)[1:]) & set(_lines(second)[1:])
    for table in (first, second):
        held = _lines(table)
        device.measure(plan, table, no_progress)
        _check_complete(table, held)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"host": "no-such-host.invalid"},
            r"^cannot reach no-such-host\.invalid over ssh: .*Could not resolve hostname .*; check "
            r"device\.host$",
        ),
        ({"identity": "refused_key"}, r"Permission denied \(publickey\)\.; have the key accepted"),
        ({"port": 1}, "Connection refused; see that it is switched on and runs an ssh server"),
        ({"options": {"UserKnownHostsFile": "/dev/null"}}, "verification failed.*; log in once by"),
        ({"python": "python9"}, r"^'python9' is no Python on 127\.0\.0\.1: .*python9: not found;"),
        ({"python": "/etc/passwd"}, "^'/etc/passwd' is no Python .*Permission denied; give the"),
        ({"python": "true"}, "^'true' is no Python on .*; give the path of one that has numpy"),
        ({"folder": "/etc/chronas"}, "Permission denied: '/etc/chronas'; give another device.fol"),
    ],
)
def test_a_mistake_is_one_line(
    ssh_login: Any, plan: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    if "identity" in changes:
        changes = {"identity": str(ssh_login.folder / changes["identity"])}
    with pytest.raises(DeviceError, match=message) as caught:
        ssh_login.device(**changes).measure(plan, tmp_path / "table.jsonl", no_progress)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "table.jsonl").exists()


def test_a_python_that_lacks_what_is_needed(
    ssh_login: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = ssh_login.folder / "bare"
    bare.write_text(f'#!/bin/sh\nexec {shlex.quote(ssh_login.python)} -S -E "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(DeviceError, match="No module named 'numpy'; install numpy and onnxrunt"):
        ssh_login.device(python=str(bare)).describe()
    later = ssh._BOOTSTRAP.replace("(3, 11)", "(99, 0)")
    monkeypatch.setattr(ssh, "_BOOTSTRAP", later)
    with pytest.raises(DeviceError, match=r": Python 3\.\S+ is too old; give the path of Python"):
        ssh_login.device().describe()


def test_a_disk_that_is_full(ssh_login: Any, plan: Path, tmp_path: Path) -> None:
    disk = ssh_login.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=777", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with pytest.raises(DeviceError, match=r"No space left on device.*; free some space there"):
            ssh_login.device(folder=str(disk)).measure(plan, tmp_path / "table", no_progress)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_a_log_in_shell_prints_does_no_harm(
    ssh_login: Any, plan: Path, tmp_path: Path
) -> None:
    noisy = ssh_login.folder / "noisy"
    noisy.write_text(
        "#!/bin/sh\n"
        f"echo 'Welcome!'; echo '{{\"key\": 1}}'; echo 'measured 9/9 visits'; printf 'Bye\\n'\n"
        f'exec {shlex.quote(ssh_login.python)} "$@"\n'
    )
    noisy.chmod(0o755)
    device = ssh_login.device(python=str(noisy))
    assert device.describe() == ssh_login.device().describe()
    steps: list[tuple[int, int]] = []
    table = tmp_path / "table.jsonl"
    device.measure(plan, table, lambda *step: steps.append(step))
    assert (9, 9) not in steps
    _check_complete(table, [])
