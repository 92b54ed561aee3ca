"""A page in headless Chromium, driven over the DevTools protocol through two pipes: no driver, no package, no port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

NO_CHROMIUM = "no chromium, chromium-browser or google-chrome on the PATH"

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip

CONNECTED = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes answers to 4; this puts the pipes there and becomes it."""

SECONDS = 60.0
"""The longest that an answer may take."""

KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), "ArrowRight": (39, "")}
"""Key, which is its code -> its number and text."""


class Browser:
    """A Chromium process; `open` gives pages in it."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None, NO_CHROMIUM
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        arguments = [str(commands), str(answers), CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", CONNECTED, *arguments], pass_fds=(commands, answers), stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self._read = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.send("Browser.close")
            self._process.wait(10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come in between are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no answer from chromium within {SECONDS:.0f} s"
            found = os.read(self._answers, 1 << 20)
            assert found, "chromium has gone"
            self._read += found
        message, self._read = self._read.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer

    def open(self, file: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """The page of a file after its scripts have run, in a window of this size."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.resize(width, height)
        page.prefer(dark=dark)
        page.send("Page.navigate", url=file.as_uri())
        page.until("document.readyState === 'complete' && document.documentElement.dataset.drawn === 'yes'")
        return page


class Page:
    """One page: what a reader can do to it, and what it says and asks for."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command to this page."""
        return self._browser.send(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, *, dark: bool) -> None:
        """What the reader's system asks for."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = 30.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"still not: {condition}"
            time.sleep(0.03)

    def place(self, script: str) -> tuple[float, float]:
        """The middle of an element, scrolled into view."""
        middle = f"""(() => {{
            const element = {script};
            element.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = self.run(middle)
        return x, y

    def point(self, script: str, *, click: bool = False) -> None:
        """Move the mouse over an element, and click it."""
        x, y = self.place(script)
        kinds = ("mouseMoved", "mousePressed", "mouseReleased") if click else ("mouseMoved",)
        for kind in kinds:
            button = "none" if kind == "mouseMoved" else "left"
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=int(click))

    def press(self, key: str) -> None:
        """Press and release a key of `KEYS`."""
        number, text = KEYS[key]
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": number}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def choose(self, script: str, value: str) -> None:
        """Pick an option of a select element."""
        event = 'new Event("change", {bubbles: true})'
        self.run(f"(() => {{ const e = {script}; e.value = {json.dumps(value)}; e.dispatchEvent({event}); }})()")

    def print_pdf(self) -> bytes:
        """The page on paper."""
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])

    @property
    def complaints(self) -> list[str]:
        """Warnings and errors that the page wrote to the console, and exceptions that nobody caught."""
        said = []
        for event in self._mine():
            found = event["params"]
            if event["method"] == "Runtime.consoleAPICalled" and found["type"] in ("warning", "error", "assert"):
                said.append(" ".join(str(part.get("value", part)) for part in found["args"]))
            elif event["method"] == "Runtime.exceptionThrown":
                said.append(str(found["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and found["entry"]["level"] in ("warning", "error"):
                said.append(str(found["entry"]["text"]))
        return said

    @property
    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        asked = [e["params"]["request"]["url"] for e in self._mine() if e["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith(("data:", "blob:"))]

    def _mine(self) -> list[dict[str, Any]]:
        self.send("Runtime.evaluate", expression="0")  # whatever was said before has come by the time of its answer
        return [event for event in self._browser.events if event.get("sessionId") == self._session]
