"""The server: the page and the API in one application, on one address, with one folder for what is in passing."""

import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from scripts.detect.detector import Detector
from scripts.support.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from scripts.serving.service import Limits

KEEP = 600.0
"""Seconds for which an upload and its results are kept: so long a page may change the threshold of its picture."""

ROOM = 40
"""Uploads of the largest size for which there is room at once, results counted in."""

_ENVIRONMENT = {
    # Gradio counts its users, looks for a newer version and has a bucket for its runs, unless told otherwise.
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SSR_MODE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Address:
    """Where the server listens; port 0 takes any that is free."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def url(self) -> str:
        """What a browser calls it."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def listen(address: Address) -> tuple[socket.socket, Address]:
    """Open the socket, before the model is loaded; with the address that it got.

    Raises:
        UserError: No such host, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"HOST={address.host} PORT={address.port}: no such address ({error}).") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        where = f"HOST={address.host} PORT={address.port}"
        raise UserError(f"{where}: cannot be listened on ({error.strerror}). Try another PORT=.") from None
    return listener, Address(address.host, listener.getsockname()[1])


def serve(
    openers: Mapping[str, Callable[[], Detector]],
    about: dict[str, Any],
    address: Address,
    limits: "Limits",
    threshold: float,
) -> None:
    """Answer requests until a signal ends it; Ctrl-C raises KeyboardInterrupt, SIGTERM exits with 143.

    Args:
        openers: What loads a detector, by name (`Service`).
        about: What answers say of the model.
        address: Where to listen.
        limits: What a request may take.
        threshold: The score from which boxes count where a request does not say.

    Raises:
        UserError: It cannot listen there, or the detector cannot be loaded.
    """
    import uvicorn

    from scripts.serving.service import Service

    listener, address = listen(address)
    signal.signal(signal.SIGTERM, _terminate)
    with contextlib.closing(listener), _passing_folder() as folder:
        service = Service(openers, about, limits)
        app = application(service, threshold, folder, address)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=200,
            timeout_graceful_shutdown=3,
            ws="none",
        )
        say(address, service.auto_name)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            service.close()


def application(service: Any, threshold: float, folder: Path, address: Address) -> "ASGIApp":
    """The application that answers: API, page, and the guard before both. `folder` is Gradio's (`_passing_folder`)."""
    import gradio as gr
    from fastapi import FastAPI

    from scripts.serving import api, guard, page

    @contextlib.asynccontextmanager
    async def tidying(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_tidy_always(folder))
        try:
            yield
        finally:
            task.cancel()

    # FastAPI's own pages of documentation come from a server elsewhere.
    app = FastAPI(title="Face masks", docs_url=None, redoc_url=None, lifespan=tidying)
    api.add_to(app, service, threshold)
    privacy = (
        "Pictures stay on this machine."
        if address.is_loopback
        else "Pictures go to the machine that serves this page, unencrypted, and are not kept."
    )
    gr.mount_gradio_app(
        app,
        page.build(service, threshold, folder, privacy),
        path="/",
        server_name=address.host,
        server_port=address.port,
        theme=page.theme(),
        css_paths=[page.CSS],
        max_file_size=service.limits.bytes,
        show_error=True,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
    )
    room = ROOM * service.limits.bytes
    hosts = guard.LOOPBACK | {address.host} if address.is_loopback else None
    return guard.Guard(app, service.limits.bytes, service.limits.seconds, hosts, lambda: size_of(folder) > room)


def say(address: Address, runtime: str) -> None:
    """Say where it is, and loudly if others reach it too."""
    if not address.is_loopback:
        Console(stderr=True, highlight=False).print(
            f"[bold red]open to the network:[/] HOST={address.host} lets everyone who reaches this machine use the "
            "page and the API. There is no password, and pictures travel unencrypted.",
            soft_wrap=True,
        )
    print(f"{address.url()} ({runtime}); Ctrl-C ends it", flush=True)


def size_of(folder: Path) -> int:
    """Bytes in a folder's files."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def tidy(folder: Path, older: float) -> None:
    """Remove the files in a folder that are older than so many seconds, and the folders that this leaves empty."""
    now = time.time()
    # What is deepest comes first, so that a folder is looked at after what was in it.
    for path in sorted(folder.rglob("*"), key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                if now - path.stat().st_mtime > older:
                    path.rmdir()
            elif now - path.lstat().st_mtime > older:
                path.unlink()


async def _tidy_always(folder: Path) -> None:
    while True:
        await asyncio.sleep(KEEP / 10)
        await asyncio.to_thread(tidy, folder, KEEP)


@contextlib.contextmanager
def _passing_folder() -> Iterator[Path]:
    """A folder for uploads and results that only this user reads, gone at the end; and Gradio told to use it.

    To be entered before Gradio is imported: it reads its environment then.
    """
    if "gradio" in sys.modules:
        raise RuntimeError("Gradio is imported already, and would use another folder.")
    folder = Path(tempfile.mkdtemp(prefix="face-masks-")).resolve()
    os.environ.update(_ENVIRONMENT, GRADIO_TEMP_DIR=str(folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
