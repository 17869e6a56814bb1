"""Tasks for tests of executors. Workers import this from outside the project, like a plug-in."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nas.executors import Channel

FOR_EVER_S = 1000


class PickyError(Exception):
    """Can be pickled, and not be made again."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name} is not {number}")


def double(number: int, channel: Channel) -> int:
    return 2 * number


def tell_lines(lines: list[str], channel: Channel) -> str:
    for line in lines:
        channel.tell(line)
    return "told"


def ask_twice(question: str, channel: Channel) -> tuple[Any, Any]:
    return channel.ask(question), channel.ask(question + " again")


def divide(number: int, channel: Channel) -> float:
    return number / 0


def be_picky(channel: Channel) -> None:
    raise PickyError("one", 2)


def leave(channel: Channel) -> None:
    sys.exit(3)


def return_function(channel: Channel) -> Any:
    return lambda: None


def tell_function(channel: Channel) -> Any:
    channel.tell(lambda: None)


def big(megabytes: int, payload: bytes, channel: Channel) -> tuple[int, bytes]:
    return len(payload), os.urandom(megabytes * 10**6)


def variable(name: str, channel: Channel) -> str | None:
    return os.environ.get(name)


def pid(channel: Channel) -> int:
    return os.getpid()


def print_and_tell(channel: Channel) -> None:
    print("printed by a task", flush=True)
    channel.tell("printed")


def take(seconds: float, channel: Channel) -> float:
    time.sleep(seconds)
    return seconds


def hang(channel: Channel) -> None:
    channel.tell(os.getpid())
    time.sleep(FOR_EVER_S)


def compute(channel: Channel) -> None:
    """In C, for a long time."""
    channel.tell(os.getpid())
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def start_another(channel: Channel) -> None:
    """A process of the task's own, and one that is forked."""
    started = subprocess.Popen(["sleep", str(FOR_EVER_S)])
    forked = os.fork()
    if forked == 0:
        time.sleep(FOR_EVER_S)
        os._exit(0)
    channel.tell((os.getpid(), started.pid, forked))
    time.sleep(FOR_EVER_S)


def hang_once(marker: Path, channel: Channel) -> str:
    is_first = not marker.exists()
    marker.touch()  # before it is killed, which may be as soon as it has told
    channel.tell(os.getpid())
    if is_first:
        time.sleep(FOR_EVER_S)
    return "second run"


def ask_in_each_run(marker: Path, channel: Channel) -> Any:
    run = 2 if marker.exists() else 1
    marker.touch()
    return channel.ask((run, os.getpid()))


def die(number: int, channel: Channel) -> None:
    os.kill(os.getpid(), number)
    time.sleep(FOR_EVER_S)


def kill_itself(channel: Channel) -> None:
    die(signal.SIGKILL, channel)


def exit_at_once(code: int, channel: Channel) -> None:
    os._exit(code)
