import threading
import time
from collections.abc import Iterator

import pytest

from facemask.media import prefetch


def test_ahead_gives_all_in_order_from_a_thread_of_its_own() -> None:
    threads = set()

    def items() -> Iterator[int]:
        for i in range(50):
            threads.add(threading.current_thread().name)
            yield i

    assert list(prefetch.read_ahead(items(), 3)) == list(range(50))
    assert threads == {"reading"}


def test_ahead_reads_no_further_than_asked() -> None:
    given = []

    def items() -> Iterator[int]:
        for i in range(100):
            given.append(i)
            yield i

    coming = prefetch.read_ahead(items(), 3)
    assert next(coming) == 0
    time.sleep(0.2)
    assert len(given) <= 5
    coming.close()


def test_the_newest_is_taken_where_someone_is_slow() -> None:
    taken = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert taken.wait(5)
        yield from range(1, 100)

    coming = prefetch.read_ahead(items(), 1, newest=True)
    first = next(coming)
    taken.set()
    time.sleep(0.3)
    assert (first, list(coming)) == (0, [99])


def test_an_error_comes_after_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("gone")

    got = []
    with pytest.raises(KeyError):
        got.extend(prefetch.read_ahead(items(), 5))  # extend keeps what came
    assert got == [1, 2]


def test_leaving_closes_the_source_and_ends_the_thread() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    coming = prefetch.read_ahead(items(), 2)
    next(coming)
    coming.close()
    assert closed.is_set()
    assert "reading" not in {thread.name for thread in threading.enumerate()}


def test_stopping_ends_even_a_wait() -> None:
    stop, over = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        over.wait(5)

    coming = prefetch.read_ahead(items(), 1, stopped=stop.is_set)
    assert next(coming) == 0
    threading.Timer(0.2, lambda: (stop.set(), over.set())).start()
    assert list(coming) == []


def test_workers_work_at_the_same_time_and_no_more_of_them_than_wanted() -> None:
    both, go, begun = threading.Barrier(2), threading.Event(), list[int]()

    def work(item: int) -> int:
        begun.append(item)
        if item < 2:
            both.wait(20)
        assert go.wait(20)
        return 10 * item

    with prefetch.Workers(2) as workers:
        futures = [workers.start(work, item) for item in range(2)]
        threading.Timer(0.2, go.set).start()
        workers.wait()
        assert go.is_set() and sorted(begun) == [0, 1]
        futures += [workers.start(work, item) for item in range(2, 6)]
        assert [future.result() for future in futures] == [0, 10, 20, 30, 40, 50]


def test_an_error_of_a_worker_is_its_results_and_the_worker_is_free_again() -> None:
    def work(item: int) -> None:
        raise KeyError(item)

    with prefetch.Workers(1) as workers:
        for item in range(3):
            with pytest.raises(KeyError):
                workers.start(work, item).result()


def test_behind_works_in_order_while_the_block_goes_on() -> None:
    done: list[int] = []
    running = threading.Event()

    def work(item: int) -> None:
        assert running.wait(5)
        done.append(item)

    with prefetch.write_behind(work, size=30) as put:
        for i in range(20):
            put(i)
        assert done == []
        running.set()
    assert done == list(range(20))


def test_behind_waits_where_too_many_are_waiting() -> None:
    most, waiting = 0, 0
    lock = threading.Lock()

    def work(item: int) -> None:
        nonlocal waiting
        time.sleep(0.01)
        with lock:
            waiting -= 1

    with prefetch.write_behind(work, size=2) as put:
        for i in range(20):
            with lock:
                waiting += 1
                most = max(most, waiting)
            put(i)
    assert most <= 4


def test_an_error_of_the_work_reaches_the_block_and_the_rest_is_dropped() -> None:
    done = []

    def work(item: int) -> None:
        if item == 3:
            raise OSError("disk full")
        done.append(item)

    with pytest.raises(OSError), prefetch.write_behind(work, size=1) as put:
        for i in range(100):
            put(i)
    assert done == [0, 1, 2]


def test_an_error_of_the_block_drops_what_has_not_begun() -> None:
    done = []
    with (
        pytest.raises(KeyError),
        prefetch.write_behind(lambda item: (time.sleep(0.1), done.append(item)), size=10) as put,
    ):
        for i in range(8):
            put(i)
        raise KeyError
    assert len(done) <= 2
