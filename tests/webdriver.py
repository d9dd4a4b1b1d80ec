"""A real browser for tests: Chromium, driven by chromedriver over the W3C WebDriver protocol (plain HTTP and JSON)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = next(
    (f"no {name} here" for name, found in (("Chromium", BROWSER), ("chromedriver", DRIVER)) if not found), ""
)
"""Why there is no browser; empty if there is one."""

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_DEADLINE = 60
_NAMED = {
    "ArrowLeft": "\ue012",
    "ArrowRight": "\ue014",
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Escape": "\ue00c",
}


class Browser:
    """One window of a headless browser; a context manager.

    Args:
        folder: for its profile and downloads.
        size: width and height of the window in pixels.
        dark: whether the system prefers dark colours.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 900), dark: bool = False) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        self._log = (folder / "chromedriver.log").open("wb")
        self._process, port = start_driver(self._log)
        self._base = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        arguments += [f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}"]
        arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
        arguments += ["--blink-settings=preferredColorScheme=0"] if dark else []
        # A window has a least width; the viewport of an emulated device has none.
        metrics = {"width": size[0], "height": size[1], "pixelRatio": 1, "mobile": False, "touch": False}
        options = {
            "binary": BROWSER,
            "args": arguments,
            "prefs": {"download.default_directory": str(self.downloads), "download.prompt_for_download": False},
            "mobileEmulation": {"deviceMetrics": metrics},
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        try:
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self.__exit__()
            raise
        self._session = f"/session/{made['sessionId']}"

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_session"):
            self._call("DELETE", self._session)
        self._process.terminate()
        self._process.wait(20)
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def open(self, page: Path | str) -> None:
        """Load a file or an address; returns when it is loaded."""
        self._send("POST", "/url", {"url": page if isinstance(page, str) else page.resolve().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a JavaScript function and return its value."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """Visible text of the first element that a CSS selector finds."""
        found: str = self._send("GET", f"/element/{self._find(selector)}/text")
        return found

    def click(self, selector: str) -> None:
        """Click the first element with the mouse; fails where something covers it."""
        self._send("POST", f"/element/{self._find(selector)}/click", {})

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other, wherever the focus is."""
        pressed = [{"type": kind, "value": _NAMED.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": pressed}]})

    def console(self) -> list[str]:
        """Errors and warnings of the page since the last call, refused content among them."""
        return [entry["message"] for entry in self._send("POST", "/se/log", {"type": "browser"})]

    def requested(self) -> list[str]:
        """Addresses that pages asked for since the last call, without the browser's own ones."""
        entries = self._send("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("chrome:", "chrome-untrusted:"))]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._send("GET", "/screenshot"))

    def downloaded(self, name: str) -> Path:
        """A file once it is saved completely."""
        path, deadline = self.downloads / name, time.monotonic() + _DEADLINE
        while not path.exists() or list(self.downloads.glob("*.crdownload")):
            assert time.monotonic() < deadline, f"{name} was not saved: {sorted(self.downloads.iterdir())}"
            time.sleep(0.05)
        return path

    def _find(self, selector: str) -> str:
        found: str = self._send("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]
        return found

    def _send(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        return self._call(method, self._session + path, body)

    def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=_DEADLINE
            ) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path}: {json.load(error)['value']['message']}") from None


def start_driver(log: IO[bytes]) -> tuple[subprocess.Popen[str], int]:
    """Start chromedriver on a port that is free for IPv4; once more where that port is taken for IPv6."""
    for _ in range(3):
        process = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout
        for line in process.stdout:
            if "started successfully on port" in line:
                return process, int(line.split("port ")[1].rstrip(".\n"))
        process.stdout.close()
        code = process.wait()
    raise AssertionError(f"chromedriver ended with {code}")
