"""The server: the page and the HTTP API in one application. It writes no file."""

import contextlib
import ipaddress
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

import facemask
from facemask.core.errors import UserError
from facemask.detect.detector import Detector
from facemask.serving.label_studio_pictures import LabelStudioPictures

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from facemask.serving.detection_service import DetectionService, Limits


@dataclass(frozen=True)
class Address:
    """The host and the port to listen on; port 0 takes any free port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def url(self) -> str:
        """The URL for a browser."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class ServerSettings:
    """What a server may have besides its detectors.

    Attributes:
        token: What every client has to know (`token_login`); None lets everyone in.
        label_studio: Where the pictures of Label Studio's tasks may come from.
        statistics: The database of a watch, whose statistics have a page while it exists; None for no page.
    """

    token: str | None = field(default=None, repr=False)
    label_studio: LabelStudioPictures = field(default_factory=LabelStudioPictures)
    statistics: Path | None = None


def listen(address: Address) -> tuple[socket.socket, Address]:
    """Open the socket, before the model is loaded. Returns it with its address, which has the real port.

    Raises:
        UserError: The host does not exist, or the port is taken or not allowed.
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
        raise UserError(f"{where}: cannot listen there ({error.strerror}). Try another PORT=.") from None
    return listener, Address(address.host, listener.getsockname()[1])


def serve(
    openers: Mapping[str, Callable[[], Detector]],
    about: dict[str, Any],
    address: Address,
    limits: "Limits",
    thresholds: Sequence[float],
    settings: ServerSettings | None = None,
) -> None:
    """Serve until a signal ends the process; Ctrl-C raises KeyboardInterrupt, SIGTERM exits with 143.

    Args:
        openers: Functions that load a detector, by name (`DetectionService`).
        about: The description of the model for the responses.
        address: The address to listen on.
        limits: The limits of requests.
        thresholds: The least score of a box of each class, in the order of the ids, for requests without a threshold.
        settings: What else was asked for.

    Raises:
        UserError: The address cannot be used, or the detector cannot be loaded.
    """
    import uvicorn

    from facemask.serving.detection_service import DetectionService

    settings = settings or ServerSettings()
    listener, address = listen(address)
    signal.signal(signal.SIGTERM, _terminate)
    with contextlib.closing(listener):
        service = DetectionService(openers, about, limits, thresholds)
        app = application(service, address, settings)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=200,
            timeout_graceful_shutdown=3,
            ws="none",
        )
        announce(address, service.auto_name, settings.token is not None, settings.statistics)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            service.close()


def application(service: "DetectionService", address: Address, settings: ServerSettings) -> "ASGIApp":
    """The ASGI application: the API and the pages behind the guard, and behind a login if there is a token."""
    from fastapi import FastAPI

    from facemask.serving import http_api, label_studio_backend, request_guard, served_page, statistics_page
    from facemask.serving.token_login import TokenLogin

    # FastAPI's own documentation pages load scripts from another server.
    app = FastAPI(title="Face masks", version=facemask.__version__, docs_url=None, redoc_url=None)
    http_api.add_routes(app, service)
    label_studio_backend.add_routes(app, service, settings.label_studio)
    if settings.statistics is not None:
        statistics_page.add_route(app, settings.statistics)
    privacy = (
        "Pictures stay on this machine."
        if address.is_loopback
        else "Pictures go to the machine that serves this page, unencrypted, and are not kept."
    )
    served_page.add_routes(app, service, privacy, settings.statistics)
    inner = app if settings.token is None else TokenLogin(app, settings.token)
    hosts = request_guard.LOOPBACK | {address.host} if address.is_loopback else None
    return request_guard.RequestGuard(inner, service.limits.bytes, service.limits.seconds, hosts)


def announce(address: Address, runtime: str, has_token: bool = False, statistics: Path | None = None) -> None:
    """Print the URL, that of the statistics if their database exists, and a warning if other machines can reach it."""
    if not address.is_loopback:
        who = "who reaches this machine and knows the token" if has_token else "who reaches this machine"
        how = "The token and pictures travel" if has_token else "There is no password, and pictures travel"
        Console(stderr=True, highlight=False).print(
            f"[bold red]open to the network:[/] HOST={address.host} lets everyone {who} use the page and the API. "
            f"{how} unencrypted.",
            soft_wrap=True,
        )
    print(f"{address.url()} ({runtime}); Ctrl-C ends it", flush=True)
    if statistics is not None and statistics.is_file():
        print(f"{address.url()}/statistics (statistics of make watch: {statistics})", flush=True)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
