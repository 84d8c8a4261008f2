"""Middleware that limits requests (size, time, host, origin) and sets the security headers of responses.

It wraps the whole application.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset(["localhost", "127.0.0.1", "::1"])

ENVELOPE = 1 << 20
"""The most bytes that a form adds to its file. The route checks the size of the file itself."""

_DRAINED = 8
"""A body that is too large is read and dropped up to this multiple of the limit. Many clients read a response only
after they have sent everything."""

_READING = frozenset(["GET", "HEAD", "OPTIONS"])

# Browsers enforce this policy: the pages load nothing from and send nothing to other servers.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]


@dataclass(frozen=True)
class RequestGuard:
    """The middleware.

    Attributes:
        app: What it stands before.
        max_bytes: The most that a request's body may hold, without `ENVELOPE`.
        seconds: The longest that the body may take to arrive.
        hosts: The names under which the server may be called, or None for any. On loopback it keeps out a site that
            has its own name point to 127.0.0.1 (DNS rebinding).
    """

    app: ASGIApp
    max_bytes: int
    seconds: float
    hosts: frozenset[str] | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks WebSocket
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = _Body(receive, self.max_bytes + ENVELOPE, self.seconds)
        begun = False

        async def send_more(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in dict(_HEADERS)]
                message = {**message, "headers": [*kept, *_HEADERS]}
            await send(message)

        try:
            self._check(scope, headers)
            if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > body.limit:
                await body.refuse()
            await self.app(scope, body.receive, send_more)
        except HTTPException as error:  # from the body too, where the login reads it
            if begun:
                raise
            await _answer(send_more, error.status_code, error.detail)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        if self.hosts is not None and _host(headers.get("host", "")) not in self.hosts:
            raise HTTPException(421, "This server answers on this machine only, as localhost.")
        if scope["method"] in _READING:
            return
        # Browsers say where a request comes from; other programs say nothing.
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise HTTPException(403, "Another site's page may not send pictures here.")


class _Body:
    """A request's body as it arrives, within its limits."""

    def __init__(self, receive: Receive, limit: int, seconds: float):
        self.limit = limit
        self._receive = receive
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._bytes = 0
        self._done = False

    async def receive(self) -> Message:
        """The next message. Raises HTTPException 413 or 408."""
        if self._done:  # what comes now is only that the client went away, whenever that is
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._end - time.monotonic())
        except asyncio.TimeoutError:
            self._done = True
            raise HTTPException(408, f"The upload did not arrive within {self._seconds:g} seconds.") from None
        self._done = not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        if self._bytes > self.limit:
            await self.refuse()
        return message

    async def refuse(self) -> None:
        """Raise HTTPException 413, after the sender was given the chance to end."""
        while not self._done and self._bytes <= _DRAINED * self.limit:
            try:
                message = await asyncio.wait_for(self._receive(), self._end - time.monotonic())
            except asyncio.TimeoutError:
                break
            self._done = not message.get("more_body", False)
            self._bytes += len(message.get("body", b""))
        self._done = True
        raise HTTPException(413, f"Too large: the limit is {(self.limit - ENVELOPE) >> 20} MB.")


def _host(header: str) -> str:
    """The name in a Host header, without the port and an address's brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


async def _answer(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    headers: list[Any] = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
