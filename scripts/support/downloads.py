"""Files from the network: over HTTPS only, continued where a download was cut off, accepted by their digest.

What lies in the folder of downloads for a file `<name>`:

    <name>                      the file, as downloaded and checked, or as put there by hand
    <name>.part, .part.json     a download that was cut off, and the version of the file that it is a part of
"""

import contextlib
import fcntl
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from scripts.support.errors import UserError
from scripts.support.files import digest_of, write_json

if TYPE_CHECKING:
    import requests

PAUSES = (1, 2, 4, 8)
"""Seconds before each further attempt."""

PRETRAINED = Path("workspace/pretrained")
"""The folder of downloads."""

_BLOCK = 1 << 18


class _CutOffError(Exception):
    """A download failed in a way that another attempt may not."""


@dataclass(frozen=True)
class Transfer:
    """What one download needs to know.

    Attributes:
        address: HTTPS address of the file.
        target: Where the file belongs.
        otherwise: What the user can do where it cannot be had: sentences that end an error's message.
        begins: The bytes that every such file begins with.
        loopback: Allow plain HTTP from this machine itself (127.0.0.1), for tests.
        timeout: Seconds without an answer or a byte after which a connection counts as lost.
        pauses: Seconds before each further attempt. An attempt that brought something starts the count anew.
        say: Called with each line that the user should read.
    """

    address: str
    target: Path
    otherwise: str
    begins: bytes = b""
    loopback: bool = False
    timeout: float = 30
    pauses: Sequence[float] = PAUSES
    say: Callable[[str], None] = print

    @property
    def part(self) -> Path:
        """Where the bytes go that have come so far."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def state(self) -> Path:
        """What says which version of the file they are of."""
        return self.target.with_name(f"{self.target.name}.part.json")

    def error(self, problem: str) -> UserError:
        """The error that names the address, the problem and the way out."""
        return UserError(f"{self.address}: {problem}. {self.otherwise}")


def fetch(transfer: Transfer, digest: str) -> Path:
    """Bring a file to its place, unless it is there, and accept it by its digest only.

    A download that was cut off goes on where it stopped, in the same call and in the next. A file that was put in its
    place by hand is used without a network. Processes that fetch the same file wait for one another.

    Args:
        transfer: The file.
        digest: `<algorithm>:<hex digits>`, such as `sha256:8f23...` or `sha1:4f2f...`.

    Returns:
        Its path, `transfer.target`.

    Raises:
        UserError: It cannot be had, or is not the one expected. A wrong download is removed, a file that was put there
            by hand stays.
    """
    address, target = transfer.address, transfer.target
    algorithm, _, expected = digest.partition(":")
    file_name(address, transfer.loopback)
    try:
        with locked(target.with_name(f".{target.name}.lock"), target, transfer.say):
            by_hand = target.exists()
            source = target if by_hand else download(transfer)
            found = digest_of(source, algorithm)
            if found != expected:
                why = f"has the {algorithm.upper()} {found}, not the expected {expected}"
                if by_hand:
                    raise UserError(f"{target}: {why}. Put the file from {address} there, or remove it.")
                source.unlink()
                raise transfer.error(f"what came {why}, and was removed")
            if not by_hand:
                source.replace(target)
    except OSError as error:
        raise from_os(error, target) from None
    return target


def file_name(address: str, loopback: bool = False) -> str:
    """The name of the file at an address.

    Raises:
        UserError: The address is not one over HTTPS, nor, where that is allowed, over HTTP from 127.0.0.1.
    """
    parts = urlsplit(address)
    if parts.scheme != "https" and not (loopback and parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        raise UserError(
            f"{address}: weights are downloaded over HTTPS only. Give an address that starts with https://."
        )
    return PurePosixPath(parts.path).name


def unreachable(address: str, timeout: float = 5, *, loopback: bool = False) -> str | None:
    """Ask a file's server for its headers. Returns None if it answers well, else what is wrong."""
    import requests

    try:
        with _session(address, loopback) as session:
            status = session.head(address, timeout=timeout, allow_redirects=True).status_code
    except requests.RequestException as error:
        return _reason(error)
    return None if status == 200 else f"it answered {status}"


def _session(address: str, loopback: bool) -> "requests.Session":
    """A session that opens HTTPS and, where allowed, the one loopback server: a redirect elsewhere is an error."""
    import requests

    session = requests.Session()
    session.adapters.clear()
    session.mount("https://", requests.adapters.HTTPAdapter())
    if loopback:
        session.trust_env = False  # no proxy stands between this machine and itself
        session.mount(f"http://{urlsplit(address).netloc}/", requests.adapters.HTTPAdapter())
    return session


def download(transfer: Transfer) -> Path:
    """Download to `<target>.part`, in as many attempts as it takes, and return its path."""
    part = transfer.part
    failures, most = 0, _size(part)
    with _session(transfer.address, transfer.loopback) as session:
        while True:
            try:
                _attempt(transfer, session)
            except _CutOffError as why:
                # Without ranges each attempt starts at zero: only more than ever before counts as getting on.
                failures = failures + 1 if _size(part) <= most else 1
                most = max(most, _size(part))
                if failures > len(transfer.pauses):
                    kept = f"; {part} is kept, run again to go on" if _size(part) else ""
                    raise transfer.error(f"{why}{kept}") from None
                pause = transfer.pauses[failures - 1]
                transfer.say(f"{transfer.address}: {why}; trying again in {pause:g} s.")
                time.sleep(pause)
            else:
                transfer.state.unlink(missing_ok=True)
                return part


def _attempt(transfer: Transfer, session: "requests.Session") -> None:
    """One request: continue the part if the server still has the same file and can, else start it anew."""
    import requests

    have = _size(transfer.part)
    version = _version(transfer) if have else None
    headers = {"Accept-Encoding": "identity"}
    if version is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        response = session.get(transfer.address, headers=headers, stream=True, timeout=transfer.timeout)
    except (requests.exceptions.InvalidSchema, requests.TooManyRedirects) as error:
        raise transfer.error(_reason(error)) from None
    except requests.RequestException as error:
        # With nothing received the network is most likely not there, and pauses would only hide that.
        if have or isinstance(error, requests.ReadTimeout):
            raise _CutOffError(_reason(error)) from None
        raise transfer.error(f"cannot be reached ({_reason(error)})") from None

    with response:
        status = f"the server answered {response.status_code} {response.reason}".rstrip()
        sent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
        if response.status_code == 416 and sent and int(sent[2]) == have:
            return
        if response.status_code == 416 or (response.status_code == 206 and (not sent or sent[1] != str(have))):
            transfer.part.unlink(missing_ok=True)
            raise _CutOffError(f"{status} with another part of the file than asked for")
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _CutOffError(status)
        if response.status_code not in (200, 206):
            raise transfer.error(status)
        if response.status_code == 206 and sent:
            _save(transfer, response, have, int(sent[2]))
        else:
            length = response.headers.get("Content-Length", "")
            _save(transfer, response, 0, int(length) if length.isdigit() else None)


def _save(transfer: Transfer, response: "requests.Response", have: int, total: int | None) -> None:
    """Write what a response brings behind the first `have` bytes of the part."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    part = transfer.part
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise UserError(
            f"{part.parent}: the file needs {megabytes(total - have)}, the disk has {megabytes(free)}. "
            "Free some space and run again."
        )
    columns = (*Progress.get_default_columns()[:2], DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(part.name.removesuffix(".part"), total=total, completed=have)
        file: BinaryIO | None = None
        try:
            for block in _received(response):
                if file is None:
                    # A network's login page answers every address with status 200 and HTML.
                    kind = response.headers.get("Content-Type", "something unknown")
                    begins = transfer.begins.startswith(block[: len(transfer.begins)])
                    if have == 0 and (kind.startswith("text/html") or not begins):
                        raise transfer.error(f"the answer is not the file but {kind} (a login page of this network?)")
                    file = part.open("ab" if have else "wb")
                    if have == 0:
                        _remember_version(transfer, response)
                file.write(block)
                file.flush()
                have += len(block)
                progress.update(task, completed=have)
        except OSError as error:
            raise UserError(f"{part}: {error.strerror}. Free some space and run again: the download goes on.") from None
        finally:
            if file is not None:
                with contextlib.suppress(OSError):  # what cannot be written was reported by the flush
                    file.close()
    if file is None:
        raise _CutOffError("the server sent nothing")
    if total is not None and _size(part) != total:
        if _size(part) > total:
            part.unlink()
        raise _CutOffError(f"the connection ended after {megabytes(_size(part))} of {megabytes(total)}")


def _received(response: "requests.Response") -> Iterator[bytes]:
    """The blocks of a response as sent, with a failure of the connection told apart from one of the disk."""
    import urllib3

    try:
        yield from response.raw.stream(_BLOCK, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise _CutOffError(_reason(error)) from None


def _remember_version(transfer: Transfer, response: "requests.Response") -> None:
    tag = response.headers.get("ETag", "")
    # RFC 9110, 13.1.5: If-Range takes a strong validator only.
    version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    write_json(transfer.state, {"address": transfer.address, "version": version})


def _version(transfer: Transfer) -> str | None:
    """What identifies the file on the server that the part is of, or None where it cannot be continued."""
    try:
        state = json.loads(transfer.state.read_text(encoding="utf-8"))
        return state["version"] if state["address"] == transfer.address else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _reason(error: BaseException) -> str:
    """The one line in a chain of network errors that says what happened."""
    import requests
    import urllib3

    if isinstance(error, requests.exceptions.InvalidSchema):
        return "it redirects to an address that is not HTTPS (a login page of this network?)"
    if isinstance(error, requests.TooManyRedirects):
        return "it redirects without end"
    if isinstance(error, requests.exceptions.SSLError):
        return f"its certificate or encryption was not accepted: {_innermost(error)}"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return _innermost(error)


def _innermost(error: BaseException) -> str:
    while True:
        causes = [cause for cause in (getattr(error, "reason", None), *error.args) if isinstance(cause, BaseException)]
        if not causes:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return " ".join(str(text).split()).rstrip(".")
        error = causes[0]


@contextlib.contextmanager
def locked(path: Path, target: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file, so that one process at a time brings the target."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{target.name}: another process is fetching it; waiting.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:,.1f} MB"


def from_os(error: OSError, path: Path) -> UserError:
    """What the operating system refused, as one line that names the file."""
    return UserError(f"{error.filename or path}: {error.strerror or error}.")
