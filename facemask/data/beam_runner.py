"""Make records on Apache Beam's workers, for data sets that are too large for one machine.

The workers run the same functions as the worker processes of one machine, and read and write the same files. Results
return through small files in the scratch folder, so a shared file system is all that the workers need.
"""

import logging
import os
import pickle
import shlex
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.data.make_records import Elsewhere

INSTALL = "Apache Beam is not installed here. `make records RUNNER=...` installs it on first use."


def beam_workers(runner: str, options: str = "") -> Elsewhere:
    """A function that runs other functions on the workers of a Beam runner, for `make_records`.

    Args:
        runner: Beam's name of the runner: `DirectRunner`, `FlinkRunner`, `SparkRunner`, `DataflowRunner`...
        options: Beam's pipeline options in the form of a command line, such as `--flink_master=host:8081`.

    Raises:
        UserError: Beam is not installed, the runner is unknown, or the options cannot be read.
    """
    # Importing it warns about each cloud service whose client is missing or old.
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

    def ordered(scratch: Path, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
        numbered = list(enumerate(jobs))
        folder = scratch.absolute() / f"results-{uuid.uuid4().hex}"
        folder.mkdir()
        _run_pipeline(PipelineOptions(arguments), runner, partial(_store_result, function, folder), numbered)
        for number, _ in numbered:
            path = folder / str(number)
            if not path.is_file():
                raise UserError(f"{folder}: the workers' files are missing. They need this folder at the same path.")
            yield pickle.loads(path.read_bytes())

    return lambda scratch: partial(ordered, scratch)


def _run_pipeline(
    options: object, runner: str, function: Callable[[tuple[int, Any]], None], jobs: list[tuple[int, Any]]
) -> None:
    import apache_beam

    try:
        with apache_beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | "Jobs" >> apache_beam.Create(jobs)
                # Without it, all jobs may stay in the process that lists them.
                | "Spread" >> apache_beam.Reshuffle()
                | "Run" >> apache_beam.Map(function)
            )
    except Exception as error:
        # Runners wrap an exception in exceptions of their own; the last line is the original message.
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(f"Beam's {runner} could not make the records: {reason}") from error


def _store_result(function: Callable[[Any], Any], folder: Path, job: tuple[int, Any]) -> None:
    """Run one job and store its result. Beam may do this twice, even at the same time: the last rename wins."""
    number, argument = job
    beside = folder / f".{number}.{uuid.uuid4().hex}"
    with beside.open("wb") as file:
        pickle.dump(function(argument), file)
        # Another machine reads the file as soon as this function is done.
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / str(number))
