import json
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from facemask.cli import data_command
from facemask.core.errors import UserError
from facemask.data import kaggle
from facemask.data.discovery import discover_pictures

XML = "<annotation><filename>{}.png</filename><size><width>4</width><height>4</height></size></annotation>"


NUMBERS = (0, 3, 7, 500, 852)


@pytest.fixture(autouse=True)
def five_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set as if it had five pictures: all 853 take seconds."""
    suffixes = (("images", "png"), ("annotations", "xml"))
    names = tuple(f"{folder}/maksssksksss{number}.{suffix}" for number in NUMBERS for folder, suffix in suffixes)
    monkeypatch.setattr(kaggle, "FILES", names)


def content(name: str) -> bytes:
    return XML.format(Path(name).stem).encode() if name.endswith(".xml") else kaggle.PNG + name.encode()


def stand_in(path: Path, root: str = "", leave_out: tuple[str, ...] = (), **extra: bytes) -> Path:
    """A zip of the data set's layout."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in kaggle.FILES:
            if name not in leave_out:
                archive.writestr(root + name, extra.get(name, content(name)))
        for name, data in extra.items():
            if name not in kaggle.FILES:
                archive.writestr(name, data)
    return path


@pytest.fixture
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in(tmp_path_factory.mktemp("zip") / "archive.zip")


def files(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_archive_becomes_images_with_their_xml_beside_them(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "images"
    summary = kaggle.install_dataset(archive, folder)
    assert (summary.added, summary.same, summary.kept) == (10, 0, ())
    assert sorted(files(folder)) == sorted(f"maksssksksss{i}.{suffix}" for i in NUMBERS for suffix in ("png", "xml"))
    assert (folder / "maksssksksss852.png").read_bytes() == content("images/maksssksksss852.png")
    items, findings = discover_pictures(folder)
    assert (len(items), findings) == (5, [])
    assert kaggle.install_dataset(archive, folder).same == 10


def test_an_unpacked_folder_gives_the_same(tmp_path: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "versions" / "1")
    summary = kaggle.install_dataset(tmp_path / "versions", tmp_path / "images")
    assert summary.added == 10
    assert summary.digest == kaggle.install_dataset(archive, tmp_path / "images").digest


def test_what_a_person_has_corrected_stays(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "maksssksksss7.xml").write_text("corrected")
    summary = kaggle.install_dataset(archive, folder)
    assert (summary.added, summary.kept) == (9, ("maksssksksss7.xml",))
    assert (folder / "maksssksksss7.xml").read_text() == "corrected"
    assert "maksssksksss7.xml" in summary.text()


def test_members_with_other_names_lead_nowhere(tmp_path: Path) -> None:
    evil = {"../../evil.txt": b"x", "/tmp/evil.png": b"x", "images/../../evil.xml": b"x", "images/link.png": b"x"}
    source = stand_in(tmp_path / "a.zip", root="face-mask/../", **evil)  # type: ignore[arg-type]
    kaggle.install_dataset(source, tmp_path / "deep" / "images")
    assert not [name for name in files(tmp_path) if "evil" in name or "link" in name]
    assert {Path(name).parent.as_posix() for name in files(tmp_path)} == {".", "deep/images"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"leave_out": ("images/maksssksksss852.png", "annotations/maksssksksss3.xml")}, "maksssksksss3.xml"),
        ({"images/maksssksksss3.png": b"<html>log in</html>"}, "maksssksksss3.png"),
        ({"annotations/maksssksksss3.xml": b"<!DOCTYPE a [<!ENTITY x 'y'>]><annotation/>"}, "maksssksksss3.xml"),
        ({"again/images/maksssksksss3.png": b"x"}, "maksssksksss3.png"),
        ({"images/maksssksksss3.png": kaggle.PNG + bytes(kaggle.MAX_BYTES)}, "maksssksksss3.png"),
    ],
)
def test_another_or_a_damaged_data_set_is_refused_whole(tmp_path: Path, change: dict[str, bytes], said: str) -> None:
    source = stand_in(tmp_path / "a.zip", **change)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=said) as caught:
        kaggle.install_dataset(source, tmp_path / "images")
    assert "a.zip" in str(caught.value)
    assert not (tmp_path / "images").exists()


def test_a_file_that_is_cut_off_or_flipped_is_refused_whole(tmp_path: Path, archive: Path) -> None:
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(kaggle.PNG + b"images/maksssksksss500.png") + 20] ^= 1
    for data in (whole[: len(whole) // 2], b"", b"no zip", bytes(flipped)):
        source = tmp_path / "a.zip"
        source.write_bytes(data)
        with pytest.raises(UserError, match=r"a\.zip"):
            kaggle.install_dataset(source, tmp_path / "images")
        assert not (tmp_path / "images").exists()


def test_a_missing_or_unreadable_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.zip"):
        kaggle.install_dataset(tmp_path / "none.zip", tmp_path / "images")
    with pytest.raises(UserError):
        kaggle.install_dataset(tmp_path, tmp_path / "images")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(UserError, match="images"):
        kaggle.install_dataset(archive, tmp_path / "images")


def fake_kagglehub(monkeypatch: pytest.MonkeyPatch, dataset_download: object) -> None:
    fake = types.ModuleType("kagglehub")
    fake.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", fake)


def test_kagglehub_fetches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_kagglehub(monkeypatch, lambda handle: str(tmp_path / handle))
    assert kaggle.download_dataset() == tmp_path / "andrewmvd" / "face-mask-detection"


def test_no_network_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def dataset_download(handle: str) -> str:
        raise ConnectionError("HTTPSConnectionPool(host='api.kaggle.com'):\n Name or service not known")

    fake_kagglehub(monkeypatch, dataset_download)
    with pytest.raises(UserError) as caught:
        kaggle.download_dataset()
    message = str(caught.value)
    assert "Name or service not known" in message
    assert "make data ARCHIVE=" in message
    assert "kaggle.com/datasets/andrewmvd" in message
    assert "\n" not in message


def test_without_kagglehub_it_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(UserError, match="ARCHIVE="):
        kaggle.download_dataset()


def test_the_command_says_what_it_brought_and_from_where(
    tmp_path: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my images"
    data_command.main(images=folder, archive=archive)
    assert kaggle.HANDLE in capsys.readouterr().out
    made = json.loads((folder / "data.json").read_text())
    assert made["digest"] == kaggle.install_dataset(archive, folder).digest
