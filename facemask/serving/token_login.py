"""Middleware that lets in only who knows the server's token.

Programs send it with each request, as `Authorization: Bearer <token>`, or as the password of `Authorization: Basic`,
which is what Label Studio can send. A browser gets a page that asks for it, and then a cookie.
"""

import base64
import binascii
import hashlib
import hmac
import html
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LARGEST_FORM = 8192
"""The most bytes of the login form."""

COOKIE = "facemask_session"

SESSION_SECONDS = 12 * 3600
"""How long a browser stays logged in. It has to log in again after the server was restarted, too."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Face masks: log in</title><link rel="icon" href="data:,"><style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}
form {{ max-width: 22rem; margin: 18vh auto 0; padding: 0 1rem; display: grid; gap: 0.7rem; }}
h1 {{ font-size: 1.7rem; margin: 0; }} p {{ margin: 0; }} small {{ color: light-dark(#475569, #a3b1c6); }}
[role="alert"] {{ color: light-dark(#b43c00, #ff9a62); }}
input, button {{ font: inherit; padding: 0.55rem 0.7rem; border: 1px solid #8885; border-radius: 0.5rem; }}
button {{ background: #0f766e; color: #fff; border-color: transparent; cursor: pointer; }}
</style></head><body><form method="post" action="/login">
<input type="hidden" name="page" value="{page}"><h1>Face masks</h1>
<label for="token">Token of this server</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<small>Whoever started the server has it, in the file that TOKEN_FILE= named.</small>
<button>Log in</button><p role="alert">{wrong}</p></form></body></html>
"""


@dataclass(frozen=True)
class TokenLogin:
    """The middleware. `/login` is its own page, and `/health` tells everybody that the server is up, and no more.

    Attributes:
        app: What it stands before.
        token: The token.
        key: The key that signs cookies.
    """

    app: ASGIApp
    token: str = field(repr=False)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        if request.url.path == "/login" and request.method == "POST":
            response = await self._log_in(request)
        elif self._is_known(request):
            await self.app(scope, receive, send)
            return
        elif request.url.path == "/health" and request.method in ("GET", "HEAD"):
            response = _json(200, {"status": "ok"})
        elif request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            response = _login_page(request.url.path)
        else:
            response = _json(401, {"error": "Send the token of this server: Authorization: Bearer <token>."})
            response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _is_known(self, request: Request) -> bool:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        value = value.strip()
        if kind.lower() == "bearer":
            return _same(value, self.token)
        if kind.lower() == "basic":
            try:
                password = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except (ValueError, binascii.Error):
                return False
            return _same(password, self.token)
        expires, _, signature = request.cookies.get(COOKIE, "").partition(".")
        known = _same(signature, self._sign(expires))
        return known and time.time() < int(expires)

    async def _log_in(self, request: Request) -> Response:
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > LARGEST_FORM:
                    return _json(413, {"error": "Too large for a token."})
        except ClientDisconnect:
            return _json(400, {"error": "The form broke off."})
        form = parse_qs(body.decode("utf-8", "replace"))
        [given], [page] = form.get("token", [""])[:1], form.get("page", ["/"])[:1]
        if not re.fullmatch(r"/([\w-][\w./-]*)?", page, re.ASCII):  # never another server's, as //name would be
            page = "/"
        if not _same(given.strip(), self.token):
            return _login_page(page, "That is not the token.")
        expires = str(int(time.time()) + SESSION_SECONDS)
        response = RedirectResponse(page, 303)
        response.set_cookie(
            COOKIE,
            f"{expires}.{self._sign(expires)}",
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    def _sign(self, expires: str) -> str:
        return hmac.new(self.key, expires.encode(), hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    """Whether two texts are the same, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _json(status: int, value: dict[str, str]) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")


def _login_page(page: str, wrong: str = "") -> Response:
    """What asks for the token, and then leads to a page of this server."""
    text = _PAGE.format(wrong=html.escape(wrong), page=html.escape(page))
    return HTMLResponse(text, 401, {"Cache-Control": "no-store"})
