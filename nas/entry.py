"""What the entry points share: Hydra's errors in one line, and a clean end when interrupted."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from latency.console import Terminal
from nas.configuration import CONF, options_of
from nas.resolvers import register_resolvers

CONFIG_FOLDER = str(CONF)
USER_ERROR, INTERRUPTED = 2, 130


def run_entry(hydra_main: Callable[[], None]) -> None:
    """Run a function that Hydra has decorated; may end the process."""
    register_resolvers()
    sys.argv[1:] = map(as_hydra_reads_it, sys.argv[1:])
    # With this set Hydra raises what it would else print over many lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # Threads of torch that wait by spinning stop each other when something else needs a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        hydra_main()
    except HydraException as error:
        message, _, _ = str(error).partition("Config search path:")
        print("error:", " ".join(message.split()), file=sys.stderr)
        sys.exit(USER_ERROR)
    except ValueError as error:
        # It is Hydra's, for commands show their own.
        show_failure(ValueError(_unnamed_group(sys.argv[1:]) or error))
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        # Where the interrupt struck while an extension was running Python code, as imports do,
        # CPython forgets that it was handled, and would die of the signal on its way out.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def _unnamed_group(arguments: Sequence[str]) -> str | None:
    """What to say of ``pruner=null``, which Hydra refuses without naming the group."""
    for argument in arguments:
        group, separator, value = argument.partition("=")
        if not separator or not (CONF / group).is_dir():
            continue
        given = OverridesParser.create().parse_override(argument)
        values = given.sweep_iterator() if given.is_choice_sweep() else [given.value()]
        if any(each is None or isinstance(each, int | float) for each in values):
            return f"{group} must be one of {options_of(group)}, but got {value}"
    return None


def as_hydra_reads_it(argument: str) -> str:
    """Hydra knows no flags, and refuses +key= for a key that its config has."""
    if argument == "--with-preprocessing":
        return "with_preprocessing=true"
    return re.sub(r"^\+(?=target_latency=)", "++", argument)


def show_failure(error: BaseException) -> None:
    """Say in one line what a person can mend; with ``CHRONAS_DEBUG`` set it is raised instead."""
    if os.environ.get("CHRONAS_DEBUG"):
        raise error
    print(f"error: {error}", file=sys.stderr)


@contextmanager
def loading(terminal: Terminal) -> Iterator[None]:
    """While modules are imported, with a sign of life: an interrupt stops the process for certain.

    Some modules swallow whatever is raised while they are imported, an interrupt too, and the
    command would go on as if nobody had stopped it.

    Raises:
        KeyboardInterrupt: stopped.
    """
    struck = False

    def strike(*_: object) -> None:
        nonlocal struck
        struck = True
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # ignored where run in the background
        signal.signal(signal.SIGINT, strike)
    try:
        with terminal.progress("loading"):
            yield
    except BaseException:
        if struck:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if struck:
        raise KeyboardInterrupt
