from pathlib import Path

import pytest

from facemask.core import json_files
from facemask.core.errors import UserError


def read(path: Path) -> int:
    absent = f"{path}: nothing was made yet. `make x` makes it."
    with json_files.reading_json(path, 2, step="x", absent=absent, again="Run `make x` again.") as value:
        return int(value["number"])


def test_gives_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text('{"format": 2, "number": 3}')
    assert read(path) == 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, r"made\.json.*`make x` makes it"),
        ("{", r"made\.json.*Run `make x` again"),
        (b"\xff", r"made\.json.*Run `make x` again"),
        ("[" * 100_000, r"made\.json.*Run `make x` again"),
        ('{"format": 1, "number": 3}', r"made\.json.*format 1.* 2.*Run `make x` again"),
        ("[]", r"made\.json.*Run `make x` again"),
        ("{}", r"made\.json.*KeyError\('format'\).*Run `make x` again"),
        ('{"format": 2}', r"made\.json.*KeyError\('number'\).*Run `make x` again"),
        (
            '{"format": 2, "number": "one"}',
            r"made\.json.*ValueError.*Run `make x` again",
        ),
        ('{"format": 2, "number": null}', r"made\.json.*TypeError.*Run `make x` again"),
    ],
)
def test_the_error_for_an_unusable_file_names_it(tmp_path: Path, text: str | bytes | None, named: str) -> None:
    path = tmp_path / "made.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=named):
        read(path)


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}: "):
        read(tmp_path)


def test_an_error_that_is_none_of_the_files_passes(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text('{"format": 2}')
    with pytest.raises(ZeroDivisionError), json_files.reading_json(path, 2, step="x", absent="", again=""):
        raise ZeroDivisionError
