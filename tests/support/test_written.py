from pathlib import Path

import pytest

from scripts.support import written
from scripts.support.errors import UserError


def read(path: Path) -> int:
    absent = f"{path}: nothing was made yet. `make x` makes it."
    with written.reading(path, 2, step="x", absent=absent, again="Run `make x` again.") as value:
        return int(value["number"])


def test_gives_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text('{"format": 2, "number": 3}')
    assert read(path) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"made\.json: nothing was made yet\. `make x` makes it\.$"),
        ("{", r"made\.json: cannot be read \(.*\)\. Run `make x` again\.$"),
        (b"\xff", r"made\.json: cannot be read \(.*\)\. Run `make x` again\.$"),
        ("[" * 100_000, r"made\.json: cannot be read \(.*\)\. Run `make x` again\.$"),
        ('{"format": 1, "number": 3}', r"made\.json: format 1, this version reads 2\. Run `make x` again\.$"),
        ("[]", r"made\.json: not what `make x` writes \(.*\)\. Run `make x` again\.$"),
        ("{}", r"made\.json: not what `make x` writes \(KeyError\('format'\)\)\. Run `make x` again\.$"),
        ('{"format": 2}', r"made\.json: not what `make x` writes \(KeyError\('number'\)\)\. Run `make x` again\.$"),
        (
            '{"format": 2, "number": "one"}',
            r"made\.json: not what `make x` writes \(ValueError\(.*\. Run `make x` again",
        ),
        ('{"format": 2, "number": null}', r"made\.json: not what `make x` writes \(TypeError\(.*\. Run `make x` again"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str | bytes | None, said: str) -> None:
    path = tmp_path / "made.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=said):
        read(path)


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)


def test_an_error_that_is_none_of_the_files_passes(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text('{"format": 2}')
    with pytest.raises(ZeroDivisionError), written.reading(path, 2, step="x", absent="", again=""):
        raise ZeroDivisionError
