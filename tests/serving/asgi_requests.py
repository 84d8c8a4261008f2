"""Requests to an ASGI application without a network."""

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


class Answer(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.text)


def ask(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/",
    body: bytes | object = b"",
    scheme: str = "http",
    **headers: str,
) -> Answer:
    """The response to a request. A body that is not bytes is sent as JSON; `_` in the name of a header is `-`."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers["content_type"] = "application/json"
    said: list[Message] = []
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.sleep(3600)
        return messages.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    where, _, query = path.partition("?")
    pairs = {"host": "localhost", **headers}.items()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": unquote(where),
        "raw_path": where.encode(),
        "query_string": query.encode(),
        "scheme": scheme,
        "server": ("localhost", 80),
        "headers": [(name.replace("_", "-").lower().encode(), value.encode("latin-1")) for name, value in pairs],
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 60))
    text = b"".join(message.get("body", b"") for message in said[1:]).decode("utf-8", "replace")
    return Answer(
        said[0]["status"], text, {name.decode("latin-1"): value.decode("latin-1") for name, value in said[0]["headers"]}
    )
