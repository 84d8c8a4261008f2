"""Reading, detecting and writing at the same time: one thread ahead, one behind, and few things in between."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_LOOK = 0.1
"""Seconds after which someone who waits looks whether to stop."""

_PATIENCE = 10.0
"""Seconds that a thread gets to leave: it may be inside a read from a camera that hangs, which times out by itself."""


def never() -> bool:
    """For `stopped` where nothing stops."""
    return False


def ahead(items: Iterable[T], size: int, newest: bool = False, stopped: Callable[[], bool] = never) -> Iterator[T]:
    """Give what an iterable gives, in its order, taken from it in a thread of its own.

    Args:
        items: Iterated and, where it is a generator, closed in that thread.
        size: How many may wait to be taken.
        newest: When as many wait, drop the oldest, as for a camera; otherwise the thread waits.
        stopped: Asked again and again while waiting; once it says so, nothing more is given.

    Raises:
        Whatever `items` raised, after all that it gave before.
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
def behind(work: Callable[[T], None], size: int) -> Iterator[Callable[[T], None]]:
    """Give a function that has `work` done on what it is given, in that order, in a thread of its own.

    It waits while `size` are not yet done. The block's end waits for all of them; after an exception in the block, or
    in `work`, those not yet begun are dropped.

    Raises:
        Whatever `work` raised, from the function given or at the block's end.

    Example:
        >>> with behind(write, size=2) as put:
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


def pause(seconds: float, stopped: Callable[[], bool]) -> None:
    """Sleep, but not on once `stopped` says so."""
    end = time.monotonic() + seconds
    while not stopped() and (rest := end - time.monotonic()) > 0:
        time.sleep(min(rest, _LOOK))
