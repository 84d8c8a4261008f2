import os
import re

import pytest

from scripts.support import native_output

FAILED_CALL = re.compile(b"failed call")


def test_all_other_lines_pass_a_held_descriptor(tmp_path):
    path = tmp_path / "stderr"
    with path.open("w") as file:
        with native_output.without_lines(FAILED_CALL, file.fileno()):
            os.write(file.fileno(), b"E a real error\nE failed call to cuInit\nW last")
            assert path.read_bytes() == b""
        os.write(file.fileno(), b", and on\n")
    assert path.read_text() == "E a real error\nW last, and on\n"


def test_what_is_held_is_passed_on_when_the_block_fails(tmp_path):
    path = tmp_path / "stderr"
    with path.open("w") as file, pytest.raises(KeyError), native_output.without_lines(FAILED_CALL, file.fileno()):
        os.write(file.fileno(), b"E why\n")
        raise KeyError
    assert path.read_text() == "E why\n"
