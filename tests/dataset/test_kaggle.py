import json
import subprocess
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.dataset import audit, kaggle
from scripts.support.errors import UserError

XML = "<annotation><filename>{}.png</filename><size><width>4</width><height>4</height></size></annotation>"


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


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in(tmp_path_factory.mktemp("zip") / "archive.zip")


def files(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_archive_becomes_images_with_their_xml_beside_them(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "images"
    summary = kaggle.install(archive, folder)
    assert (summary.added, summary.same, summary.kept) == (1706, 0, ())
    assert sorted(files(folder)) == sorted(f"maksssksksss{i}.{suffix}" for i in range(853) for suffix in ("png", "xml"))
    assert (folder / "maksssksksss852.png").read_bytes() == content("images/maksssksksss852.png")
    items, findings = audit.discover(folder)
    assert (len(items), findings) == (853, [])
    assert kaggle.install(archive, folder).same == 1706


def test_an_unpacked_folder_gives_the_same(tmp_path: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "versions" / "1")
    summary = kaggle.install(tmp_path / "versions", tmp_path / "images")
    assert summary.added == 1706
    assert summary.digest == kaggle.install(archive, tmp_path / "images").digest


def test_what_a_person_has_corrected_stays(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "maksssksksss7.xml").write_text("corrected")
    summary = kaggle.install(archive, folder)
    assert (summary.added, summary.kept) == (1705, ("maksssksksss7.xml",))
    assert (folder / "maksssksksss7.xml").read_text() == "corrected"
    assert "maksssksksss7.xml" in summary.text()


def test_members_with_other_names_lead_nowhere(tmp_path: Path) -> None:
    evil = {"../../evil.txt": b"x", "/tmp/evil.png": b"x", "images/../../evil.xml": b"x", "images/link.png": b"x"}
    source = stand_in(tmp_path / "a.zip", root="face-mask/../", **evil)  # type: ignore[arg-type]
    kaggle.install(source, tmp_path / "deep" / "images")
    assert not [name for name in files(tmp_path) if "evil" in name or "link" in name]
    assert {Path(name).parent.as_posix() for name in files(tmp_path)} == {".", "deep/images"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"leave_out": ("images/maksssksksss852.png", "annotations/maksssksksss3.xml")}, "2 of its 1706"),
        ({"images/maksssksksss3.png": b"<html>log in</html>"}, "no PNG"),
        ({"annotations/maksssksksss3.xml": b"<!DOCTYPE a [<!ENTITY x 'y'>]><annotation/>"}, "document type"),
        ({"again/images/maksssksksss3.png": b"x"}, "twice"),
        ({"images/maksssksksss3.png": kaggle.PNG + bytes(kaggle.MAX_BYTES)}, "claims 64 MB"),
    ],
)
def test_another_or_a_damaged_data_set_is_refused_whole(tmp_path: Path, change: dict[str, bytes], said: str) -> None:
    source = stand_in(tmp_path / "a.zip", **change)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=said) as caught:
        kaggle.install(source, tmp_path / "images")
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
            kaggle.install(source, tmp_path / "images")
        assert not (tmp_path / "images").exists()


def test_a_missing_or_unreadable_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.zip: no such file"):
        kaggle.install(tmp_path / "none.zip", tmp_path / "images")
    with pytest.raises(UserError, match="1706 of its 1706"):
        kaggle.install(tmp_path, tmp_path / "images")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(UserError, match=r"images.*(exists|directory)"):
        kaggle.install(archive, tmp_path / "images")


def fake_kagglehub(monkeypatch: pytest.MonkeyPatch, dataset_download: object) -> None:
    fake = types.ModuleType("kagglehub")
    fake.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", fake)


def test_kagglehub_fetches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_kagglehub(monkeypatch, lambda handle: str(tmp_path / handle))
    assert kaggle.download() == tmp_path / "andrewmvd" / "face-mask-detection"


def test_no_network_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def dataset_download(handle: str) -> str:
        raise ConnectionError("HTTPSConnectionPool(host='api.kaggle.com'):\n Name or service not known")

    fake_kagglehub(monkeypatch, dataset_download)
    with pytest.raises(UserError) as caught:
        kaggle.download()
    message = str(caught.value)
    assert "Name or service not known" in message
    assert "make data ARCHIVE=" in message
    assert "kaggle.com/datasets/andrewmvd" in message
    assert "\n" not in message


def test_without_kagglehub_it_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(UserError, match="ARCHIVE="):
        kaggle.download()


def test_the_command_says_what_it_brought_and_from_where(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "my images"
    command = [sys.executable, "-m", "scripts.data", "--images", str(folder), "--archive", str(archive)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert "853 images and 853 XML files" in answer.stdout
    made = json.loads((folder / "data.json").read_text())
    assert made["digest"] == kaggle.install(archive, folder).digest
    answer = subprocess.run([*command[:-1], "none.zip"], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
