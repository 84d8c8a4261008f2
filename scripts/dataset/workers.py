"""One function over many jobs, in several processes, its results in the order of the jobs and no faster than they are
taken."""

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

from scripts.support.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNK = 8
"""Jobs that go to a process at a time: enough to hide the way there and back, few enough to hold in memory."""


def available() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Ordered = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""What gives the results of a function for each of many jobs, in the order of the jobs: `map` is one."""


@contextlib.contextmanager
def started(processes: int, *modules: str) -> Iterator[Ordered]:
    """Start processes, and give what `map`s in them; they end with the block.

    They start while the caller goes on. A function must be of a module's top level (or a `functools.partial` of one),
    since it is sent to the processes, and so must each job be picklable. At most some chunks of results are in memory,
    however many jobs there are.

    Args:
        processes: How many; with 1 all happens in this one.
        modules: Names of modules that the functions need, imported once for all processes.

    Raises:
        UserError: A process died.

    Example:
        >>> with started(2, "math") as ordered:
        ...     roots = list(ordered(math.sqrt, range(1000)))
    """
    if processes <= 1:
        yield map
        return
    # Not fork: it copies the threads' locks of whatever the caller has imported, TensorFlow among it.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # What every worker would import for itself, the server imports once.
        context.set_forkserver_preload(list(modules))
    pool = ProcessPoolExecutor(processes, context, initializer=_live_and_die_with_parent)
    # Starting a process waits for its imports, so somebody else waits.
    starter = threading.Thread(target=_start, args=(pool, processes), daemon=True)
    starter.start()
    try:
        yield functools.partial(_ordered, pool, 2 * processes)
    except BrokenProcessPool:
        raise UserError("a worker process died, probably for want of memory. Try again with PROCESSES=1.") from None
    finally:
        starter.join()
        pool.shutdown(wait=True, cancel_futures=True)


def ordered(function: Callable[[Job], Result], jobs: Iterable[Job], processes: int) -> Iterator[Result]:
    """`map(function, jobs)` in processes of its own; see `started`."""
    with started(processes, getattr(function, "func", function).__module__) as apply:
        yield from apply(function, jobs)


def _start(pool: ProcessPoolExecutor, processes: int) -> None:
    # The executor starts a process for a job that finds none idle. One that dies is found out by the first real job.
    with contextlib.suppress(BrokenProcessPool):
        for _ in range(processes):
            pool.submit(_nothing)


def _nothing() -> None:
    pass


def _ordered(
    pool: ProcessPoolExecutor, ahead: int, function: Callable[[Job], Result], jobs: Iterable[Job]
) -> Iterator[Result]:
    rest = iter(jobs)
    chunks = iter(lambda: list(itertools.islice(rest, CHUNK)), [])
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
    # Ctrl-C reaches every process of the terminal; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    """A worker whose parent was killed would wait for jobs for ever."""
    parent.join()
    os._exit(1)
