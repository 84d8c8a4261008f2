"""Where a server listens."""

import socket
from pathlib import Path

import pytest

from facemask.core.errors import UserError
from facemask.serving import server
from facemask.serving.server import Address


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
    server.announce(Address(host, 1), "x")
    assert ("open to the network" in capfd.readouterr().err) is not is_loopback


def test_the_statistics_are_announced_if_there_are_some(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    database = tmp_path / "watch.sqlite3"
    server.announce(Address("127.0.0.1", 1), "x", statistics=database)
    assert "statistics" not in capfd.readouterr().out
    database.touch()
    server.announce(Address("127.0.0.1", 1), "x", statistics=database)
    assert capfd.readouterr().out.splitlines()[1].startswith("http://127.0.0.1:1/statistics ")


def test_a_free_port_is_found_and_a_taken_one_refused():
    listener, address = server.listen(Address("127.0.0.1", 0))
    with listener:
        assert address.port > 0
        with socket.create_connection((address.host, address.port)):
            pass
        with pytest.raises(UserError, match=f"PORT={address.port}:"):
            server.listen(address)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.1.1.1", "x" * 300])
def test_no_such_host(host: str):
    with pytest.raises(UserError, match=f"HOST={host}"):
        server.listen(Address(host, 0))
