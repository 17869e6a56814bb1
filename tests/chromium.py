"""A real browser without a window, for tests of pages: Debian's Chromium, spoken to through a pipe.

What it is told is Chrome's DevTools protocol: JSON, each message ended by a zero byte.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

Scheme = Literal["light", "dark"]
_PATIENCE_S = 60.0


@dataclass(slots=True)
class Chromium:
    """A browser. Its pages see each other's files no more than those of strangers."""

    to_browser: int
    from_browser: int
    _number: int = 0
    _rest: bytes = b""
    _events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """A command's result; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def events(self, session: str, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of a kind, so far."""
        return [
            event["params"]
            for event in self._events
            if event.get("sessionId") == session and event["method"] == method
        ]

    def wait_for_load(self, session: str, loader: str) -> None:
        """Returns when what this loader loads is complete; blank pages before it have others."""
        loaded = ("load", loader)
        while loaded not in (
            (event["name"], event["loaderId"])
            for event in self.events(session, "Page.lifecycleEvent")
        ):
            self._events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select(
                [self.from_browser], [], [], max(0.0, deadline - time.monotonic())
            )
            assert ready, "Chromium does not answer"
            found = os.read(self.from_browser, 1 << 20)
            assert found, "Chromium has gone"
            self._rest += found
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    @contextlib.contextmanager
    def page(
        self, path: Path, *, width: int, scheme: Scheme = "light", height: int = 800
    ) -> Iterator["OpenPage"]:
        """A file, loaded, in a window so wide, for a reader who prefers this colour scheme."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable", session)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", session, features=[feature])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", session, **size)
        self.call("Page.setLifecycleEventsEnabled", session, enabled=True)
        navigation = self.call("Page.navigate", session, url=path.resolve().as_uri())
        self.wait_for_load(session, navigation["loaderId"])
        try:
            yield OpenPage(self, session)
        finally:
            self.call("Target.closeTarget", targetId=target)


@dataclass(frozen=True, slots=True)
class OpenPage:
    """A page that is being looked at."""

    browser: Chromium
    session: str

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited, as plain data."""
        found = self.browser.call(
            "Runtime.evaluate",
            self.session,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    @property
    def requests(self) -> list[str]:
        """The addresses of everything that it asked for, itself included."""
        events = self.browser.events(self.session, "Network.requestWillBeSent")
        return [event["request"]["url"] for event in events]

    @property
    def refused(self) -> list[str]:
        """Why what was asked for was not even tried to be loaded."""
        events = self.browser.events(self.session, "Network.loadingFailed")
        return [event["blockedReason"] for event in events if "blockedReason" in event]

    @property
    def complaints(self) -> list[str]:
        """What its console says: refused loads, errors, warnings."""
        logged = self.browser.events(self.session, "Log.entryAdded")
        thrown = self.browser.events(self.session, "Runtime.exceptionThrown")
        return [event["entry"]["text"] for event in logged] + [
            event["exceptionDetails"]["text"] for event in thrown
        ]

    def press(self, key: str) -> None:
        """A key, down and up, as a keyboard would."""
        for kind in ("keyDown", "keyUp"):
            self.browser.call("Input.dispatchKeyEvent", self.session, type=kind, key=key)

    def point_at(self, x: float, y: float) -> None:
        """Move the mouse there, in pixels of the window."""
        self.browser.call("Input.dispatchMouseEvent", self.session, type="mouseMoved", x=x, y=y)

    def touch(self, x: float, y: float) -> None:
        """Touch the screen there, and let go."""
        points = [{"x": x, "y": y}]
        touch = "Input.dispatchTouchEvent"
        self.browser.call(touch, self.session, type="touchStart", touchPoints=points)
        self.browser.call(touch, self.session, type="touchEnd", touchPoints=[])

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page, or of what the window shows of it."""
        found = self.browser.call(
            "Page.captureScreenshot", self.session, captureBeyondViewport=whole
        )
        path.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def running_chromium() -> Iterator[Chromium]:
    """A fresh browser, gone in the end. Skips the test where Chromium is not installed."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: apt install chromium")
    with contextlib.ExitStack() as stack:
        profile = tempfile.mkdtemp(prefix="chronas-chromium-")
        stack.callback(shutil.rmtree, profile, ignore_errors=True)
        their_end, to_browser = os.pipe()
        from_browser, their_other_end = os.pipe()
        stack.callback(os.close, from_browser)
        # It reads from file descriptor 3 and writes to 4.
        command = [
            "bash", "-c", f'exec "$@" 3<&{their_end} 4>&{their_other_end}', "chromium", program,
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(
            command,
            pass_fds=(their_end, their_other_end),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(_stop, process)
        stack.callback(os.close, to_browser)
        os.close(their_end)
        os.close(their_other_end)
        yield Chromium(to_browser=to_browser, from_browser=from_browser)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """It ends when nobody speaks to it any more."""
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
