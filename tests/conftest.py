import contextlib
import fcntl
import io
import os
import shutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import standin
import tiny_model
from no_skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401

from facemask.core import worker_processes
from facemask.tfod import compat

LONGEST = (
    "test_pipeline.py",
    "test_detector_training.py",
    "test_classifier_training.py",
    "test_conversion.py",
    "test_compat.py",
    "test_server.py",
    "test_devices.py",  # this and the next: their long tests
    "test_api_evaluation.py",
)


def pytest_configure() -> None:
    """Install the repairs in every process of the tests: the API cannot be used if TensorFlow was imported without.

    test_compat tests without them in processes of their own.
    """
    compat.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first: two processes then end at about the same time."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def no_worker_processes() -> Iterator[None]:
    """Read pictures in this process, unless a test asks for several: to start two takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_processes, "hardware", types.SimpleNamespace(usable_cores=lambda: 1))
        yield


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Where the processes of these tests keep what one of them makes for all."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process that needs it makes, and that all processes of these tests read."""
    folder = shared_folder(factory) / name
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            lock.write("made")
    return folder


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove what the processes shared, at their end: pytest would keep some 150 MB for three sessions."""
    factory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    if "PYTEST_XDIST_WORKER" not in os.environ and factory._basetemp is not None:
        shutil.rmtree(shared_folder(factory), ignore_errors=True)


@pytest.fixture(scope="session")
def zoo_archive(tmp_path_factory: pytest.TempPathFactory) -> standin.StandIn:
    """A stand-in for the default model's archive in the zoo. Read-only: copy it before changing it."""

    def make(folder: Path) -> None:
        (folder / "sha256").write_text(standin.write_archive(folder).index_sha256)

    folder = make_once(tmp_path_factory, "zoo", make)
    return standin.StandIn(folder / standin.ARCHIVE_NAME, (folder / "sha256").read_text())


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a very small detector, at step 7, its weights random. Read-only."""

    def make(folder: Path) -> None:
        tiny_model.write_run(folder / "tiny")
        tiny_model.save_checkpoint(folder / "tiny", tiny_model.build(), steps=7)

    return make_once(tmp_path_factory, "models", make) / "tiny"


@pytest.fixture(scope="session")
def tiny_exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run, exported as `make export` does: a SavedModel, and OpenVINO if it is there. Read-only."""

    def make(folder: Path) -> None:
        from facemask.cli import export_command

        with contextlib.redirect_stdout(io.StringIO()):
            # No records, whatever there is in this checkout.
            export_command.main("tiny", models=tiny_run.parent, exported=folder, annotations=folder / "none")

    return make_once(tmp_path_factory, "exported", make) / "tiny"


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of records made from twelve drawn pictures. Read-only."""

    def make(folder: Path) -> None:
        from facemask.cli import records_command
        from facemask.data import drawn_sample

        drawn_sample.write_sample(folder / "images", images=12, seed=0)
        with contextlib.redirect_stdout(io.StringIO()):
            records_command.main(images=folder / "images", annotations=folder / "annotations")

    return make_once(tmp_path_factory, "records", make) / "annotations"
