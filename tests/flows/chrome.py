"""A headless Chromium driven over its DevTools protocol: open, wait, click, photograph.

Only what the tests need. The websocket client is the one that Prefect brings along.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_TIMEOUT_S = 60.0
WAIT_TIMEOUT_S = 45.0
REST_S = 0.3
MAX_MESSAGE_BYTES = 1 << 26  # a screenshot is one message
MAX_PICTURE_BYTES = 400_000  # of one in the docs
PHONE_PX = 390
# What a page was kept from doing, from before its first line on: window.violations.
WATCH = """addEventListener("securitypolicyviolation", (event) =>
  (window.violations ??= []).push(event.violatedDirective + " " + event.blockedURI))"""
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"

# The centre of the last visible element whose whole text is as said: dialogs come last. The tabs
# are not marked as such, so that any element is asked.
FIND = """(() => {
  const found = [...document.body.querySelectorAll(":not(option)")].filter(element =>
    element.textContent.trim() === %s && element.getClientRects().length);
  if (!found.length) return null;
  const box = found.at(-1).getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()"""

CHOOSE = """(() => {
  for (const list of document.querySelectorAll("select")) {
    const option = [...list.options].find(each => each.text.trim() === %s);
    if (!option || !list.getClientRects().length) continue;
    list.selectedIndex = option.index;
    list.dispatchEvent(new Event("change", {bubbles: true}));
    return true;
  }
})()"""
PASSWORD = """(() => {
  const field = document.querySelector("input[type=password]");
  field?.focus();
  return field !== null && document.activeElement === field;
})()"""
WRITE = """(() => {
  const field = [...document.querySelectorAll("textarea")].at(-1);
  field.focus();
  return document.activeElement === field;
})()"""


def find_browser() -> str | None:
    """The path of an installed browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.numbers = connection, itertools.count(1)

    def send(self, method: str, **parameters: Any) -> Any:
        """The result of a DevTools command."""
        number = next(self.numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.connection.recv(timeout=WAIT_TIMEOUT_S))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)

    def log_in(self, url: str, password: str) -> None:
        """Open the UI at an address and give it the password that it asks for once."""
        self.open(url)
        self.wait_for(PASSWORD)
        self.send("Input.insertText", text=password)
        self.click("Login")
        self.wait_for("!location.pathname.startsWith('/login')")

    def wait_for(self, script: str, timeout_s: float = WAIT_TIMEOUT_S) -> Any:
        """The expression's value once it is true."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := self.run(script)):
            assert time.monotonic() < deadline_s, f"{script} stayed false:\n{self.read_text()}"
            time.sleep(0.2)
        return value

    def read_text(self) -> str:
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait_for_text(self, text: str) -> None:
        self.wait_for(f"document.body && document.body.innerText.includes({json.dumps(text)})")

    def click(self, text: str) -> None:
        """Press the mouse on the element of that text, once it is there and stays where it is."""
        x, y = self.find_resting(text)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            clicks = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **clicks)

    def find_resting(self, text: str) -> tuple[float, float]:
        """The centre of the element of that text, once it is the same at two looks.

        A page is laid out anew when parts of it arrive, and after every picture taken of it.
        """
        before, now = None, self.wait_for(FIND % json.dumps(text))
        while now != before:
            time.sleep(REST_S)
            before, now = now, self.wait_for(FIND % json.dumps(text))
        return now[0], now[1]

    def choose(self, text: str) -> None:
        """Pick the option of that text in a drop-down list; its menu is the system's, not ours."""
        self.wait_for(CHOOSE % json.dumps(text))

    def write(self, text: str) -> None:
        """Type into the last large text field."""
        self.wait_for(WRITE)
        self.send("Input.insertText", text=text)

    def photograph(self, path: Path, height: int, settle_s: float = 2.0) -> None:
        """Write a PNG of the page's upper part, after what moves has come to rest."""
        time.sleep(settle_s)
        clip = {"x": 0, "y": 0, "width": self.run("innerWidth"), "height": height, "scale": 1}
        data = self.send("Page.captureScreenshot", format="png", clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browsing(folder: Path, width: int = 1280, height: int = 800) -> Iterator[Page]:
    """A page in a browser whose profile lies in the folder."""
    browser = find_browser()
    assert browser is not None, "skip the test where there is no browser"
    process = subprocess.Popen(
        [browser, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}",
         f"--window-size={width},{height}", "--no-sandbox", "--no-first-run", "--no-proxy-server",
         "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars",
         "--enable-unsafe-swiftshader", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with connect(
            find_target(folder), max_size=MAX_MESSAGE_BYTES, proxy=None, open_timeout=30
        ) as connection:
            page = Page(connection)
            page.send(
                "Emulation.setDeviceMetricsOverride",
                width=width, height=height, deviceScaleFactor=1, mobile=False,
            )  # fmt: skip
            yield page
    finally:
        process.terminate()
        process.wait(20)


def find_target(folder: Path) -> str:
    """The address of the first tab; the browser writes its port into its profile."""
    port_file = folder / "DevToolsActivePort"
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        assert time.monotonic() < deadline_s, "the browser did not start"
        time.sleep(0.1)
        if not port_file.is_file() or not (lines := port_file.read_text().splitlines()):
            continue
        with httpx.Client(trust_env=False) as client:
            targets = client.get(f"http://127.0.0.1:{lines[0]}/json/list").json()
        pages = [target for target in targets if target["type"] == "page"]
        if pages:
            return str(pages[0]["webSocketDebuggerUrl"])
