"""One function over many jobs, in several processes, its results in the order of the jobs and no faster than they are
taken."""

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
from typing import TypeVar

from scripts.support.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNK = 8
"""Jobs that go to a process at a time: enough to hide the way there and back, few enough to hold in memory."""


def available() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(function: Callable[[Job], Result], jobs: Iterable[Job], processes: int) -> Iterator[Result]:
    """`map(function, jobs)` in `processes` processes.

    At most some chunks of results are in memory, however many jobs there are.

    Args:
        function: Of a module's top level (or a `functools.partial` of one), since it is sent to the processes.
        jobs: Small things that can be pickled.
        processes: How many; with 1 all happens in this one.

    Raises:
        UserError: A process died.
    """
    if processes <= 1:
        yield from map(function, jobs)
        return
    # Not fork: it copies the threads' locks of whatever the caller has imported, TensorFlow among it.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # What every worker would import for itself, the server imports once.
        context.set_forkserver_preload([getattr(function, "func", function).__module__])
    pool = ProcessPoolExecutor(processes, context, initializer=_live_and_die_with_parent)
    rest = iter(jobs)
    chunks = iter(lambda: list(itertools.islice(rest, CHUNK)), [])
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for chunk in itertools.islice(chunks, 2 * processes):
            waiting.append(pool.submit(_each, function, chunk))
        while waiting:
            results = waiting.popleft().result()
            for chunk in itertools.islice(chunks, 1):
                waiting.append(pool.submit(_each, function, chunk))
            yield from results
    except BrokenProcessPool:
        raise UserError("a worker process died, probably for want of memory. Try again with PROCESSES=1.") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
