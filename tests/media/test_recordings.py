import os
import re
from pathlib import Path

import av
import made_video
import numpy as np
import pytest

from facemask.core.errors import UserError
from facemask.media import recordings
from facemask.media.footage import Footage
from facemask.media.prefetch import never


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "a clip.mp4"
    return made_video.write(path, (made_video.frame(i) for i in range(50)))


def said(footage: Footage) -> tuple[list, list[str]]:
    words: list[str] = []
    return list(footage.frames(never, words.append)), words


def test_every_frame_with_its_time(clip: Path) -> None:
    footage = recordings.open_file(clip)
    assert (footage.title, footage.stem, footage.live, footage.count, footage.path) == (
        str(clip),
        "a clip",
        False,
        50,
        clip,
    )
    frames, words = said(footage)
    assert [frame.number for frame in frames] == list(range(50)) and words == []
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(50)], abs=1e-3)
    for frame in frames[::10]:
        expected = made_video.frame(frame.number)
        assert frame.image.dtype == np.uint8 and frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 12


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.webm", "libvpx")])
def test_other_containers(tmp_path: Path, name: str, codec: str) -> None:
    path = made_video.write(tmp_path / name, (made_video.frame(i) for i in range(12)), codec=codec)
    footage = recordings.open_file(path)
    frames, words = said(footage)
    assert len(frames) == 12 and words == []
    assert footage.count is not None and abs(footage.count - 12) <= 1
    times = [frame.time for frame in frames]
    assert times[0] == 0 and times == sorted(set(times))


def test_a_video_that_a_phone_turned_is_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :40] = (255, 0, 0)

    class Turned:
        """A frame as PyAV gives it, whose file says to turn it by 90 degrees against the clock."""

        rotation = 90

        def to_ndarray(self, format: str) -> np.ndarray:
            assert format == "rgb24"
            return image

    upright = recordings.upright_pixels(Turned())
    assert upright.shape == (80, 40, 3) and upright.flags["C_CONTIGUOUS"]
    assert (upright[40:, :, 0] == 255).all() and (upright[:40] == 0).all()


@pytest.mark.parametrize("content", [b"", b"no video" * 100, b"\0\0\0\x20ftypisom" + b"\0" * 500])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mp4: "):
        recordings.open_file(tmp_path / "a.mp4")


def test_metadata_in_another_encoding_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "the cafe at the corner"
        stream = container.add_stream("mpeg4", rate=25, width=160, height=120)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(made_video.frame(0), format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"cafe", b"caf\xe9"))  # Latin-1
    frames, words = said(recordings.open_file(path))
    assert len(frames) == 1 and words == []


def test_a_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made_video.write(tmp_path / "12:30:00.avi", [made_video.frame(0)], codec="mpeg4")
    frames, words = said(recordings.open_file(Path("12:30:00.avi")))
    assert len(frames) == 1 and words == []


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UserError, match="the name is not UTF-8"):
        recordings.open_file(Path(os.fsdecode(b"caf\xe9.mp4")))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"a\.mp4: "):
        recordings.open_file(tmp_path / "a.mp4")


def test_a_playlist_opens_nothing(tmp_path: Path, clip: Path) -> None:
    """A file may come from anybody; it must not name what else is opened."""
    (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n")
    (tmp_path / "b.mp4").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(UserError, match=name):
            recordings.open_file(tmp_path / name)


def test_damage_is_said_and_the_rest_is_there(tmp_path: Path, clip: Path) -> None:
    data = bytearray(
        made_video.write(tmp_path / "a.mov", (made_video.frame(i) for i in range(60)), codec="png").read_bytes()
    )
    starts = [i for i in range(len(data)) if data[i : i + 4] == b"\x89PNG"]
    for start in starts[20:23]:
        data[start : start + 4] = b"none"
    (tmp_path / "a.mov").write_bytes(data)
    frames, words = said(recordings.open_file(tmp_path / "a.mov"))
    assert len(frames) == 57
    [warning] = words
    assert warning.startswith(f"{tmp_path / 'a.mov'}: ") and re.findall(r"\d+", warning.rpartition(": ")[2]) == [
        "3",
        "57",
    ]


def test_a_file_that_was_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    path = made_video.write(tmp_path / "a.mkv", (made_video.frame(i) for i in range(50)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    frames, words = said(recordings.open_file(path))
    assert 5 < len(frames) < 50
    assert words[-1].startswith(f"{path}: ")
    assert re.findall(r"\d+", words[-1].rpartition(": ")[2]) == [str(len(frames)), "50"]


def test_nothing_but_damage(tmp_path: Path) -> None:
    data = made_video.write(tmp_path / "a.mov", (made_video.frame(i) for i in range(5)), codec="png").read_bytes()
    (tmp_path / "a.mov").write_bytes(data.replace(b"\x89PNG", b"none"))
    with pytest.raises(UserError, match=r"a\.mov: "):
        said(recordings.open_file(tmp_path / "a.mov"))


def test_frames_of_too_many_pixels_are_refused_before_they_are_decoded(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facemask.data.images.MAX_PIXELS", 160 * 120 - 1)
    with pytest.raises(UserError, match="160 x 120"):
        recordings.open_file(clip)
