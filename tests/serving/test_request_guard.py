"""The guard and the API without a network: what arrives slowly, in pieces, not at all."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable

import pytest
from squares import ABOUT, THRESHOLDS, Squares, encoded, picture

pytest.importorskip("fastapi", reason="needs the dependency group serve")

from fastapi import FastAPI

from facemask.serving import http_api
from facemask.serving.detection_service import DetectionService, Limits
from facemask.serving.request_guard import ENVELOPE, RequestGuard
from facemask.serving.token_login import TokenLogin

MB = 1 << 20

Message = dict[str, object]
Receive = Callable[[], Awaitable[Message]]


def make(**limits: float) -> tuple[RequestGuard, DetectionService]:
    allowed = Limits(**{"megabytes": 1, "seconds": 10.0, **limits})  # type: ignore[arg-type]
    service = DetectionService({"auto": Squares}, ABOUT, allowed, THRESHOLDS)
    app = FastAPI()
    http_api.add_routes(app, service)
    return RequestGuard(app, MB, service.limits.seconds, frozenset(["localhost"])), service


def ask(
    guard: RequestGuard, receive: Receive, path: str = "/detect", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> tuple:
    """The status, the JSON and the headers with which a POST is answered."""
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "scheme": "http",
    }
    asyncio.run(asyncio.wait_for(guard(scope, receive, send), 60))  # type: ignore[arg-type]
    body = b"".join(message.get("body", b"") for message in said[1:])  # type: ignore[misc]
    return said[0]["status"], json.loads(body), dict(said[0]["headers"])  # type: ignore[call-overload]


def pieces(*parts: bytes, then: Message | None = None) -> Receive:
    """A body that comes in pieces; after them `then`, or nothing more."""
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if then is not None:
        messages.append(then)

    async def receive() -> Message:
        if not messages:
            await asyncio.sleep(3600)
        return messages.pop(0)

    return receive


END: Message = {"type": "http.request", "body": b"", "more_body": False}


def test_a_picture_in_pieces():
    guard, service = make()
    data = encoded(picture())
    status, body, headers = ask(guard, pieces(data[:10], data[10:], then=END))
    assert (status, len(body["boxes"])) == (200, 2)
    assert b"content-security-policy" in headers
    assert service.inside == 0


def test_what_does_not_arrive_in_time_is_given_up():
    guard, service = make(seconds=0.2)
    status, body, _ = ask(guard, pieces(b"only this"))
    assert (status, body) == (408, {"error": "The upload did not arrive within 0.2 seconds."})
    assert service.inside == 0


def test_a_login_that_does_not_arrive_in_time_is_given_up():
    guard, _ = make(seconds=0.2)
    guard = dataclasses.replace(guard, app=TokenLogin(guard.app, "0123456789abcdef"))
    status, body, _ = ask(guard, pieces(b"token="), path="/login")
    assert (status, body) == (408, {"error": "The upload did not arrive within 0.2 seconds."})


def test_pieces_that_are_too_many_are_counted_not_kept():
    guard, service = make(seconds=30.0)
    taken = 0

    async def endless() -> Message:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": bytes(MB), "more_body": True}

    status, body, _ = ask(guard, endless)
    assert (status, body) == (413, {"error": "Too large: the limit is 1 MB."})
    assert taken * MB <= 10 * (MB + ENVELOPE)
    assert service.inside == 0
    # Said before, it is not even passed on.
    status, body, headers = ask(guard, pieces(then=END), headers=((b"content-length", b"99999999"),))
    assert (status, body) == (413, {"error": "Too large: the limit is 1 MB."})
    assert b"content-security-policy" in headers


def test_an_upload_that_breaks_off_gives_its_place_back():
    guard, service = make()
    assert ask(guard, pieces(b"x", then={"type": "http.disconnect"}))[0] == 400
    assert service.inside == 0


def test_those_for_whom_there_is_no_place_are_told_when_to_come_again():
    guard, service = make(workers=1, waiting=0)
    with service.reserve_place():
        status, body, headers = ask(guard, pieces(then=END))
    assert (status, headers[b"retry-after"]) == (503, b"2")
    assert "Busy" in body["error"]
    assert ask(guard, pieces(encoded(picture()), then=END))[0] == 200
