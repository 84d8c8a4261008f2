"""Who is let in where the server has a token."""

import base64
import re
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs the dependency group serve")

from asgi_requests import ask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from facemask.core.errors import UserError
from facemask.serving import token_login
from facemask.serving.token_file import read_token
from facemask.serving.token_login import TokenLogin

TOKEN = "correct-horse-battery-staple"


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"behind {Request(scope).url.path}")(scope, receive, send)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        ("Bearer", 401),
        ("Bearer \xe9", 401),
        (f"Token {TOKEN}", 401),
        (basic(f"anybody:{TOKEN}"), 200),
        (basic(f"{TOKEN}:"), 401),
        (basic(TOKEN), 401),
        ("Basic ???", 401),
        ("Basic /w==", 401),
    ],
)
def test_programs_send_the_token(header: str, status: int):
    headers = {"authorization": header} if header else {}
    got, text, sent = ask(TokenLogin(behind, TOKEN), "POST", "/detect", **headers)
    assert got == status
    assert TOKEN not in text
    if status == 401:
        assert "error" in text and sent["www-authenticate"] == "Bearer"


def log_in(login: TokenLogin, token: str, scheme: str = "http") -> tuple[int, str, dict[str, str]]:
    return ask(login, "POST", "/login", f"token={token}".encode(), scheme)


def test_a_browser_is_asked_once():
    login = TokenLogin(behind, TOKEN)
    status, text, headers = ask(login, path="/", accept="text/html,*/*")
    assert status == 401 and 'action="/login"' in text and headers["cache-control"] == "no-store"
    status, _, headers = log_in(login, f"+{TOKEN}%0A")  # what a paste brings with it
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; ")) and "Secure" not in cookie
    assert TOKEN not in cookie
    assert "Secure" in log_in(login, TOKEN, "https")[2]["set-cookie"]
    session = cookie.partition(";")[0]
    assert ask(login, "POST", "/detect", cookie=session)[:2] == (200, "behind /detect")
    assert ask(TokenLogin(behind, TOKEN), cookie=session)[0] == 401  # of a server before


def test_the_login_leads_to_the_page_that_was_asked_for():
    login = TokenLogin(behind, TOKEN)
    assert 'name="page" value="/statistics"' in ask(login, path="/statistics", accept="text/html")[1]
    assert 'value="/&quot;&gt;&lt;b"' in ask(login, path='/"><b', accept="text/html")[1]
    for page, leads in (
        ("/statistics", "/statistics"),
        ("//elsewhere.org", "/"),
        ("https://elsewhere.org/", "/"),
        ("/%5Celsewhere.org", "/"),
        ("/a%0d%0aSet-Cookie:x", "/"),
        ("", "/"),
    ):
        status, _, headers = ask(login, "POST", "/login", f"token={TOKEN}&page={page}".encode())
        assert (status, headers["location"]) == (303, leads)
    assert 'value="/statistics"' in ask(login, "POST", "/login", b"token=wrong&page=/statistics")[1]


def test_a_wrong_token_gets_no_cookie():
    login = TokenLogin(behind, TOKEN)
    for body in (b"token=wrong", b"", b"token=", b"\xff", b"token=" + b"x" * 10_000):
        status, text, headers = ask(login, "POST", "/login", body)
        assert status in (401, 413) and "set-cookie" not in headers
        assert TOKEN not in text


def test_a_cookie_cannot_be_changed_and_ends(monkeypatch: pytest.MonkeyPatch):
    login = TokenLogin(behind, TOKEN)
    name, value = re.match(r"(\w+)=([^;]+)", log_in(login, TOKEN)[2]["set-cookie"]).groups()
    expires, _, signature = value.partition(".")
    for wrong in (f"{int(expires) + 1}.{signature}", f".{signature}", expires, f"{expires}.", f"x.{signature}", "."):
        assert ask(login, cookie=f"{name}={wrong}")[0] == 401
    monkeypatch.setattr(token_login.time, "time", lambda: int(expires) + 1)
    assert ask(login, cookie=f"{name}={value}")[0] == 401


def test_everybody_may_ask_whether_the_server_is_up():
    login = TokenLogin(behind, TOKEN)
    assert ask(login, path="/health")[:2] == (200, '{"status": "ok"}')
    assert ask(login, path="/health", authorization=f"Bearer {TOKEN}")[1] == "behind /health"
    assert ask(login, "POST", "/health")[0] == 401


def test_a_token_is_read_from_its_file(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}\r\n")
    assert read_token(file) == TOKEN


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"0123456789abcde\n", "at least 16"),
        (b"two words, which are long enough", "without spaces"),
        ("ein-Schlüssel-mit-Umlaut".encode(), "without spaces"),
        (b"x" * 5000, "one line"),
    ],
)
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None, problem: str):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=problem) as error:
        read_token(file)
    assert f"TOKEN_FILE={file}" in str(error.value)
    assert not content or not content.strip() or content.decode(errors="replace").strip() not in str(error.value)
