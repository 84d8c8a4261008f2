"""Where the pictures of Label Studio's tasks may come from: its uploads, and one folder. All else is refused.

A task names its picture itself, and whoever may create tasks chooses that name. So no address of a task is ever
followed: an upload is asked of the one server that the user named, by its path, without redirects, and a local file
must be inside the folder that the user named.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from facemask.core.errors import UserError
from facemask.data import images
from facemask.data.images import ImageError
from facemask.serving.detection_service import RefusedError
from facemask.serving.token_file import read_token

UPLOADS = "/data/upload/"
"""The path under which Label Studio serves what was uploaded to it."""

LOCAL_FILES = "/data/local-files/"
"""The path under which Label Studio serves files of its LOCAL_FILES_DOCUMENT_ROOT; `?d=` names the file."""

_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


@dataclass(frozen=True)
class LabelStudioPictures:
    """What the user allows.

    Attributes:
        url: Label Studio's address, such as http://localhost:8080; None fetches no uploads.
        token: A token of a Label Studio user: a legacy token, or a personal access token.
        files: The folder that Label Studio knows as LOCAL_FILES_DOCUMENT_ROOT; None reads no files.
    """

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    files: Path | None = None

    def read_picture(self, value: str, most: int, seconds: float) -> bytes:
        """Read the picture that a task names.

        Args:
            value: The task's value, such as `/data/upload/1/5f0c-photo.jpg`.
            most: The largest file in bytes.
            seconds: How long Label Studio may take.

        Raises:
            RefusedError: It is not from one of the allowed places, cannot be read, or is too large.
        """
        path = _path_within(value, self.url)
        if path.startswith(LOCAL_FILES) and self.files is not None:
            return _read_file(self.files, path, most)
        if not path.startswith((UPLOADS, LOCAL_FILES)):
            raise _refused(value, f"only {UPLOADS} and {LOCAL_FILES} of Label Studio are read")
        if self.url is None or self.token is None:
            raise _refused(
                value, "start the server with LABEL_STUDIO= and LABEL_STUDIO_TOKEN_FILE=, or LABEL_STUDIO_FILES="
            )
        return _fetch(self.url, self.token, path, most, seconds)


def open_pictures(url: str, token_file: Path | None, files: Path | None) -> LabelStudioPictures:
    """Check the options.

    Args:
        url: Label Studio's address, or nothing.
        token_file: The file with the token for it.
        files: The folder of local files.

    Raises:
        UserError: One of them is wrong, or the address has no token.
    """
    if bool(url) != bool(token_file):
        raise UserError("LABEL_STUDIO= and LABEL_STUDIO_TOKEN_FILE= belong together: give both, or neither.")
    if files is not None and not files.is_dir():
        raise UserError(f"LABEL_STUDIO_FILES={files}: no such folder.")
    token = read_token(token_file, "LABEL_STUDIO_TOKEN_FILE") if token_file else None
    return LabelStudioPictures(check_address(url) if url else None, token, files)


def check_address(url: str) -> str:
    """Label Studio's address without a slash at its end.

    Raises:
        UserError: It is not the address of a web server.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise UserError(f"LABEL_STUDIO={url}: must be an address such as http://localhost:8080.")
    return url.rstrip("/")


def _path_within(value: str, url: str | None) -> str:
    """The path and query of a task's picture on Label Studio. Raises RefusedError if it may be anywhere else."""
    if url is not None and value.startswith(f"{url}/"):
        value = value[len(url) :]
    try:
        parts = urlsplit(value)
    except ValueError:
        raise _refused(value, "not an address") from None
    if parts.scheme or parts.netloc:
        raise _refused(value, "it is not an upload or a local file of the Label Studio that LABEL_STUDIO= names")
    # A server may decode a path more than once, and see `..` where there was `%252e`.
    steps = unquote(unquote(parts.path)).split("/")
    if not value.startswith("/") or ".." in steps or "\\" in value or not value.isprintable():
        raise _refused(value, "it is not a path of Label Studio")
    return value


def _read_file(folder: Path, path: str, most: int) -> bytes:
    [name] = parse_qs(urlsplit(path).query).get("d", [""])[:1]
    root = folder.resolve()
    try:
        file = (root / name).resolve()
        inside = bool(name) and not Path(name).is_absolute() and file.is_relative_to(root)
        if not inside:
            raise _refused(name, "it is not inside LABEL_STUDIO_FILES=")
        if file.is_file() and file.stat().st_size > most:
            raise RefusedError(413, f"{name}: larger than {most >> 20} MB.")
        return images.read_bytes(file)
    except (ImageError, OSError, ValueError):
        raise RefusedError(404, f"{name}: no such file in LABEL_STUDIO_FILES=.") from None


def _fetch(url: str, token: str, path: str, most: int, seconds: float) -> bytes:
    import requests

    session = requests.Session()
    session.trust_env = False  # a .netrc would replace the token, a proxy would see it
    try:
        header = {"Authorization": _access(session, url, token, seconds)}
        with session.get(url + path, headers=header, stream=True, allow_redirects=False, timeout=seconds) as response:
            if response.status_code in (401, 403):
                raise RefusedError(502, f"{url}: Label Studio does not accept the token for {path}.")
            if response.status_code != 200:
                raise RefusedError(502, f"{url}{path}: Label Studio answered {response.status_code}.")
            return _limited(response, path, most)
    except requests.RequestException as error:
        raise RefusedError(502, f"{url}: Label Studio cannot be reached ({type(error).__name__}).") from None
    finally:
        session.close()


def _limited(response: Any, path: str, most: int) -> bytes:
    parts, size = [], 0
    for part in response.iter_content(1 << 16):
        parts.append(part)
        size += len(part)
        if size > most:
            raise RefusedError(413, f"{path}: larger than {most >> 20} MB.")
    return b"".join(parts)


def _access(session: Any, url: str, token: str, seconds: float) -> str:
    """The value of the header for a token: a personal access token is a JWT, which buys an access token for minutes."""
    if not _JWT.fullmatch(token):
        return f"Token {token}"
    response = session.post(f"{url}/api/token/refresh", json={"refresh": token}, allow_redirects=False, timeout=seconds)
    try:
        return f"Bearer {response.json()['access']}"
    except (ValueError, KeyError, TypeError):
        raise RefusedError(502, f"{url}: Label Studio does not accept the personal access token.") from None


def _refused(value: str, why: str) -> RefusedError:
    shown = re.sub(r"[^\x20-\x7e]", "?", value[:100])
    return RefusedError(422, f"{shown}: not read; {why}.")
