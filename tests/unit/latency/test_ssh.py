"""What ssh is asked to do; the contract tests do it."""

from pathlib import Path
from typing import Any

import pytest

from latency.devices import SshDevice, ssh
from latency.devices.base import DeviceError

ARGUMENTS = """#!/bin/sh
cat >/dev/null
printf '%s\\n' "$@" >"$(dirname "$0")/arguments"
echo '{"device": {"cpu": "a CPU"}}'
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``ssh`` that keeps what it was given, a line an argument."""
    (tmp_path / "ssh").write_text(ARGUMENTS)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "arguments"


def test_everything_given_arrives(stand_in: Path, tmp_path: Path) -> None:
    key = tmp_path / "a key"
    key.touch()
    device = SshDevice(
        host="lab",
        user="me",
        port=2222,
        identity=str(key),
        python="~/my env/bin/python",
        provider="CUDAExecutionProvider",
        options={"ProxyJump": "gate", "ConnectTimeout": 60},
    )
    assert device.describe() == {"device": {"cpu": "a CPU"}}
    *given, host, command = stand_in.read_text().splitlines()
    assert " ".join(given).endswith(f"-l me -p 2222 -i {key} -o IdentitiesOnly=yes --")
    assert {"BatchMode=yes", "ConnectTimeout=60", "ProxyJump=gate"} < set(given)
    assert "ConnectTimeout=10" not in given
    assert host == "lab"
    assert command.startswith("exec 'my env/bin/python' -c 'import sys; ")
    assert command.endswith("' --describe --provider CUDAExecutionProvider")
    assert device.name == "ssh-lab-cuda"


def test_what_is_not_given_is_left_to_the_settings_of_ssh(stand_in: Path) -> None:
    SshDevice(host="lab").describe()
    given = stand_in.read_text().splitlines()
    assert {"-l", "-p", "-i"}.isdisjoint(given)


def test_the_bootstrap_parses_under_old_pythons() -> None:
    """No f-string, walrus or keyword that an old one does not know."""
    code = ssh._BOOTSTRAP % ("remote.py", 1)
    assert "'" not in code
    assert "%" not in code
    assert not any(text in code for text in ('f"', ":=", "print", "nonlocal", "\n"))


def test_a_machine_without_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"^this machine has no ssh; install OpenSSH's client"):
        SshDevice(host="lab").describe()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": "-oProxyCommand=x"}, "^host must be a name or an address, .* got '-oProxyComm"),
        ({"host": "me@lab"}, r"^host must be .* \(user and port are fields of their own\), but"),
        ({"host": ""}, "^host must be a name"),
        ({"user": "-x"}, "^user must be a name or a path, but got '-x'$"),
        ({"python": None}, "^python must be a name or a path, but got None$"),
        ({"folder": "a\nb"}, "^folder must be a name or a path"),
        (
            {"identity": "/nowhere/key"},
            "^identity must be the file of a private key, but got '/now",
        ),
        ({"port": 0}, r"^port must be an integer in 1\.\.65535, but got 0$"),
        ({"port": "22"}, r"^port must be an integer in 1\.\.65535, but got '22'$"),
        ({"options": ["ProxyJump=gate"]}, r"^options must be names and values .* but got \['Proxy"),
        (
            {"options": {"BatchMode": True}},
            "^options must be names .* but got {'BatchMode': True}$",
        ),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SshDevice(**{"host": "lab"} | fields)
