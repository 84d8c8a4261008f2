import itertools
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from facemask.core import hardware, worker_processes
from facemask.core.errors import UserError
from facemask.data import label_import, picture_hashes

ROOT = Path(__file__).parents[2]


def squared(number: int) -> int:
    time.sleep(0.002 if number % 7 == 0 else 0)  # some are slower than those behind them
    return number * number


def die(number: int) -> int:
    os._exit(1)


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_order(processes: int):
    assert list(worker_processes.ordered_results(squared, range(100), processes)) == [
        squared(number) for number in range(100)
    ]
    assert list(worker_processes.ordered_results(squared, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_jobs_are_taken_as_results_are(processes: int):
    taken = []
    jobs = (taken.append(number) or number for number in itertools.count())
    results = worker_processes.ordered_results(squared, jobs, processes)
    assert list(itertools.islice(results, 50)) == [squared(number) for number in range(50)]
    assert len(taken) <= 50 + worker_processes.CHUNK * (2 * processes + 1)
    results.close()


def test_a_process_that_dies_is_a_user_error():
    with pytest.raises(UserError):
        list(worker_processes.ordered_results(die, range(3), 2))


def test_no_process_outlives_a_killed_parent():
    program = "from facemask.core import worker_processes as workers; import itertools\n" + (
        "for number in workers.ordered_results(abs, itertools.count(), 2): print(number, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"0\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
    # The resource tracker and the fork server end by themselves.
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_a_containers_quota_limits_the_processes_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(hardware, "_container_cores", lambda: 1)
    monkeypatch.setattr(worker_processes, "hardware", hardware)  # conftest's has one core for all tests
    with worker_processes.started_workers(0) as apply:
        assert apply is map
    counts: list[int] = []

    def counted(count: int) -> ThreadPoolExecutor:
        counts.append(count)
        return ThreadPoolExecutor(count)

    for module in (label_import, picture_hashes):
        monkeypatch.setattr(module, "ThreadPoolExecutor", counted)
    assert list(picture_hashes.hash_pictures(tmp_path)) == list(label_import._in_threads(str, [], 0)) == []
    assert counts == [1, 1]
