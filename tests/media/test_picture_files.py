import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemask.core.errors import UserError
from facemask.data import images, picture_hashes
from facemask.media import picture_files


def save(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), "red").save(path, **options)
    return path


def names(source: object) -> list[str]:
    return [str(picture.name) for picture in picture_files.find_pictures(str(source))]


def test_folder_in_natural_order_with_subfolders_without_the_rest(tmp_path: Path) -> None:
    for name in ("b10.jpg", "b9.JPG", "A1.png", "sub/b9.jpg", ".hidden.jpg", ".cache/x.png"):
        save(tmp_path / name)
    (tmp_path / "b9.xml").write_text("<annotation/>")
    assert names(tmp_path) == ["A1.png", "b9.JPG", "b10.jpg", "sub/b9.jpg"]


def test_a_link_to_a_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "folder" / "a.jpg")
    save(tmp_path / "elsewhere" / "b.jpg")
    (tmp_path / "folder" / "more").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "folder") == ["a.jpg"]
    assert capsys.readouterr().err == f"{tmp_path / 'folder' / 'more'}: a link to a folder; not followed\n"


def test_glob_keeps_paths_from_its_fixed_part(tmp_path: Path) -> None:
    for name in ("one/a.jpg", "two/a.jpg", "two/b.png"):
        save(tmp_path / name)
    assert names(tmp_path / "*" / "a.jpg") == ["one/a.jpg", "two/a.jpg"]
    assert names(tmp_path / "t*" / "*") == ["two/a.jpg", "two/b.png"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    save(tmp_path / "a[1].jpg")
    save(tmp_path / "a1.jpg")
    assert names(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    for name in ("a b.jpg", "$(touch x).jpg", "'\";.jpg", "лицо ².jpg", "new\nline.jpg"):
        save(tmp_path / name, format="JPEG")
        assert names(tmp_path / name) == [name]
    assert len(names(tmp_path)) == 5


@pytest.mark.parametrize("source", ["", "nothing.jpg", "*.jpg", "x" * 5000])
def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{re.escape(source or 'IMG')}"):
        picture_files.find_pictures(source)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=f"^{tmp_path}: "):
        picture_files.find_pictures(str(tmp_path))


def test_read_gives_upright_rgb(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, :40] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees against the clock
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = images.read_image(tmp_path / "a.jpg")
    assert image.shape == (80, 40, 3) and image.dtype == np.uint8
    assert np.abs(image[:35].astype(int) - (255, 0, 0)).max() < 10 and image[45:].max() < 10


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        image = Image.fromarray(np.full((6, 8), 65535, dtype=np.uint16))
    else:
        image = Image.new("RGB", (8, 6), "white").convert(mode)
    image.save(path)
    read = images.read_image(path)
    assert read.shape == (6, 8, 3) and read.min() > 250


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), color) for color in ("lime", "red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert images.read_image(tmp_path / "a.gif").reshape(-1, 3).tolist() == [[0, 255, 0]] * 48


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0" + b"\0" * 20])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.jpg: "):
        images.read_image(tmp_path / "a.jpg")


def test_a_picture_that_was_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"a\.png: "):
        images.read_image(path)


def test_pictures_in_a_format_that_is_not_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("4.ppm", "3.avif", "sub/2.HEIC", "1.heic", ".hidden.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    said = "4 pictures are in a format that is not read (1.heic, 3.avif, 4.ppm, ...): convert them to JPEG or PNG."
    with pytest.raises(UserError, match=f"{re.escape(said)}$"):
        names(tmp_path)
    save(tmp_path / "a.jpg")
    assert names(tmp_path) == names(tmp_path / "*.jpg") == ["a.jpg"]
    assert capsys.readouterr().err == f"{tmp_path}: {said}\n"


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.jpg")
    save(tmp_path / "locked" / "b.jpg")
    save(tmp_path / ".Trashes" / "c.jpg")
    really = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:  # permissions do not bind root
        if Path(path).name in ("locked", ".Trashes"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for find in (lambda: names(tmp_path), lambda: list(picture_hashes.pictures_below(tmp_path))):
        with pytest.raises(UserError, match=f"^{tmp_path / 'locked'}: cannot be read \\(Permission denied\\)"):
            find()
    assert list(picture_hashes.pictures_below(tmp_path / "missing")) == []
    monkeypatch.setattr(os, "scandir", really)
    assert names(tmp_path) == ["a.jpg", "locked/b.jpg"]


def test_natural_order_is_total() -> None:
    mixed = ["a", "a1", "1a", "A", "a01", "a1b", "", "²", "10", "9"]
    backwards = mixed[::-1]
    assert sorted(mixed, key=picture_files.natural_order) == sorted(backwards, key=picture_files.natural_order)
    assert sorted(["10", "9", "1a"], key=picture_files.natural_order) == ["1a", "9", "10"]
