"""What a person sees: lines as they are, and a sign of life while nothing happens."""

import re
import threading

import pytest

from latency import console
from latency.console import Terminal


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Signs of life in quick succession; the event is set at the third."""
    third = threading.Event()
    lines: list[str] = []
    say = Terminal.line

    def line(terminal: Terminal, text: str = "") -> None:
        say(terminal, text)
        lines.append(text)
        if len(lines) == 3:
            third.set()

    monkeypatch.setattr(console, "_SIGN_OF_LIFE_SECONDS", 0.01)
    monkeypatch.setattr(Terminal, "line", line)
    return third


def test_two_seconds_at_most_without_a_sign_of_life() -> None:
    assert console._SIGN_OF_LIFE_SECONDS == 2.0


def test_there_are_signs_of_life_while_nothing_is_updated(
    beats: threading.Event, capsys: pytest.CaptureFixture[str]
) -> None:
    with Terminal().progress("measuring"):
        assert beats.wait(60)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all(re.fullmatch(r"  measuring: \(\d+ s\)", line) for line in lines)


def test_signs_of_life_say_how_far_it_is(
    beats: threading.Event, capsys: pytest.CaptureFixture[str]
) -> None:
    with Terminal().progress("training [3]") as update:
        update(0, 0)
        update(3, 12)
        assert beats.wait(60)
    assert "  training [3]: 25%" in capsys.readouterr().out


def test_time_left_is_that_of_what_is_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    shown = console._Heartbeat("shaving", Terminal())
    for seconds, done, total, state in (
        (100, 5, 10, " 50%"),  # goes on where another run was
        (103, 6, 10, " 60%, 12 s left"),
        (200, 0, 4, " 0%"),  # something else begins
        (210, 1, 4, " 25%, 30 s left"),
    ):
        now[0] = seconds
        shown(done, total)
        assert shown._state == state


def test_no_sign_of_life_outlives_its_work(beats: threading.Event) -> None:
    def interrupted() -> None:
        with Terminal().progress("training"):
            assert threading.active_count() == before + 1
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_lines_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[bold]runs/[3][/bold] " + "long " * 60 + "accuracy 91.2%"
    Terminal().line(text)
    assert capsys.readouterr().out == text + "\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with terminal._console.capture() as capture, terminal.progress("training [3]") as update:
        update(3, 12)
    assert "training [3]" in capture.get()
    assert "3/12" in capture.get()
