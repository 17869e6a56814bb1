"""The inside of a worker process: it runs one task after the other, for as long as it lives."""

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

from nas.executors.base import Asked, Call, Failed, Finished, TaskError, Told

Said: TypeAlias = tuple[type[Told | Asked | Finished | Failed], Any]
"""What a worker sends, pickled: the kind of an event, and what it is about."""

READY = b""
"""What a worker sends first, once."""


def serve(receive: Callable[[], bytes], send: Callable[[bytes], None]) -> None:
    """Run what ``receive`` gives: pickled calls, and after a question its answer."""
    channel = _Channel(receive, send)
    send(READY)
    while True:
        send(_outcome(receive(), channel))


def main(handle: int) -> None:
    """Serve the process at the other end of a socket, and end with it, whatever runs then."""
    # A Ctrl-C is for the other end to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(handle)
    os.set_inheritable(handle, False)
    # What a task forks must not keep the connection open when this process has died.
    os.register_at_fork(after_in_child=connection.close)
    inbox = SimpleQueue[bytes]()
    Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    try:
        serve(inbox.get, connection.send_bytes)
    finally:
        _end()


class _Channel:
    def __init__(self, receive: Callable[[], bytes], send: Callable[[bytes], None]) -> None:
        self._receive = receive
        self._send = send

    def tell(self, message: Any) -> None:
        self._send(_packed((Told, message)))

    def ask(self, message: Any) -> Any:
        self._send(_packed((Asked, message)))
        return pickle.loads(self._receive())  # noqa: S301


def _packed(said: Said) -> bytes:
    return pickle.dumps(said, pickle.HIGHEST_PROTOCOL)


def _outcome(task: bytes, channel: _Channel) -> bytes:
    try:
        call = _loaded(task)
        del task  # it may be large
        return _packed((Finished, call(channel)))
    # A task may also call sys.exit.
    except BaseException as error:
        return _failure(error)


def _loaded(task: bytes) -> Call:
    try:
        call: Call = pickle.loads(task)  # noqa: S301
    except Exception as error:
        raise TaskError(
            f"the task cannot be loaded in a worker process ({_in_words(error)}); it must consist "
            "of what can be imported there, and not be defined in a script or a notebook"
        ) from error
    return call


def _failure(error: BaseException) -> bytes:
    note = f"In the worker process:\n{''.join(traceback.format_exception(error))}"
    words = _in_words(error)
    try:
        error.add_note(note)
        packed = _packed((Failed, error))
        pickle.loads(packed)  # noqa: S301 - some exceptions can be pickled, and not unpickled
    except Exception:
        substitute = TaskError(words)
        substitute.add_note(note)
        return _packed((Failed, substitute))
    return packed


def _in_words(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _listen(connection: Connection, inbox: "SimpleQueue[bytes]") -> None:
    # In a thread of its own, because a task may compute for hours.
    try:
        while True:
            inbox.put(connection.recv_bytes())
    finally:
        _end()


def _end() -> None:
    """End this process and what its tasks have started."""
    os.killpg(0, signal.SIGKILL)
