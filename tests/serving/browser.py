"""Chromium through its DevTools protocol, over the pipe that it offers: no driver, no WebSocket.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_OPTIONS += ["--disable-component-update", "--disable-sync", "--disable-quic", "--remote-debugging-pipe"]
_OPTIONS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--hide-scrollbars"]


# The protocol's pipes are the descriptors 3 and 4, which may be anything else in this process.
_EXEC = """
import fcntl, os, sys
for number, pipe in enumerate([fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]], 3):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One tab of a browser of its own; a context manager.

    Attributes:
        requests: The URLs that it asked for.
        complaints: What went wrong in it: exceptions, errors on the console, what its policy refused.
    """

    def __init__(self, profile: Path, *options: str):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._options = options
        self._profile = profile
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}

    def __enter__(self) -> "Browser":
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [sys.executable, "-ISc", _EXEC, str(theirs_in), str(theirs_out), str(CHROMIUM), *_OPTIONS]
        self._process = subprocess.Popen(
            [*command, *self._options, f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._session = None
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
                self.call(f"{domain}.enable")
            self.resize(1280, 900)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, seconds: float = 60, **parameters: Any) -> dict[str, Any]:
        """A command's result."""
        number = next(self._numbers)
        answer = self._answers[number] = queue.Queue()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        said = answer.get(timeout=seconds)
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']}")
        return said["result"]

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """The value of JavaScript."""
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in said:
            raise RuntimeError(json.dumps(said["exceptionDetails"]))
        return said["result"].get("value")

    def until(self, expression: str, seconds: float = 60) -> None:
        """Wait for JavaScript to become true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({expression})"):
            if time.monotonic() > end:
                text = self.run("document.body.innerText")
                raise AssertionError(f"not within {seconds} s: {expression}\n{self.complaints}\n{text}")
            time.sleep(0.1)

    def choose_file(self, selector: str, path: Path) -> None:
        """What a person does in the dialog of an `<input type=file>`."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _read(self) -> None:
        waiting = b""
        while block := os.read(self._in, 1 << 20):
            *messages, waiting = (waiting + block).split(b"\0")
            for text in messages:
                message = json.loads(text)
                if "id" in message:
                    self._answers.pop(message["id"]).put(message)
                else:
                    self._note(message["method"], message["params"])

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] == "error":
            self.complaints.append(" ".join(str(part.get("value", part.get("description"))) for part in said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
