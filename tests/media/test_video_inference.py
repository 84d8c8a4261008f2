import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import made_video
import numpy as np
import psutil
import pytest
import supervision as sv
from made_video import ABOUT, SquareFinder
from PIL import Image

from facemask.core.errors import UserError
from facemask.media import picture_files, picture_inference, recordings, video_inference
from facemask.media.footage import Footage, Frame, Stopped, Warn

THRESHOLDS = (0.5, 0.5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of a masked face; in three of them the detector is unsure, and in one it takes it for another class."""
    images = [
        made_video.frame(i, "without_mask" if i == 20 else "with_mask", unsure=i in (10, 11, 12)) for i in range(40)
    ]
    return made_video.write(tmp_path_factory.mktemp("clips") / "clip.mp4", images)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_video_gives_a_film_a_table_and_what_made_them(clip: Path, tmp_path: Path) -> None:
    summary = video_inference.infer_footage(SquareFinder(), ABOUT, recordings.open_file(clip), tmp_path, THRESHOLDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.csv", "clip.json", "clip.mp4"]

    table = rows(tmp_path / "clip.csv")
    assert [row["frame"] for row in table] == [str(i) for i in range(40)]
    assert {row["class"] for row in table} == {"with_mask"}, "one wrong frame changes nobody's class"
    assert [row["track"] for row in table] == ["", *["1"] * 39]
    assert [float(row["time"]) for row in table] == pytest.approx([i / 25 for i in range(40)], abs=1e-3)
    assert [float(row["score"]) for row in table] == pytest.approx(
        [0.3 if i in (10, 11, 12) else 0.9 for i in range(40)]
    )
    for i, row in enumerate(table):
        assert [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx(
            made_video.square(i), abs=1.5
        )

    film = made_video.read(tmp_path / "clip.mp4")
    assert [time for time, _ in film] == pytest.approx([i / 25 for i in range(40)], abs=1e-3)
    assert film[0][1].shape == (480, 640, 3), "small frames are drawn enlarged"
    box = np.array(made_video.square(30)) * 4
    left = film[30][1][(box[1] + box[3]) // 2, box[0] - 1 : box[0] + 3].astype(int)
    assert np.abs(left - (0x00, 0x9E, 0x73)).max(axis=1).min() < 40, "the box, in its class's colour"
    panel = film[30][1][-60:, :30].astype(int)
    assert (np.abs(panel - (0x00, 0x9E, 0x73)).max(axis=2) < 60).any(), "the counts, with the colours of the classes"

    value = json.loads((tmp_path / "clip.json").read_text())
    assert value["faces"] == {"with_mask": 1, "without_mask": 0} == summary.faces
    assert value["source"] | {"name": ""} == {
        "name": "",
        "live": False,
        "width": 160,
        "height": 120,
        "frames": 40,
        "seconds": 1.56,
        "detected": 40,
        "missed": 0,
        "stopped": False,
        "troubles": 0,
    }
    assert value["made"]["settings"]["model"] == ABOUT
    assert value["made"]["settings"]["thresholds"] == {"with_mask": 0.5, "without_mask": 0.5}
    assert "40 frames of 1.6 s; faces tracked: 1 with_mask, 0 without_mask (eyes, " in summary.text()
    assert summary.exit_code == 0


def test_between_detections_the_tracks_move_on(tmp_path: Path) -> None:
    clip = made_video.write(tmp_path / "clip.mp4", map(made_video.frame, range(40)))
    finder = SquareFinder()
    footage, out = recordings.open_file(clip), tmp_path / "out"
    summary = video_inference.infer_footage(finder, ABOUT, footage, out, THRESHOLDS, detect_every=3)
    assert (summary.frames, summary.detected, len(finder.batches)) == (40, 14, 14)
    assert "40 frames of 1.6 s, detected in 14; " in summary.text()
    table = rows(out / "clip.csv")
    assert [row["frame"] for row in table] == [str(i) for i in range(40)]
    assert [row["frame"] for row in table if row["score"]] == [str(i) for i in range(0, 40, 3)]
    for i, row in enumerate(table[9:], start=9):
        assert [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx(
            made_video.square(i), abs=2.5
        )
    assert len(made_video.read(out / "clip.mp4")) == 40
    value = json.loads((out / "clip.json").read_text())
    assert value["source"]["detected"] == 14 and value["made"]["settings"]["detect_every"] == 3


@pytest.mark.parametrize("every", [1, 3])
def test_frames_that_are_detected_at_the_same_time_make_the_same_results(
    clip: Path, tmp_path: Path, every: int
) -> None:
    both = threading.Barrier(2)

    class Together(SquareFinder):
        def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
            both.wait(20)  # fails if one waits for the other
            return super().detect(images)

    tables = []
    for at_once, finder in ((1, SquareFinder()), (2, Together())):
        footage, out = recordings.open_file(clip), tmp_path / str(at_once)
        summary = video_inference.infer_footage(
            finder, ABOUT, footage, out, THRESHOLDS, detect_every=every, at_once=at_once
        )
        assert (summary.frames, summary.detected) == (40, -(-40 // every))
        tables.append((out / "clip.csv").read_bytes())
        assert [time for time, _ in made_video.read(out / "clip.mp4")] == pytest.approx([i / 25 for i in range(40)])
    assert tables[0] == tables[1]


class FindsNothing(SquareFinder):
    def _detect(self, image: np.ndarray) -> sv.Detections:
        return sv.Detections.empty()


@pytest.mark.parametrize(
    ("live", "every", "seconds", "sliced"),
    [
        (False, 1, 0.25, True),  # a file waits
        (True, 1, 0.25, False),  # there are 0.1 s for a frame
        (True, 1, 0.01, True),
        (True, 4, 0.25, True),  # 0.4 s
        (True, None, 0.25, False),  # 0.2 s
        (False, None, 0.25, False),
        (False, None, 0.01, True),
    ],
)
def test_large_frames_are_detected_in_slices_where_there_is_time(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    live: bool,
    every: int | None,
    seconds: float,
    sliced: bool,
) -> None:
    image = np.zeros((1080, 1920, 3), np.uint8)
    whole, in_slices = FindsNothing(), FindsNothing(seconds)

    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        begun = time.monotonic()
        for number in range(40):
            time.sleep(max(0.0, begun + number / 10 - time.monotonic()) if live else 0.0)
            yield Frame(image, number, number / 10)

    footage = Footage("door", "door", live, frames)
    kinds = frozenset(["json"])
    summary = video_inference.infer_footage(
        whole, ABOUT, footage, tmp_path, THRESHOLDS, kinds, detect_every=every, sliced=in_slices, seconds=3.0
    )
    counts = len(in_slices.batches), len(whole.batches)
    assert counts == ((summary.detected, 3) if sliced else (3, summary.detected))
    [said] = capsys.readouterr().err.strip().splitlines()
    assert ("looks for small faces too" if sliced else "as a whole") in said
    assert json.loads((tmp_path / "door.json").read_text())["made"]["settings"]["model"]["slices"] is sliced


def test_small_frames_have_no_slices(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, in_slices = SquareFinder(), SquareFinder()
    footage = recordings.open_file(clip)
    video_inference.infer_footage(whole, ABOUT, footage, tmp_path, THRESHOLDS, sliced=in_slices)
    assert (len(whole.batches), len(in_slices.batches), capsys.readouterr().err) == (40, 0, "")
    assert json.loads((tmp_path / "clip.json").read_text())["made"]["settings"]["model"]["slices"] is False


def test_faces_are_not_blurred_at_predicted_places_alone(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DETECT_EVERY=1"):
        video_inference.infer_footage(
            SquareFinder(), ABOUT, recordings.open_file(clip), tmp_path, THRESHOLDS, blur=True, detect_every=None
        )


def test_only_what_is_wanted_is_written(clip: Path, tmp_path: Path) -> None:
    for kinds, names in (({"csv"}, ["clip.csv", "clip.json"]), ({"json"}, ["clip.json"]), (set(), [])):
        folder = tmp_path / "-".join(kinds or "none")
        footage = recordings.open_file(clip)
        video_inference.infer_footage(SquareFinder(), ABOUT, footage, folder, THRESHOLDS, frozenset(kinds), seconds=0.2)
        assert sorted(path.name for path in folder.glob("*")) == names


def test_results_of_an_earlier_run_are_named(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kinds, results in ((["image", "csv"], ["clip.mp4", "clip.csv"]), (["csv"], ["clip.csv"])):
        assert capsys.readouterr().err == ""
        video_inference.infer_footage(
            SquareFinder(), ABOUT, recordings.open_file(clip), tmp_path, THRESHOLDS, frozenset(kinds)
        )
        assert json.loads((tmp_path / "clip.json").read_text())["results"] == results
    assert capsys.readouterr().err == (
        f"{tmp_path / 'clip.mp4'}: of an earlier run; {tmp_path / 'clip.json'} does not describe it\n"
    )


def test_videos_and_pictures_keep_their_results_apart(clip: Path, tmp_path: Path) -> None:
    video, out = shutil.copy(clip, tmp_path / "boxes.mp4"), tmp_path / "out"
    Image.fromarray(made_video.frame(1)).save(tmp_path / "boxes.png")

    def of_the_video(*kinds: str) -> None:
        footage = recordings.open_file(video)
        video_inference.infer_footage(SquareFinder(), ABOUT, footage, out, THRESHOLDS, frozenset(kinds))

    def of_the_picture(*kinds: str) -> None:
        found = picture_files.find_pictures(str(tmp_path / "boxes.png"))
        picture_inference.infer_pictures(SquareFinder(), ABOUT, found, out, THRESHOLDS, frozenset(kinds))

    for one, kind, other, kinds, name in (
        (of_the_video, "image", of_the_picture, ("json", "csv"), "boxes.json"),
        (of_the_picture, "json", of_the_video, ("image", "csv"), "boxes.json"),
        (of_the_picture, "csv", of_the_video, ("csv",), "boxes.csv"),
    ):
        one(kind)
        before = {path: path.read_bytes() for path in out.iterdir()}
        for wanted in kinds:
            with pytest.raises(UserError, match=f"^{out / name}: belongs to "):
                other(wanted)
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        shutil.rmtree(out)


def test_it_ends_after_the_seconds_wanted(clip: Path, tmp_path: Path) -> None:
    footage = recordings.open_file(clip)
    summary = video_inference.infer_footage(SquareFinder(), ABOUT, footage, tmp_path, THRESHOLDS, seconds=0.4)
    assert summary.frames == 10 and len(made_video.read(tmp_path / "clip.mp4")) == 10


def test_faces_are_blurred_in_every_frame(tmp_path: Path) -> None:
    def checked(i: int) -> np.ndarray:
        """A square with a fine pattern, which the detector takes for plain."""
        image = made_video.frame(i, unsure=i == 5)
        x0, y0, x1, y1 = made_video.square(i)
        image[y0:y1, x0:x1][::2, ::2] += np.array([0, 55, 0], np.uint8)
        image[y0:y1, x0:x1][1::2, 1::2] -= np.array([0, 55, 0], np.uint8)
        return image

    path = made_video.write(tmp_path / "a.mov", (checked(i) for i in range(10)), codec="png")

    def detail(blur: bool) -> list[float]:
        folder = tmp_path / str(blur)
        video_inference.infer_footage(SquareFinder(), ABOUT, recordings.open_file(path), folder, THRESHOLDS, blur=blur)
        found = []
        for i, (_, image) in enumerate(made_video.read(folder / "a.mp4")):
            x0, y0, x1, y1 = (4 * side for side in made_video.square(i))
            inside = image[y0 + 45 : y1 - 45, x0 + 45 : x1 - 45, 1].astype(float)
            found.append(inside.std())
        return found

    assert max(detail(blur=True)) < 4 < 12 < min(detail(blur=False))


def test_a_film_is_never_overwritten_by_its_own_results(clip: Path) -> None:
    before = clip.read_bytes()
    with pytest.raises(UserError, match=f"^{clip}: "):
        video_inference.infer_footage(SquareFinder(), ABOUT, recordings.open_file(clip), clip.parent, THRESHOLDS)
    assert clip.read_bytes() == before


@pytest.mark.parametrize("where", ["detecting", "reading", "writing"])
def test_an_error_anywhere_ends_it_with_nothing_half_written(
    clip: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(SquareFinder):
        def detect(self, images: list[np.ndarray]) -> list:
            if where == "detecting" and len(self.batches) == 10:
                raise RuntimeError("no more")
            return super().detect(images)

    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        for i in range(30):
            if where == "reading" and i == 10:
                raise RuntimeError("no more")
            yield Frame(made_video.frame(i), i, i / 25)

    if where == "writing":
        calls = iter(range(100))

        def fail(*_: object) -> np.ndarray:
            if next(calls) == 10:
                raise RuntimeError("no more")
            return made_video.frame(0)

        monkeypatch.setattr(video_inference, "draw_tracked", fail)
    with pytest.raises(RuntimeError):
        video_inference.infer_footage(Failing(), ABOUT, Footage("a", "a", False, frames), tmp_path / "out", THRESHOLDS)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=f"^{tmp_path / 'out'}"):
        video_inference.infer_footage(SquareFinder(), ABOUT, recordings.open_file(clip), tmp_path / "out", THRESHOLDS)


def test_damage_is_named_and_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made_video.write(tmp_path / "a.mov", (made_video.frame(i) for i in range(30)), codec="png")
    head, _, tail = path.read_bytes().rpartition(b"\x89PNG")
    path.write_bytes(head + b"none" + tail)
    summary = video_inference.infer_footage(
        SquareFinder(), ABOUT, recordings.open_file(path), tmp_path / "out", THRESHOLDS
    )
    assert summary.exit_code == 2 and summary.broken and "could not be decoded" in summary.text()
    assert "a.mov: " in capsys.readouterr().err
    assert len(rows(tmp_path / "out" / "a.csv")) == summary.frames < 30


def camera(frames: int, rate: float) -> Footage:
    """A camera that gives frames at a rate, whoever looks, goes away once, and ends."""

    def images(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        begun = time.monotonic()
        for i in range(frames):
            if i == frames // 2:
                warn("the camera is gone")
            time.sleep(max(0.0, begun + i / rate - time.monotonic()))
            yield Frame(made_video.frame(i), i, max(time.monotonic() - begun, i / rate))

    return Footage("the camera", "camera", live=True, frames=images)


@pytest.mark.parametrize("at_once", [1, 2])
def test_of_a_camera_stale_frames_are_missed_and_the_film_lasts_as_long_as_it_did(tmp_path: Path, at_once: int) -> None:
    summary = video_inference.infer_footage(
        SquareFinder(seconds=0.1), ABOUT, camera(100, rate=50), tmp_path, THRESHOLDS, at_once=at_once
    )
    assert summary.frames + summary.missed >= 99 and summary.missed > 40
    assert summary.exit_code == 0, "that a camera goes away is no error"
    film = made_video.read(tmp_path / "camera.mp4")
    assert len(film) == summary.frames
    assert film[-1][0] == pytest.approx(summary.seconds, abs=0.1) and summary.seconds > 1.5
    numbers = [int(row["frame"]) for row in rows(tmp_path / "camera.csv")]
    assert numbers == sorted(numbers) and numbers[-1] == 99


def test_of_a_camera_frames_are_shown_though_the_detector_is_slower(tmp_path: Path) -> None:
    finder = SquareFinder(seconds=0.5)
    summary = video_inference.infer_footage(
        finder, ABOUT, camera(30, rate=10), tmp_path, THRESHOLDS, frozenset(["csv"]), detect_every=None
    )
    assert summary.detected == len(finder.batches) < summary.frames
    assert summary.missed < summary.frames
    numbers = [int(row["frame"]) for row in rows(tmp_path / "camera.csv")]
    assert numbers == sorted(numbers) and numbers[-1] == 29


def test_a_signal_leaves_what_was_done_until_then(tmp_path: Path) -> None:
    """Ctrl-C; SIGTERM takes the same way (tests/core/test_signals.py)."""
    long = made_video.write(tmp_path / "long.mp4", (made_video.frame(i) for i in range(300)))
    code = """
import sys
from pathlib import Path
import made_video
from facemask.media import recordings, video_inference as video
source = recordings.open_file(Path(sys.argv[1]))
summary = video.infer_footage(made_video.SquareFinder(0.05), made_video.ABOUT, source, Path(sys.argv[2]), (0.5, 0.5))
print(summary.text())
sys.exit(summary.exit_code)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(long), str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob(".long.csv.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "stopped early" in said
    assert sorted(path.name for path in out.iterdir()) == ["long.csv", "long.json", "long.mp4"]
    frames = len(made_video.read(out / "long.mp4"))
    assert 0 < frames < 300 and len(rows(out / "long.csv")) == frames
    assert json.loads((out / "long.json").read_text())["source"]["stopped"] is True


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_thousands_of_frames_of_a_camera_take_no_more_memory(tmp_path: Path) -> None:
    def images(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        for i in range(5_000):
            # As fast as it is looked at. A face for two seconds, then none for two: tracks begin and end.
            assert looked.acquire(timeout=60)
            image = made_video.frame(i) if i // 50 % 2 == 0 else np.full((120, 160, 3), 100, np.uint8)
            yield Frame(image, i, i / 25)

    memory: list[int] = []

    class Watching(SquareFinder):
        def detect(self, images: list[np.ndarray]) -> list:
            self.batches.clear()
            if next(counter) % 500 == 499:
                memory.append(psutil.Process().memory_info().rss)
            looked.release()
            return super().detect(images)

    counter, looked = itertools.count(), threading.Semaphore()
    footage = Footage("the camera", "camera", live=True, frames=images)
    summary = video_inference.infer_footage(Watching(), ABOUT, footage, tmp_path, THRESHOLDS)
    assert summary.frames == 5_000 and summary.faces["with_mask"] >= 50
    assert memory[-1] - memory[2] < 30e6, [round(size / 1e6) for size in memory]
