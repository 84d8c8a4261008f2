"""Download files over HTTPS only, check their digests, and never leave a partial file.

pooch downloads to a temporary name beside the target and renames the file once its digest is right. The folder of
downloads holds for a file `<name>`:

    <name>              the file: downloaded and checked, or put there by hand
    <stem>.json         the digest of the first download, if the publisher gives none
"""

import contextlib
import datetime
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from facemask.core.errors import UserError
from facemask.core.files import digest_of, sha256, write_json

if TYPE_CHECKING:
    import requests

PRETRAINED = Path("workspace/pretrained")
"""The folder of downloads."""

_BLOCK = 1 << 18


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Attributes:
        address: Its HTTPS address.
        target: The path of the downloaded file.
        otherwise: What the user can do if the download fails: the last sentences of the error message.
        loopback: Allow plain HTTP from this machine itself (127.0.0.1), for tests.
        timeout: Seconds without an answer or a byte after which the download fails.
        retries: Further attempts if the server is busy (status 429, 502, 503 or 504).
        report: Called with each line that the user should read.
    """

    address: str
    target: Path
    otherwise: str
    loopback: bool = False
    timeout: float = 30
    retries: int = 3
    report: Callable[[str], None] = print


def fetch_file(file: RemoteFile, digest: str | None) -> Path:
    """Download a file unless its target exists, and check its digest in both cases.

    If the user has put the file in its place by hand, no network is needed. Processes that fetch the same file wait for
    one another.

    Args:
        file: The file.
        digest: `<algorithm>:<hex digits>`, such as `sha256:8f23...`. None means the digest that was recorded at the
            first download; at the first download itself, the digest is recorded beside the file and reported.

    Returns:
        The target.

    Raises:
        UserError: The download fails, or the digest is wrong. A wrong download is removed; a file that was put there by
            hand stays.

    Example:
        >>> yunet = RemoteFile("https://example.org/yunet.onnx", Path("workspace/pretrained/yunet.onnx"), "Try again.")
        >>> fetch_file(yunet, "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4")
        PosixPath('workspace/pretrained/yunet.onnx')
    """
    with download_lock(file):
        expected = digest or recorded_digest(file, "sha256")
        if not file.target.exists():
            download_file(file, expected)
        elif expected is not None:
            algorithm, _, hexadecimal = expected.partition(":")
            found = digest_of(file.target, algorithm)
            if found != hexadecimal:
                raise UserError(
                    f"{file.target}: has the {algorithm.upper()} {found}, not the expected {hexadecimal}. "
                    f"Put the file from {file.address} there, or remove it."
                )
        if expected is None:
            record_digest(file, "sha256", sha256(file.target))
    return file.target


def download_file(file: RemoteFile, digest: str | None) -> None:
    """Download a file to its target, which must not exist. Call it inside `download_lock`.

    Args:
        file: The file.
        digest: `<algorithm>:<hex digits>`, or None to accept any content.

    Raises:
        UserError: The download fails, or the digest is wrong. Nothing is left behind.
    """
    import pooch
    import requests

    file_name(file.address, file.loopback)
    pooch.get_logger().setLevel("ERROR")  # it logs each download, and the digest to copy into the code
    try:
        pooch.retrieve(
            file.address,
            digest,
            fname=file.target.name,
            path=file.target.parent,
            downloader=lambda address, part, _: _stream(file, Path(part)),
        )
    except requests.RequestException as error:
        raise UserError(f"{file.address}: {_reason(error)}. {file.otherwise}") from None
    except ValueError as error:  # pooch's only sign of a wrong digest
        raise UserError(f"{file.address}: {error} It was removed. {file.otherwise}") from None


def file_name(address: str, loopback: bool = False) -> str:
    """The name of the file at an address.

    Raises:
        UserError: The address is not one over HTTPS, nor, where that is allowed, over HTTP from 127.0.0.1.
    """
    parts = urlsplit(address)
    if parts.scheme != "https" and not (loopback and parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        raise UserError(f"{address}: downloads use HTTPS only. Give an address that starts with https://.")
    return PurePosixPath(parts.path).name


def why_unreachable(address: str, timeout: float = 5, *, loopback: bool = False) -> str | None:
    """Ask a file's server for its headers. Returns None if it answers with status 200, else what is wrong."""
    import requests

    try:
        with _session(address, loopback, retries=0) as session:
            session.head(address, timeout=timeout, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        return _reason(error)
    return None


@contextlib.contextmanager
def download_lock(file: RemoteFile) -> Iterator[None]:
    """Hold the target's lock file, so that one process at a time downloads it.

    Raises:
        UserError: The operating system refuses something in this block, such as a full disk.
    """
    import filelock

    try:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(file.target.with_name(f".{file.target.name}.lock"))
        try:
            held = lock.acquire(blocking=False)
        except filelock.Timeout:
            file.report(f"{file.target.name}: another process is fetching it; waiting.")
            held = lock.acquire()
        with held:
            yield
    except OSError as error:
        raise user_error_from_os(error, file.target) from None


def recorded_digest(file: RemoteFile, key: str) -> str | None:
    """The SHA-256 that the first download recorded under `key`, as `sha256:<hex>`; None if there is no record.

    Raises:
        UserError: The record is damaged.
    """
    record = _record(file)
    if not record.exists():
        return None
    try:
        digest = json.loads(record.read_text(encoding="utf-8"))[key]
    except (ValueError, KeyError, TypeError):
        digest = None
    if not (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)):
        raise UserError(f"{record}: holds no recorded digest. Remove it to record a new one.")
    return f"sha256:{digest}"


def record_digest(file: RemoteFile, key: str, digest: str) -> None:
    """Record the SHA-256 of a first download and report it. Later downloads must have the same digest."""
    record = _record(file)
    made = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    write_json(record, {"format": 1, "address": file.address, key: digest, "made": made})
    file.report(f"No digest is published for {file.target.name}: recorded {digest} in {record}.")


def _record(file: RemoteFile) -> Path:
    return file.target.with_name(f"{file.target.name.removesuffix('.gz').rpartition('.')[0]}.json")


def _session(address: str, loopback: bool, retries: int) -> "requests.Session":
    """A session that opens HTTPS and, if allowed, the one loopback server. A redirect to anything else is an error."""
    import requests
    import urllib3

    # Failed connections are not retried: without a network, the pauses would only delay the error.
    retry = urllib3.Retry(
        retries, connect=0, read=0, status_forcelist=(429, 502, 503, 504), backoff_factor=1, raise_on_status=False
    )
    session = requests.Session()
    session.adapters.clear()
    session.mount("https://", requests.adapters.HTTPAdapter(max_retries=retry))
    if loopback:
        session.trust_env = False  # no proxy stands between this machine and itself
        session.mount(f"http://{urlsplit(address).netloc}/", requests.adapters.HTTPAdapter(max_retries=retry))
    return session


def _stream(file: RemoteFile, part: Path) -> None:
    """Write the server's answer to `part`, with progress on stderr."""
    import requests
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (*Progress.get_default_columns()[:2], DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with (
        _session(file.address, file.loopback, file.retries) as session,
        session.get(
            file.address, headers={"Accept-Encoding": "identity"}, stream=True, timeout=file.timeout
        ) as response,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            # A network's login page answers every address with status 200 and HTML.
            raise requests.RequestException("the answer is a web page, not the file (a login page of this network?)")
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        free = shutil.disk_usage(part.parent).free
        if total is not None and total > free:
            raise UserError(
                f"{part.parent}: the file needs {format_megabytes(total)}, the disk has {format_megabytes(free)}. "
                "Free some space and run again."
            )
        task = progress.add_task(file.target.name, total=total)
        part.unlink()  # only the owner may read pooch's file; the new one follows the umask
        with part.open("xb") as written:
            for block in response.iter_content(_BLOCK):
                written.write(block)
                progress.advance(task, len(block))


def _reason(error: "requests.RequestException") -> str:
    """Describe the innermost of requests' and urllib3's nested errors in one line."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}".rstrip()
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "it redirects to an address that is not HTTPS (a login page of this network?)"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended before the file did"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    inner: Any = error
    while causes := [cause for cause in (getattr(inner, "reason", None), *inner.args) if isinstance(cause, Exception)]:
        inner = causes[0]
    return " ".join(str(getattr(inner, "strerror", None) or inner or type(inner).__name__).split()).rstrip(".")


def format_megabytes(size: int) -> str:
    """Format a number of bytes in megabytes."""
    return f"{size / 1e6:,.1f} MB"


def user_error_from_os(error: OSError, path: Path) -> UserError:
    """Make a `UserError` that names the file from an error of the operating system."""
    return UserError(f"{error.filename or path}: {error.strerror or error}.")
