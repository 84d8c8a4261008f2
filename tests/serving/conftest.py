import shutil
import signal
from collections.abc import Iterator

import pytest
from server_processes import Running, start, stop


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server on a free port that takes 2 MB."""
    pytest.importorskip("fastapi", reason="needs the dependency group serve")
    folder = tmp_path_factory.mktemp("server")
    running = start(folder)
    try:
        yield running
    finally:
        assert stop(running) == 128 + signal.SIGTERM
        shutil.rmtree(folder)
