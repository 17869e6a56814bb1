"""An interrupt while modules are imported."""

import contextlib
import os
import signal

import pytest

from latency.console import Terminal
from nas.entry import loading


@pytest.fixture(autouse=True)
def hears_interrupts():
    """Tests that run in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def _swallowed() -> None:
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGINT)


def _swallowed_half_way() -> None:
    _swallowed()
    raise ImportError("half a module")


def test_an_interrupt_that_a_module_swallows_still_stops() -> None:
    with pytest.raises(KeyboardInterrupt), loading(Terminal()):
        _swallowed()


def test_an_interrupt_that_breaks_a_module_stops() -> None:
    with pytest.raises(KeyboardInterrupt), loading(Terminal()):
        _swallowed_half_way()


def test_without_an_interrupt_errors_and_ends_are_as_they_are() -> None:
    with loading(Terminal()):
        pass
    with pytest.raises(ImportError), loading(Terminal()):
        raise ImportError
