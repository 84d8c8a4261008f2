import shutil
from collections.abc import Iterator

import pytest
from processes import Running, start, stop


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server on a free port that takes 2 MB."""
    pytest.importorskip("gradio", reason="the page's packages are not here (make serve installs them)")
    folder = tmp_path_factory.mktemp("server")
    running = start(folder)
    try:
        yield running
    finally:
        stop(running)
        shutil.rmtree(folder)
