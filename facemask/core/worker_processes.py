"""Apply a function to many jobs in several processes.

The results arrive in the order of the jobs. Only a bounded number of results waits in memory for the caller.
"""

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from facemask.core import hardware
from facemask.core.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNK = 8
"""Default number of jobs sent to a process at once: enough to hide the cost of sending, few enough for the memory."""

Ordered = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""A function that applies another function to many jobs and yields the results in the order of the jobs, like `map`."""


@contextlib.contextmanager
def started_workers(processes: int, *modules: str, chunk: int = CHUNK) -> Iterator[Ordered]:
    """Start worker processes and yield a `map` that runs in them. The processes end with the block.

    The caller continues while they start. The mapped function is sent to the processes: it must be defined at the top
    level of a module, or be a `functools.partial` of such a function. Each job must be picklable. At most a few chunks
    of results are in memory, however many jobs there are.

    Args:
        processes: Number of processes; 0 starts one a core (`hardware.usable_cores`, which respects a container's
            quota). With 1, everything runs in the calling process.
        modules: Names of modules that the functions need. They are imported once for all processes.
        chunk: Number of jobs sent to a process at once.

    Raises:
        UserError: A process died.

    Example:
        >>> with started_workers(2, "math") as ordered:
        ...     roots = list(ordered(math.sqrt, range(1000)))
    """
    processes = processes or hardware.usable_cores()
    if processes == 1:
        yield map
        return
    # Not fork: it copies the locks of threads that the caller's imports have started, such as TensorFlow's.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # The server imports the modules once; otherwise each worker would.
        context.set_forkserver_preload(list(modules))
    pool = ProcessPoolExecutor(processes, context, initializer=_live_and_die_with_parent)
    # Starting a process waits for its imports, so a thread starts them.
    starter = threading.Thread(target=_start, args=(pool, processes), daemon=True)
    starter.start()
    try:
        yield functools.partial(_ordered, pool, 2 * processes, chunk)
    except BrokenProcessPool:
        raise UserError("a worker process died, probably because memory ran out. Try PROCESSES=1.") from None
    finally:
        starter.join()
        pool.shutdown(wait=True, cancel_futures=True)


def ordered_results(function: Callable[[Job], Result], jobs: Iterable[Job], processes: int) -> Iterator[Result]:
    """Run `map(function, jobs)` in worker processes that end after the last result; see `started_workers`."""
    with started_workers(processes, getattr(function, "func", function).__module__) as apply:
        yield from apply(function, jobs)


def _start(pool: ProcessPoolExecutor, processes: int) -> None:
    # The executor starts a process for each job that finds no idle process. A process that died is reported by the
    # first real job.
    with contextlib.suppress(BrokenProcessPool):
        for _ in range(processes):
            pool.submit(_nothing)


def _nothing() -> None:
    pass


def _ordered(
    pool: ProcessPoolExecutor, ahead: int, size: int, function: Callable[[Job], Result], jobs: Iterable[Job]
) -> Iterator[Result]:
    rest = iter(jobs)
    chunks = iter(lambda: list(itertools.islice(rest, size)), [])
    waiting: deque[Future[list[Result]]] = deque()
    for chunk in itertools.islice(chunks, ahead):
        waiting.append(pool.submit(_each, function, chunk))
    while waiting:
        results = waiting.popleft().result()
        for chunk in itertools.islice(chunks, 1):
            waiting.append(pool.submit(_each, function, chunk))
        yield from results


def _each(function: Callable[[Job], Result], jobs: list[Job]) -> list[Result]:
    return [function(job) for job in jobs]


def _live_and_die_with_parent() -> None:
    # Ctrl-C reaches every process of the terminal. Workers ignore it; the parent ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    """End this process when its parent ends. Otherwise the worker of a killed parent would wait for jobs forever."""
    parent.join()
    os._exit(1)
