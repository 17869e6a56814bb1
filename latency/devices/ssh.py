"""A device that is reached over ssh, with Python, numpy and onnxruntime on it and nothing of ours.

The system's own ``ssh`` is run, so keys, jumps and all other settings of ``~/.ssh/config`` hold.
"""

import contextlib
import hashlib
import json
import platform
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import latency.profile
from latency.devices import remote
from latency.devices.base import DeviceError, device_name
from latency.devices.conversation import Conversation
from latency.devices.process import failure_reason
from latency.devices.table_copy import TableCopy
from latency.plan import Progress
from latency.profile import CPU_PROVIDER, Plan, ProfileError, table_header

DESCRIBE_SECONDS = 120.0
_NOT_EXECUTABLE, _NOT_FOUND, _SSH_FAILED = 126, 127, 255

_OPTIONS = {
    "BatchMode": "yes",  # asks for nothing
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}

# Must parse under every Python that may be there. Nothing in the home folder is to be imported.
_BOOTSTRAP = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "sys.version_info < (3, 11) and "
    'sys.exit("Python " + sys.version.split()[0] + " is too old"); '
    '__file__ = "%s"; '
    'exec(compile(sys.stdin.buffer.read(%d), __file__, "exec"))'
)

_REACH_REMEDIES = {
    r"Could not resolve hostname": "check device.host",
    r"Permission denied|Too many authentication failures": (
        "have the key accepted there (`ssh-copy-id`), or give another device.identity or "
        "device.user; passwords are not asked for"
    ),
    r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED": (
        "log in once by hand and check the device's host key"
    ),
    r"refused|timed out|unreachable|No route": (
        "see that it is switched on and runs an ssh server at device.port"
    ),
}
_RUN_REMEDIES = {
    r"No module named": (
        "install numpy and onnxruntime there, or give the path of a Python that has them in "
        "device.python"
    ),
    r"is too old": "give the path of Python 3.11 or newer in device.python",
    r"No space left|quota exceeded": "free some space there, or give another device.folder",
    r"Permission denied|Read-only file system|Not a directory": "give another device.folder",
}


@dataclass(frozen=True, kw_only=True)
class SshDevice:
    """Measures on a machine that ssh reaches without a password.

    Attributes:
        host: its name, address, or entry in ``~/.ssh/config``.
        user, port, identity: as ssh takes them from its own settings where they are None;
            ``identity`` is the file of a private key.
        python: the interpreter there, by name or by a path, relative to the home folder or not.
        folder: where files are kept there while a measurement is unfinished.
        provider: the execution provider of onnxruntime that runs the graphs.
        options: further options of ssh by name, as in ``{"ProxyJump": "gateway"}``.
    """

    host: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    python: str = "python3"
    folder: str = ".cache/chronas"
    provider: str = CPU_PROVIDER
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not re.fullmatch(r"[\w:][\w.:%-]*", self.host):
            raise ValueError(
                "host must be a name or an address, like device.host=raspberrypi (user and port "
                f"are fields of their own), but got {self.host!r:.80}"
            )
        for name in ("user", "identity", "python", "folder"):
            value = getattr(self, name)
            if value is None and name in ("user", "identity"):
                continue
            # What begins with a dash would be an option.
            if not isinstance(value, str) or not re.fullmatch(r"[^-\s][^\0\r\n]*", value):
                raise ValueError(f"{name} must be a name or a path, but got {value!r:.80}")
        if self.identity is not None and not Path(self.identity).expanduser().is_file():
            raise ValueError(
                f"identity must be the file of a private key, but got {self.identity!r}"
            )
        if self.port is not None and (type(self.port) is not int or not 1 <= self.port <= 65535):
            raise ValueError(f"port must be an integer in 1..65535, but got {self.port!r:.80}")
        if not isinstance(self.options, Mapping) or not all(
            str(name).isalnum() and type(value) in (str, int)
            for name, value in self.options.items()
        ):
            raise ValueError(
                "options must be names and values of ssh's options, like "
                f"+device.options.ProxyJump=gateway, but got {self.options!s:.80}"
            )

    @property
    def name(self) -> str:
        return device_name(f"ssh-{self.host}", self.provider)

    @property
    def is_live(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        return dict(self._description)

    @cached_property
    def _description(self) -> dict[str, Any]:
        script = Path(latency.profile.__file__)
        arguments = ["--describe", "--provider", self.provider]
        with tempfile.TemporaryFile() as errors:
            with self._started(script, arguments, errors) as process:
                try:
                    answer, _ = process.communicate(script.read_bytes(), DESCRIBE_SECONDS)
                except subprocess.TimeoutExpired:
                    raise DeviceError(
                        f"{self.host} did not say within {DESCRIBE_SECONDS:.0f} s what it is; see "
                        f"how long `{self.python} -c 'import onnxruntime'` takes there"
                    ) from None
                finally:
                    process.kill()
            if process.returncode:
                raise self._failure(errors, process.returncode, reached=False)
        # What a log-in shell prints comes first.
        with contextlib.suppress(ValueError, IndexError):
            description = json.loads(answer.splitlines()[-1])
            if isinstance(description, dict):
                return description
        raise self._no_python(f"answered {answer[-60:]!r}")

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        try:
            with Plan(plan) as checked:
                header = table_header(checked, self.describe())
        except ProfileError as error:
            raise DeviceError(str(error)) from None
        copy = TableCopy(table, header)
        files = {
            remote.SCRIPT: Path(latency.profile.__file__).read_bytes(),
            remote.PLAN: plan.read_bytes(),
            remote.TABLE: copy.content,
        }
        request = {
            "folder": f"{self.folder}/{_folder_name(table, header)}",
            "arguments": ["--provider", self.provider],
            "files": {name: len(content) for name, content in files.items()},
        }
        script = Path(remote.__file__)
        words = [script.read_bytes(), json.dumps(request).encode() + b"\n", *files.values()]
        with tempfile.TemporaryFile() as errors:
            with self._started(script, [], errors) as process:
                conversation = Conversation(process, words, copy)
                conversation.run(on_progress)
            if not conversation.complete:
                raise self._failure(errors, process.returncode, reached=conversation.reached)

    def _started(
        self, script: Path, arguments: Sequence[str], errors: BinaryIO
    ) -> subprocess.Popen[bytes]:
        """Python there, about to read the script and whatever else from its input."""
        code = _BOOTSTRAP % (script.name, script.stat().st_size)
        # A path from ~ and one from the folder that ssh begins in are the same.
        python = [self.python.removeprefix("~/"), "-c", code, *arguments]
        command = ["ssh", *self._options(), "--", self.host, f"exec {shlex.join(python)}"]
        try:
            # In a session of its own a Ctrl-C reaches only this process, which then ends it in
            # good order.
            return subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise DeviceError(
                "this machine has no ssh; install OpenSSH's client (openssh-client)"
            ) from None

    def _options(self) -> Iterator[str]:
        for name, value in (_OPTIONS | dict(self.options)).items():
            yield from ("-o", f"{name}={value}")
        if self.user is not None:
            yield from ("-l", self.user)
        if self.port is not None:
            yield from ("-p", str(self.port))
        if self.identity is not None:
            yield from ("-i", str(Path(self.identity).expanduser()), "-o", "IdentitiesOnly=yes")

    def _failure(self, errors: BinaryIO, code: int, *, reached: bool) -> DeviceError:
        reason = failure_reason(errors, code)
        if code == _SSH_FAILED and reached:
            return DeviceError(
                f"the connection to {self.host} was lost, or what measures there was killed "
                f"({reason}); what is measured is kept, give the same command again"
            )
        if code == _SSH_FAILED:
            remedy = _remedy(_REACH_REMEDIES, reason) or f"see that `ssh {self.host}` works"
            return DeviceError(f"cannot reach {self.host} over ssh: {reason}; {remedy}")
        if not reached and code in (0, _NOT_EXECUTABLE, _NOT_FOUND):
            return self._no_python(reason)
        remedy = _remedy(_RUN_REMEDIES, reason)
        return DeviceError(f"measuring on {self.host} failed: {reason}{remedy and f'; {remedy}'}")

    def _no_python(self, reason: str) -> DeviceError:
        return DeviceError(
            f"{self.python!r} is no Python on {self.host}: {reason}; give the path of one that "
            "has numpy and onnxruntime in device.python"
        )


def _remedy(remedies: Mapping[str, str], reason: str) -> str:
    return next((text for pattern, text in remedies.items() if re.search(pattern, reason)), "")


def _folder_name(table: Path, header: dict[str, Any]) -> str:
    """Of one table of this machine, measured on and with one thing; two never meet there."""
    identity = json.dumps([platform.node(), str(table.resolve()), header], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
