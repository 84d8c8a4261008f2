import re
from pathlib import Path

import made_video
import pytest

from facemask.core.errors import UserError
from facemask.media import sources
from facemask.media.footage import Footage
from facemask.media.picture_files import Picture


def test_each_kind_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made_video.write(tmp_path / "clip.MP4", [made_video.frame(0)])
    (tmp_path / "a.jpg").write_bytes(made_video.jpeg(made_video.frame(0)))
    titles = {}
    for source in ("0", "12", "clip.MP4", "rtsp://cam/1", "http://cam:8080/video"):
        found = sources.find_source(source)
        assert isinstance(found, Footage)
        titles[source] = (found.title, found.live)
    assert titles == {
        "0": ("camera 0", True),
        "12": ("camera 12", True),
        "clip.MP4": ("clip.MP4", False),
        "rtsp://cam/1": ("rtsp://cam/1", True),
        "http://cam:8080/video": ("http://cam:8080/video", True),
    }
    for source in ("a.jpg", ".", "*.jpg"):
        found = sources.find_source(source)
        assert not isinstance(found, Footage) and [str(picture.name) for picture in found] == ["a.jpg"]


def test_a_file_or_folder_named_like_a_camera_is_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "a.jpg").write_bytes(made_video.jpeg(made_video.frame(0)))
    found = sources.find_source("0")
    assert not isinstance(found, Footage) and len(found) == 1


def test_a_name_with_a_tilde_that_is_nobodys_home_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~Photos").mkdir()
    (tmp_path / "~Photos" / "a.jpg").write_bytes(made_video.jpeg(made_video.frame(0)))
    made_video.write(tmp_path / "~Photos" / "a.mp4", [made_video.frame(0)])
    found = sources.find_source("~Photos/a.jpg")
    assert not isinstance(found, Footage) and len(found) == 1
    assert isinstance(sources.find_source("~Photos/a.mp4"), Footage)


def test_videos_among_pictures_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(made_video.jpeg(made_video.frame(0)))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "clip.mov").write_bytes(b"")
    for source in (tmp_path, tmp_path / "**" / "*"):
        found = sources.find_source(str(source))
        assert not isinstance(found, Footage) and len(found) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{tmp_path / 'sub' / 'clip.mov'}: ")


def test_passwords_are_in_no_name() -> None:
    found = sources.find_source("rtsp://admin:secret@cam.local:554/live?user=admin&pwd=secret")
    assert isinstance(found, Footage)
    assert found.title == "rtsp://cam.local:554/live"
    assert found.stem.startswith("cam-local-554-live_") and "secret" not in found.stem


@pytest.mark.parametrize("password", ["pa[secret]x", "#secret", "x/secret", "?secret"])
def test_an_address_whose_password_has_no_clear_end_is_refused_without_it(password: str) -> None:
    with pytest.raises(UserError, match="Percent-encode") as error:
        sources.find_source(f"rtsp://admin:{password}@cam/stream")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("source", ["ftp://host/a.mp4", "file:///etc/passwd", "http://", "nothing.mp4", "", "1234"])
def test_what_is_nothing_is_said(source: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(source or 'IMG')}"):
        sources.find_source(source)


def test_options_without_effect_are_refused() -> None:
    pictures = [Picture(Path("a.jpg"), Path("a.jpg"))]
    footage = Footage("a camera", "a", live=True, frames=lambda stopped, say: iter(()))
    unused = {"blur": False, "show": False, "seconds": 0.0, "detect_every": 1}
    image, boxes = frozenset(["image"]), frozenset(["csv"])
    for found, kinds, given, refused in (
        (pictures, image, {"show": True}, "SHOW=1: "),
        (pictures, image, {"seconds": 2.5}, r"SECONDS=2\.5: "),
        (pictures, image, {"detect_every": 3}, "DETECT_EVERY=3: "),
        (pictures, image, {"detect_every": None}, "DETECT_EVERY=auto: "),
        (pictures, boxes, {"blur": True}, "BLUR=1: .*OUT=csv"),
        (footage, frozenset(), {"blur": True}, "BLUR=1: .*OUT=none"),
    ):
        with pytest.raises(UserError, match=f"^{refused}"):
            sources.refuse_unused_options(found, kinds, **unused | given)
    for found, kinds, given in (
        (pictures, image, {"blur": True}),
        (footage, boxes, {"blur": True, "show": True}),
        (footage, image, {"seconds": 2.5, "detect_every": None}),
    ):
        sources.refuse_unused_options(found, kinds, **unused | given)
