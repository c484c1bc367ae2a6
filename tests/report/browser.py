"""Chromium without a window and without a network, asked over the WebDriver protocol what it makes of a page."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    # No name resolves, so nothing outside is reached.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def missing() -> str:
    """Say what of a browser is not on this machine, nothing where all is."""
    if not any(map(shutil.which, NAMES)):
        return "there is no Chromium on this machine"
    return "" if shutil.which("chromedriver") else "there is no chromedriver on this machine"


class Browser:
    """One window of Chromium."""

    def __init__(self, address: str, session: str) -> None:
        self._base = f"{address}/session/{session}"

    def open(self, page: Path, width: int, *, dark: bool = False, media: str = "screen") -> None:
        """Load a page from its file, ``width`` pixels wide."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
        self._devtools("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self._devtools("Network.emulateNetworkConditions", offline)
        call(f"{self._base}/url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Return what a script returns that runs in the page."""
        return call(f"{self._base}/execute/sync", {"script": script, "args": []})

    def messages(self) -> list[str]:
        """Return what the console has said since it was asked last."""
        return [item["message"] for item in call(f"{self._base}/se/log", {"type": "browser"})]

    def picture(self, file: Path, most: int = 20_000) -> None:
        """Write what a page looks like from its top as a PNG, at most so many pixels high."""
        height = min(most, self.run("return document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": self.run("return innerWidth"), "height": height, "scale": 1}
        found = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        file.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the session."""
        call(self._base, method="DELETE")

    def _devtools(self, command: str, values: dict[str, Any]) -> Any:
        return call(f"{self._base}/goog/cdp/execute", {"cmd": command, "params": values})


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = next(path for name in NAMES if (path := shutil.which(name)))
    process = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        options = {
            "goog:chromeOptions": {"binary": program, "args": list(ARGUMENTS)},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = call(f"{address}/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]
        found = Browser(address, session)
        try:
            yield found
        finally:
            found.close()
    finally:
        process.terminate()
        process.wait()


def _wait(address: str) -> None:
    for _ in range(200):
        try:
            if call(f"{address}/status", method="GET")["ready"]:
                return
        except URLError:
            time.sleep(0.05)
    raise RuntimeError("chromedriver does not answer")


def call(url: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
    """Ask the driver, and return the value it answers with."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["value"]


OUTSIDE = """
document.querySelectorAll('details').forEach(item => { item.open = true; });
const width = document.documentElement.clientWidth, found = [];
for (const item of document.querySelectorAll('th bdi, td bdi')) {
  if (item.scrollWidth > item.clientWidth + 1) found.push('wider than its cell: ' + item.textContent.slice(0, 20));
}
for (const item of document.querySelectorAll('body *')) {
  if (item.matches('.skip') || item.parentElement.closest('.scroll, svg')) continue;
  const box = item.getBoundingClientRect();
  if (box.width > 0 && box.right > width + 1) found.push(item.tagName + ' ' + item.className);
}
return found;
"""
"""A script that names what reaches out of the window, or of its cell; what scrolls in a frame of its own does not."""
LOW_CONTRAST = """
function parts(colour) { return (colour.match(/[\\d.]+/g) || []).map(Number); }
function light(rgb, scale) {
  const shares = rgb.slice(0, 3).map(v => v / scale);
  const [r, g, b] = shares.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function luminance(colour) { return light(parts(colour), colour.startsWith('rgb') ? 255 : 1); }
function behind(item) {
  for (let place = item; place; place = place.parentElement) {
    const colour = getComputedStyle(place).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)' && colour !== 'transparent') return colour;
  }
  return 'rgb(255, 255, 255)';
}
const found = [];
function compare(item, colour, ground) {
  const pair = [luminance(colour), luminance(ground)].sort((a, b) => a - b);
  const ratio = (pair[1] + 0.05) / (pair[0] + 0.05);
  if (ratio < 4.5) found.push([item.tagName, item.textContent.slice(0, 20), ratio]);
}
function under(text) {
  text.scrollIntoView({block: 'center'});
  const box = text.getBoundingClientRect();
  for (const item of document.elementsFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2)) {
    const fill = getComputedStyle(item).fill;
    if (item.closest('svg') && item.matches('rect, path, circle') && fill !== 'none') return fill;
    if (item.matches('svg')) return behind(item);
  }
  return behind(text);
}
for (const item of document.querySelectorAll('body *')) {
  const own = [...item.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!own || item.matches('svg title, svg desc')) continue;
  if (item.closest('svg')) compare(item, getComputedStyle(item).fill, under(item));
  else compare(item, getComputedStyle(item).color, behind(item));
}
window.scrollTo(0, 0);
return found;
"""
"""A script that names text whose contrast with what is behind it is below 4.5 to 1, in pictures too."""
