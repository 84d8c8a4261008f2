import signal
import subprocess
import sys

import pytest

from facemask.core import signals

ASK = """
import os, signal, sys, time
from facemask.core import signals
with signals.listening_for_signals() as stop:
    stop.nothing_to_save = False
    for wait in map(float, sys.argv[1:]):
        time.sleep(wait)
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.5)
    print("heard", int(stop.signal))
"""

BACK = "    signals.listen_again()\n"


def ask(*waits: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ASK, *map(str, waits)], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    done = ask(0, 0)
    assert (done.returncode, done.stdout) == (0, f"heard {signal.SIGTERM:d}\n"), done.stderr
    assert done.stderr.count("stopping after this step") == 1


def test_a_second_signal_later_ends_the_process_without_a_save() -> None:
    done = ask(0, signals.ONCE + 0.2)
    assert done.returncode == 143
    assert done.stderr.endswith("stopped at once.\n")


def test_a_signal_that_a_library_took_is_taken_back() -> None:
    taken = "    import ctypes; ctypes.CDLL(None).signal(signal.SIGTERM, 1)\n"  # 1 is SIG_IGN
    lost, back = (ASK.replace("    for wait", f"{taken}{again}    for wait") for again in ("", BACK))
    results = [
        subprocess.run([sys.executable, "-c", code, "0"], capture_output=True, text=True, check=False, timeout=60)
        for code in (lost, back)
    ]
    assert "NoneType" in results[0].stderr, "the library's handler is not there"
    assert results[1].stdout == f"heard {signal.SIGTERM:d}\n", results[1].stderr


def test_a_child_that_outlives_the_block_does_not_hold_it_up() -> None:
    code = """
import os, time
from facemask.core import signals
with signals.listening_for_signals():
    if not os.fork():
        os.close(1)
        time.sleep(20)
        os._exit(0)
print("ended", flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False, timeout=10)
    assert done.stdout == "ended\n"


@pytest.mark.parametrize("number", signals.HEARD)
def test_the_exit_code_is_the_shells(number: signal.Signals) -> None:
    assert signals.exit_code(number) == {"SIGINT": 130, "SIGTERM": 143}[number.name]
