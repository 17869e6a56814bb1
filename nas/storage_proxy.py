"""``python -m nas.storage_proxy``: a process that many drivers reach a study's storage through."""

import argparse
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import optuna

from latency.console import Terminal
from latency.options import make_parser, run_command
from nas.storage import StorageError, open_storage, shown

DESCRIPTION = """\
Serve a storage to searches on other machines, which then need no access to the database.

    python -m nas.storage_proxy --storage postgresql://chronas@localhost/studies --host 0.0.0.0
    python -m nas.search target_latency=15ms storage=grpc://this-machine:13000

Whoever reaches the port can read and change all studies of the storage: open it within a network
that you trust, and nowhere else.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("nas.storage_proxy", DESCRIPTION)
    add = parser.add_argument
    add("--storage", metavar="URL", required=True, help="sqlite:///FILE or postgresql://…")
    add("--host", default="localhost", help="the address to listen at (%(default)s)")
    add("--port", type=int, default=13000, help="(%(default)s)")
    add("--threads", type=int, default=10, help="calls answered at once (%(default)s)")
    options = parser.parse_args(arguments)
    return run_command("nas.storage_proxy", partial(_serve, options, Terminal()))


def _serve(options: argparse.Namespace, terminal: Terminal) -> None:
    if not 1 <= options.port <= 65535:
        raise ValueError(f"--port must be in 1..65535, but got {options.port}")
    if not 1 <= options.threads <= 1000:
        raise ValueError(f"--threads must be in 1..1000, but got {options.threads}")
    address = (options.host.strip("[]"), options.port)
    _check_free(address)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("grpc._server").addFilter(_without_traceback)
    try:
        storage = open_storage(
            options.storage,
            Path(),
            on_wait=terminal.line,
            connections=options.threads,
        )
    except StorageError as error:
        raise ValueError(str(error)) from None
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    announcement = f"serving {shown(options.storage)} at grpc://{host}:{options.port}"
    threading.Thread(target=_announce, args=(address, announcement, terminal), daemon=True).start()
    from nas.storage.serving import serve  # loads grpc

    serve(storage, host, options.port, ThreadPoolExecutor(options.threads))


def _check_free(address: tuple[str, int]) -> None:
    """gRPC would share a port that is taken, and half of the calls would end elsewhere."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        socket.create_server(address, family=family).close()
    except OSError as error:
        said = str(error.strerror or error).partition(" (")[0]
        raise ValueError(
            f"--port {address[1]} of {address[0]} cannot be listened at ({said}); give another"
        ) from None


def _announce(address: tuple[str, int], text: str, terminal: Terminal) -> None:
    """Say so when the server listens."""
    while True:
        try:
            socket.create_connection(address).close()
        except OSError:
            time.sleep(0.05)
        else:
            terminal.line(text)
            return


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without waiting for calls that wait for a database themselves.
    os._exit(code)
