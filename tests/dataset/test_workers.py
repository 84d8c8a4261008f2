import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from scripts.dataset import workers
from scripts.support.errors import UserError

ROOT = Path(__file__).parents[2]


def squared(number: int) -> int:
    time.sleep(0.002 if number % 7 == 0 else 0)  # some are slower than those behind them
    return number * number


def die(number: int) -> int:
    os._exit(1)


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_order(processes: int):
    assert list(workers.ordered(squared, range(100), processes)) == [squared(number) for number in range(100)]
    assert list(workers.ordered(squared, [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_jobs_are_taken_as_results_are(processes: int):
    taken = []
    jobs = (taken.append(number) or number for number in itertools.count())
    results = workers.ordered(squared, jobs, processes)
    assert list(itertools.islice(results, 50)) == [squared(number) for number in range(50)]
    assert len(taken) <= 50 + workers.CHUNK * (2 * processes + 1)
    results.close()


def test_a_process_that_dies_is_said():
    with pytest.raises(UserError, match="PROCESSES=1"):
        list(workers.ordered(die, range(3), 2))


def test_no_process_outlives_a_killed_parent():
    program = "from scripts.dataset import workers; import itertools\n" + (
        "for number in workers.ordered(abs, itertools.count(), 2): print(number, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"0\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
    # The resource tracker and the fork server end by themselves.
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_available():
    assert 1 <= workers.available() <= (os.cpu_count() or 1)
