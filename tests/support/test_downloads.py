"""One file, brought over a loopback server and accepted by its digest."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support import downloads
from scripts.support.downloads import Transfer
from scripts.support.errors import UserError

CONTENT = b"a network's weights" * 1000
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
OTHERWISE = "Put it there by hand."


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        super().do_GET()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """Serves faces.bin, and a page in the place of login.html."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "faces.bin").write_bytes(CONTENT)
    (folder / "login.html").write_text("Welcome to the hotel")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as listening:
        listening.asked = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "pretrained" / "faces.bin"


def transfer(server: http.server.ThreadingHTTPServer, target: Path, name: str = "faces.bin") -> Transfer:
    address = f"http://127.0.0.1:{server.server_port}/{name}"
    return Transfer(address, target, OTHERWISE, loopback=True, timeout=5, pauses=(), say=lambda line: None)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("digest", [SHA256, f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"])
def test_a_file_is_brought_once(server: http.server.ThreadingHTTPServer, target: Path, digest: str) -> None:
    for _ in range(2):
        assert downloads.fetch(transfer(server, target), digest) == target
    assert target.read_bytes() == CONTENT
    assert visible(target.parent) == [target.name]
    assert server.asked == 1  # type: ignore[attr-defined]


def test_another_file_than_expected_is_refused_and_removed(
    server: http.server.ThreadingHTTPServer, target: Path
) -> None:
    with pytest.raises(UserError) as error:
        downloads.fetch(transfer(server, target), f"sha256:{'0' * 64}")
    for part in (SHA256.removeprefix("sha256:"), "0" * 64, "faces.bin", "was removed", OTHERWISE):
        assert part in str(error.value)
    assert visible(target.parent) == []


def test_a_wrong_file_that_was_put_there_stays(server: http.server.ThreadingHTTPServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"faces\.bin: has the SHA256 .*or remove it"):
        downloads.fetch(transfer(server, target), SHA256)
    assert target.read_bytes() == b"mine"
    assert server.asked == 0  # type: ignore[attr-defined]


def test_a_right_file_that_was_put_there_needs_no_network(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert downloads.fetch(Transfer("https://127.0.0.1:1/faces.bin", target, OTHERWISE), SHA256) == target


def test_a_login_page_is_not_taken_for_the_file(server: http.server.ThreadingHTTPServer, target: Path) -> None:
    with pytest.raises(UserError, match=r"not the file but text/html"):
        downloads.fetch(transfer(server, target, "login.html"), SHA256)
    assert visible(target.parent) == []


def test_no_network_and_no_such_file_name_the_way_out(
    server: http.server.ThreadingHTTPServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"404.*{OTHERWISE}"):
        downloads.fetch(transfer(server, target, "gone.bin"), SHA256)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UserError, match=rf"cannot be reached \(.*\)\. {OTHERWISE}"):
        downloads.fetch(Transfer("https://127.0.0.1:1/faces.bin", target, OTHERWISE), SHA256)


@pytest.mark.parametrize("address", ["http://example.org/faces.bin", "file:///etc/passwd", "ftp://127.0.0.1/faces.bin"])
def test_only_https_is_asked(target: Path, address: str) -> None:
    with pytest.raises(UserError, match="over HTTPS only"):
        downloads.fetch(Transfer(address, target, OTHERWISE, loopback=True), SHA256)
