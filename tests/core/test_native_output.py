import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facemask.core import native_output

FAILED_CALL = re.compile(b"failed call")


def test_all_other_lines_pass(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    with path.open("w") as file:
        with native_output.without_lines(FAILED_CALL, file.fileno()):
            os.write(file.fileno(), b"E a real error\nE failed call to cuInit\nW last")
        os.write(file.fileno(), b", and on\n")
    assert path.read_text() == "E a real error\nW last, and on\n"


def test_lines_pass_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    with path.open("w") as file, pytest.raises(KeyError), native_output.without_lines(FAILED_CALL, file.fileno()):
        os.write(file.fileno(), b"E why\n")
        raise KeyError
    assert path.read_text() == "E why\n"


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(7)", "os.kill(os.getpid(), 9)"])
def test_the_last_words_of_a_process_that_dies_inside_arrive(end: str) -> None:
    code = (
        "import os, re; from facemask.core.native_output import without_lines\n"
        "with without_lines(re.compile(b'^I ')):\n"
        f"    os.write(2, b'I chatter\\nF check failed: why\\n'); {end}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and done.stderr == "F check failed: why\n"
