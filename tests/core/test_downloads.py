"""One file, brought from a loopback server and accepted by its digest."""

import dataclasses
import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_server import LoopbackServer, serve_file

from facemask.core import downloads
from facemask.core.downloads import RemoteFile
from facemask.core.errors import UserError

CONTENT = b"a network's weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SHA256 = f"sha256:{DIGEST}"
OTHERWISE = "Put it there by hand."
NOWHERE = "https://127.0.0.1:1/faces.bin"  # nothing listens on port 1


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with serve_file(CONTENT, "faces.bin") as serving:
        yield serving


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "pretrained" / "faces.bin"


def remote(server: LoopbackServer, target: Path, **options: object) -> RemoteFile:
    file = RemoteFile(server.address, target, OTHERWISE, loopback=True, timeout=5, retries=0, report=lambda line: None)
    return dataclasses.replace(file, **options)  # type: ignore[arg-type]


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("digest", [SHA256, f"md5:{hashlib.md5(CONTENT).hexdigest()}"])
def test_a_file_is_brought_once(server: LoopbackServer, target: Path, digest: str) -> None:
    for _ in range(2):
        assert downloads.fetch_file(remote(server, target), digest) == target
    assert target.read_bytes() == CONTENT
    assert visible(target.parent) == [target.name]
    assert server.asked == 1
    plain = target.with_name("plain")
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode


def test_another_file_than_expected_is_refused_and_removed(server: LoopbackServer, target: Path) -> None:
    with pytest.raises(UserError) as error:
        downloads.fetch_file(remote(server, target), f"sha256:{'0' * 64}")
    for part in (DIGEST, "0" * 64, server.address, OTHERWISE):
        assert part in str(error.value)
    assert visible(target.parent) == []


def test_a_file_that_was_put_there_needs_no_network_and_is_never_removed(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert downloads.fetch_file(RemoteFile(NOWHERE, target, OTHERWISE), SHA256) == target
    target.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"faces\.bin"):
        downloads.fetch_file(RemoteFile(NOWHERE, target, OTHERWISE), SHA256)
    assert target.read_bytes() == b"mine"


def test_without_a_published_digest_the_first_one_is_recorded_and_held_to(server: LoopbackServer, target: Path) -> None:
    told: list[str] = []
    downloads.fetch_file(remote(server, target, report=told.append), None)
    assert len(told) == 1
    assert DIGEST in told[0]
    record = target.with_name("faces.json")
    assert json.loads(record.read_text())["sha256"] == DIGEST
    downloads.fetch_file(remote(server, target, report=told.append), None)
    assert len(told) == 1
    target.unlink()
    server.body = CONTENT[::-1]
    with pytest.raises(UserError, match=DIGEST):
        downloads.fetch_file(remote(server, target), None)
    assert visible(target.parent) == [record.name]
    record.write_text("{}")
    with pytest.raises(UserError, match=r"faces\.json"):
        downloads.fetch_file(remote(server, target), None)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("status 404", "404"),
        ("status 503", "503"),
        ("html", "web page"),
        ("redirect http://portal.example/login", "not HTTPS"),
        ("redirect ftp://mirror.example/a", "not HTTPS"),
        ("redirect /again", "redirects"),
        ("cut 1000", "ended before"),
        ("stall", "timed out"),
    ],
)
def test_a_useless_answer_ends_in_one_line_and_leaves_nothing(
    server: LoopbackServer, target: Path, answer: str, told: str
) -> None:
    server.plan = [answer]
    with pytest.raises(UserError, match=told) as error:
        downloads.fetch_file(remote(server, target, timeout=0.3), SHA256)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(OTHERWISE)
    assert visible(target.parent) == []


def test_a_busy_server_is_asked_again(server: LoopbackServer, target: Path) -> None:
    server.plan = ["status 503", "whole"]
    downloads.fetch_file(remote(server, target, retries=1), SHA256)
    assert server.asked == 2


def test_without_a_network_the_reason_is_said_at_once(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="refused"):
        downloads.fetch_file(RemoteFile(NOWHERE, target, OTHERWISE), SHA256)

    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UserError, match="name resolution"):
        downloads.fetch_file(RemoteFile("https://weights.example/faces.bin", target, OTHERWISE), SHA256)


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/faces.bin",
        "http://127.0.0.1@example.org/faces.bin",
        "http://127.0.0.1.example.org/faces.bin",
        "file:///etc/passwd",
        "ftp://127.0.0.1/faces.bin",
    ],
)
def test_only_https_is_asked(target: Path, address: str) -> None:
    with pytest.raises(UserError, match="HTTPS"):
        downloads.fetch_file(RemoteFile(address, target, OTHERWISE, loopback=True), SHA256)


def test_a_full_disk_is_seen_before_the_download(
    server: LoopbackServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(target.anchor)._replace(free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(UserError, match=f"{target.parent}: "):
        downloads.fetch_file(remote(server, target), SHA256)
    assert visible(target.parent) == []


def test_a_folder_that_cannot_be_made_is_named(server: LoopbackServer, tmp_path: Path) -> None:
    (tmp_path / "pretrained").write_text("a file")
    with pytest.raises(UserError, match="pretrained"):
        downloads.fetch_file(remote(server, tmp_path / "pretrained" / "faces.bin"), SHA256)


def test_two_at_once_download_once(server: LoopbackServer, target: Path) -> None:
    told: list[str] = []
    both = [
        threading.Thread(target=downloads.fetch_file, args=(remote(server, target, report=told.append), SHA256))
        for _ in range(2)
    ]
    with downloads.download_lock(remote(server, target)):
        for thread in both:
            thread.start()
        while sum("another process" in line for line in told) < 2:
            pass
    for thread in both:
        thread.join()
    assert server.asked == 1
    assert target.read_bytes() == CONTENT


def test_an_unreachable_server_is_named_by_its_answer(server: LoopbackServer) -> None:
    assert downloads.why_unreachable(server.address, loopback=True) is None
    server.plan = ["status 404"]
    assert "404" in str(downloads.why_unreachable(server.address, loopback=True))
    assert "refused" in str(downloads.why_unreachable(NOWHERE))
