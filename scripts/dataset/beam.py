"""Record files made by Apache Beam's workers, for data sets that are too large for one machine.

A worker makes one record file from beginning to end, as `shards` would: the same images in the same order, the same
bytes. So there is as much to do at a time as there are files. Only what is counted and listed comes back, through small
files in the same folder, which makes a shared file system all that the workers need to have in common.
"""

import itertools
import logging
import os
import pickle
import shlex
import uuid
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from scripts.dataset.shards import Elsewhere, Job, Made, Make
from scripts.support.errors import UserError

INSTALL = "Apache Beam is not installed here. `make records RUNNER=...` installs it on first use."


def on(runner: str, options: str = "") -> Elsewhere:
    """What makes record files on a Beam runner, for `shards.write`.

    Args:
        runner: Its name as Beam knows it: `DirectRunner`, `FlinkRunner`, `SparkRunner`, `DataflowRunner`...
        options: Beam's pipeline options as on a command line, such as `--flink_master=host:8081`.

    Raises:
        UserError: Beam is not installed, has no such runner, or the options cannot be read.
    """
    # Importing it warns about each cloud service whose client is not there, or old.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import apache_beam  # noqa: F401
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners import create_runner
    except ImportError:
        raise UserError(INSTALL) from None
    finally:
        logging.disable(logging.NOTSET)
    try:
        arguments = [f"--runner={runner}", *shlex.split(options)]
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f"RUNNER={runner}: {' '.join(str(error).split())}") from None

    def make_all(make: Make, jobs: Sequence[Job], folder: Path) -> Iterator[Made]:
        files = [(name, tuple(jobs)) for name, jobs in itertools.groupby(jobs, key=lambda job: job.file)]
        _run(PipelineOptions(arguments), runner, make, files, folder.absolute())
        for name, _ in files:
            made = folder / f"{name}{_MADE}"
            if not made.is_file():
                raise UserError(f"{folder}: the workers' files are not there. They need this folder at the same path.")
            yield from _read(made)
        # What is left by workers that were stopped, or were slower than another with the same file.
        for rest in folder.glob(".*"):
            rest.unlink()

    return make_all


_MADE = ".made"


def _run(options: object, runner: str, make: Make, files: Sequence[tuple[str, tuple[Job, ...]]], folder: Path) -> None:
    import apache_beam

    try:
        with apache_beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | "Files" >> apache_beam.Create(files)
                # Else the files may all stay in the one process that names them.
                | "Spread" >> apache_beam.Reshuffle()
                | "Write" >> apache_beam.Map(_write, make, folder)
            )
    except Exception as error:
        # Runners wrap what happened in errors of their own; the last line is the one that says it.
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(f"Beam's {runner} could not make the records: {reason}") from error


def _write(file: tuple[str, tuple[Job, ...]], make: Make, folder: Path) -> None:
    """Write one record file and what came of its jobs. Beam may do this twice, even at a time: the last rename wins."""
    name, jobs = file
    target = folder / name
    unique = uuid.uuid4().hex
    beside, beside_made = (target.with_name(f".{name}.{unique}{end}") for end in ("", _MADE))
    with beside.open("wb") as records, beside_made.open("wb") as rest:
        for job in jobs:
            made = make(job)
            records.write(made.record)
            pickle.dump(replace(made, record=b""), rest)
        # Another machine reads them as soon as this function is done.
        for written in (records, rest):
            written.flush()
            os.fsync(written.fileno())
    beside.replace(target)
    beside_made.replace(target.with_name(f"{name}{_MADE}"))


def _read(path: Path) -> Iterator[Made]:
    with path.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)
    path.unlink()
