"""The local device: what becomes of the process that measures."""

import os
from pathlib import Path

import pytest

import latency.profile
from latency.devices import LocalDevice
from latency.devices.base import DeviceError

PLAN, TABLE = Path("a.plan"), Path("a.jsonl")


def _stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    script = folder / "profile.py"
    script.write_text(code)
    monkeypatch.setattr(latency.profile, "__file__", str(script))


def test_a_flood_of_errors_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(
        monkeypatch,
        tmp_path,
        "import sys\n"
        "for _ in range(20_000): print('a warning of the runtime', file=sys.stderr)\n"
        "print('measured 1/1 entries, 0 s left')\n",
    )
    seen: list[tuple[int, int]] = []
    LocalDevice().measure(PLAN, TABLE, lambda *step: seen.append(step))
    assert seen == [(1, 1)]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('a\\nprofile.py: error: no such plan')", "failed: no such plan$"),
        ("import sys; sys.exit(3)", "failed: profile.py ended with exit code 3$"),
        ("import os; os.kill(os.getpid(), 9)", "failed: profile.py ended with SIGKILL$"),
    ],
)
def test_a_failure_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    _stand_in(monkeypatch, tmp_path, code)
    with pytest.raises(DeviceError, match=message):
        LocalDevice().measure(PLAN, TABLE, lambda *_: None)


@pytest.mark.parametrize("deaf", [False, True])
def test_an_interruption_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    monkeypatch.setattr("latency.devices.local._STOP_SECONDS", 0.2)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    _stand_in(
        monkeypatch,
        tmp_path,
        f"{ignore}import os, time\nprint('measured', f'{{os.getpid()}}/1', flush=True)\n"
        "time.sleep(600)\n",
    )
    pids: list[int] = []

    def interrupted(pid: int, _: int) -> None:
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalDevice().measure(PLAN, TABLE, interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
