"""Overlaps reading, detecting and writing: threads read ahead, work and write behind, with bounded queues."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LOOK = 0.1
"""Seconds between two checks whether to stop, while waiting."""

_PATIENCE = 10.0
"""Seconds to wait for the reading thread to end. It may hang in a read from a camera, which has its own timeout."""


def never() -> bool:
    """The `stopped` of a caller that never stops."""
    return False


def read_ahead(items: Iterable[T], size: int, newest: bool = False, stopped: Callable[[], bool] = never) -> Iterator[T]:
    """Yield the items of an iterable, in order, while a thread reads the next ones.

    Args:
        items: Iterated, and closed if it is a generator, in that thread.
        size: The most items that may wait in the queue.
        newest: Drop the oldest item when the queue is full, as for a camera. Otherwise the thread waits.
        stopped: Called while waiting; once it returns True, the generator ends.

    Raises:
        Exception: What `items` raised, after the items before it.
    """
    waiting: deque[T] = deque()
    changed = threading.Condition()
    left = done = False
    errors: list[BaseException] = []

    def read() -> None:
        nonlocal done
        iterator = iter(items)
        try:
            for item in iterator:
                with changed:
                    if newest:
                        while len(waiting) >= size:
                            waiting.popleft()
                    else:
                        changed.wait_for(lambda: left or len(waiting) < size)
                    if left:
                        return
                    waiting.append(item)
                    changed.notify_all()
        except BaseException as error:
            errors.append(error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            with changed:
                done = True
                changed.notify_all()

    thread = threading.Thread(target=read, daemon=True, name="reading")
    thread.start()
    try:
        while not stopped():
            with changed:
                changed.wait_for(lambda: waiting or done, timeout=_LOOK)
                if waiting:
                    item = waiting.popleft()
                    changed.notify_all()
                elif done:
                    break
                else:
                    continue
            yield item
        else:
            return
        if errors:
            raise errors[0]
    finally:
        with changed:
            left = True
            waiting.clear()
            changed.notify_all()
        thread.join(_PATIENCE)


@contextlib.contextmanager
def write_behind(work: Callable[[T], None], size: int) -> Iterator[Callable[[T], None]]:
    """Run `work` in a thread for the block. Yields a function that queues an item for it.

    That function waits while `size` items are unfinished. The end of the block waits for all items. After an exception,
    in the block or in `work`, items that `work` has not begun are dropped.

    Raises:
        Exception: What `work` raised, from the yielded function or at the end of the block.

    Example:
        >>> with write_behind(write, size=2) as put:
        ...     for picture in pictures:
        ...         put(picture)
    """
    pending: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="writing")

    def put(item: T) -> None:
        while pending and (len(pending) >= size or pending[0].done()):
            pending.popleft().result()
        pending.append(pool.submit(work, item))

    try:
        yield put
        while pending:
            pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Workers:
    """Threads that work on so many items at the same time. One thread calls it.

    Example:
        >>> with Workers(2) as workers:
        ...     results = [workers.start(detect, picture) for picture in pictures]
    """

    def __init__(self, count: int) -> None:
        """Work on `count` items at the same time."""
        self._free = threading.Semaphore(count)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="working")

    def wait(self) -> None:
        """Wait until one of them is free."""
        self._free.acquire()
        self._free.release()

    def start(self, work: Callable[[T], R], item: T) -> "Future[R]":
        """Wait until one of them is free, and let it work on an item."""
        self._free.acquire()
        future = self._pool.submit(work, item)
        future.add_done_callback(lambda _: self._free.release())
        return future

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def interruptible_sleep(seconds: float, stopped: Callable[[], bool]) -> None:
    """Sleep for a number of seconds, or until `stopped` returns True."""
    end = time.monotonic() + seconds
    while not stopped() and (rest := end - time.monotonic()) > 0:
        time.sleep(min(rest, _LOOK))
