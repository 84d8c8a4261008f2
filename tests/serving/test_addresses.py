"""Where a server listens, and what it tidies away."""

import os
import socket
import time
from pathlib import Path

import pytest

from scripts.serving import server
from scripts.serving.server import Address
from scripts.support.errors import UserError


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example", False),
    ],
)
def test_only_loopback_is_loopback(host: str, is_loopback: bool, capfd: pytest.CaptureFixture[str]):
    assert Address(host, 1).is_loopback is is_loopback
    server.say(Address(host, 1), "x")
    assert ("open to the network" in capfd.readouterr().err) is not is_loopback


def test_a_free_port_is_found_and_a_taken_one_refused():
    listener, address = server.listen(Address("127.0.0.1", 0))
    with listener:
        assert address.port > 0
        with socket.create_connection((address.host, address.port)):
            pass
        with pytest.raises(UserError, match=rf"PORT={address.port}: cannot be listened on \(.*in use"):
            server.listen(address)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.1.1.1", "x" * 300])
def test_no_such_host(host: str):
    with pytest.raises(UserError, match=r"no such address|cannot be listened on"):
        server.listen(Address(host, 0))


def test_what_is_old_is_tidied_away(tmp_path: Path):
    old, new, outside = tmp_path / "in" / "a" / "old", tmp_path / "in" / "b" / "new", tmp_path / "outside"
    for path in (old, new, outside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    for path in (old, outside, old.parent):
        os.utime(path, (time.time() - 100,) * 2)
    assert 2000 <= server.size_of(tmp_path / "in") < 20_000
    server.tidy(tmp_path / "in", 50)
    assert not old.exists()
    assert new.exists()
    server.tidy(tmp_path / "in", -1)
    assert list((tmp_path / "in").iterdir()) == []
    assert outside.exists()
