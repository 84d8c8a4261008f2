import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import standin
import tiny_model
from no_skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401

from scripts.tfod import compat

LONGEST = (
    "test_pipeline.py",
    "test_training.py",
    "test_converting.py",
    "test_classifier_training.py",
    "test_compat.py",
    "test_api_evaluation.py",
    "test_devices.py",
    "test_server.py",
)


def pytest_configure() -> None:
    """In every process of the tests: one in which TensorFlow was imported without it is closed to the API.

    What a process without it does is tested in processes of their own (test_compat).
    """
    compat.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first: two processes then end at about the same time."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def zoo_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[standin.StandIn]:
    """A stand-in for the default model's archive in the zoo. Read-only: copy it before changing it."""
    folder = tmp_path_factory.mktemp("zoo")
    yield standin.write_archive(folder)
    shutil.rmtree(folder)  # pytest would keep its 130 MB for three sessions


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a very small detector, at step 7, its weights random. Read-only."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model.write_run(folder)
    tiny_model.save_checkpoint(folder, tiny_model.build(), steps=7)
    return folder


@pytest.fixture(scope="session")
def tiny_export(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What `python -m scripts.export` said of that run."""
    exported = tmp_path_factory.mktemp("exported")
    # No records, whatever there is in this checkout.
    folders = ["--annotations", str(exported / "none"), "--models", str(tiny_run.parent), "--exported", str(exported)]
    command = [sys.executable, "-m", "scripts.export", "--run", tiny_run.name, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def tiny_exported(tiny_export: subprocess.CompletedProcess[str]) -> Path:
    """The folder of that run, exported. Read-only."""
    return Path(tiny_export.args[-1]) / "tiny"


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of records made from twelve drawn pictures. Read-only."""
    from scripts.dataset import sample

    folder = tmp_path_factory.mktemp("records")
    sample.write(folder / "images", images=12, seed=0)
    folders = ["--images", str(folder / "images"), "--annotations", str(folder / "annotations")]
    command = [sys.executable, "-m", "scripts.records", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "annotations"
