"""Which pictures `make next` chooses, and what it writes."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from facemask.cli import next_command
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import voc
from facemask.data.labelled_picture import read_labelled_pictures
from facemask.data.marked_voc import is_untouched
from facemask.detect import detector_choice
from facemask.detect.detector_choice import ChosenDetector
from facemask.labelling import next_pictures, picture_worth, prelabelling
from facemask.labelling.next_pictures import NextOptions, collect_next_pictures
from facemask.media.footage import Footage, Frame

LABEL_MAP = LabelMap(("with_mask", "without_mask"))
FACE = (10, 20, 50, 60)


def found(*rows: Sequence[float]) -> sv.Detections:
    """Rows of score, class id, xyxy."""
    table = np.array(rows, float).reshape(-1, 6)
    ids = table[:, 1].astype(int)
    return sv.Detections(
        xyxy=table[:, 2:].astype(np.float32),
        confidence=table[:, 0].astype(np.float32),
        class_id=ids,
        data={"class_name": np.array(["", *LABEL_MAP.names])[ids]},
    )


class Corner:
    """Finds one face: the red of the picture's upper left corner is its score, green makes it without_mask."""

    name = "corner"
    label_map = LABEL_MAP

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        return [found((image[0, 0, 0] / 250, 2 if image[0, 0, 1] else 1, *FACE)) for image in images]

    detect = detect_all


def scene(seed: int, score: float, class_id: int = 1) -> Image.Image:
    """Blotches, unlike those of another seed, with the corner that `Corner` reads."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((96, 72), Image.Resampling.NEAREST)
    image.putpixel((0, 0), (round(250 * score), 255 * (class_id - 1), 0))
    return image


def save(path: Path, seed: int, score: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(seed, score).save(path)
    return path


@dataclass(frozen=True)
class Rated:
    worth: float
    hash: int
    time: float = 0.0


def bits(*ranges: tuple[int, int]) -> int:
    return sum(((1 << end - start) - 1) << start for start, end in ranges)


# ---- worth ----


def test_a_face_is_worth_most_when_two_classes_or_nothing_are_as_likely() -> None:
    worth = {
        "clear": picture_worth.uncertainty(found((1.0, 1, *FACE)), 2),
        "half a face": picture_worth.uncertainty(found((0.5, 1, *FACE)), 2),
        "either class": picture_worth.uncertainty(found((0.5, 1, *FACE), (0.5, 2, *FACE)), 2),
        "hardly a face": picture_worth.uncertainty(found((0.02, 1, *FACE)), 2),
    }
    assert worth == pytest.approx({"clear": 0, "half a face": 1, "either class": 1, "hardly a face": 0.0016}, abs=1e-4)
    assert picture_worth.uncertainty(found(), 2) == 0
    two = picture_worth.uncertainty(found((0.5, 1, *FACE), (0.5, 1, 60, 20, 90, 60)), 2)
    assert two == pytest.approx(2)


def test_detectors_disagree_about_faces_scores_and_classes() -> None:
    one = found((0.9, 1, *FACE))
    elsewhere = (60.0, 20.0, 90.0, 60.0)
    assert picture_worth.disagreement(one, one) == 0
    assert picture_worth.disagreement(one, found((0.6, 1, *FACE))) == pytest.approx(0.3)
    assert picture_worth.disagreement(one, found((0.6, 2, *FACE))) == pytest.approx(0.9)
    assert picture_worth.disagreement(one, found()) == picture_worth.disagreement(found(), one) == pytest.approx(0.9)
    assert picture_worth.disagreement(one, found((0.9, 1, *FACE), (0.4, 1, *elsewhere))) == pytest.approx(0.4)
    assert picture_worth.disagreement(found(), found()) == 0


# ---- choice ----


def test_the_worth_of_a_picture_falls_with_its_likeness_to_a_chosen_one() -> None:
    best, copy = Rated(1.0, 0), Rated(0.99, bits((0, 10)))
    like, unlike = Rated(0.8, bits((0, 20))), Rated(0.5, bits((0, 60)))
    assert next_pictures.choose([copy, like, unlike, best], 9) == [3, 2, 1]
    assert next_pictures.choose([copy, like, unlike, best], 2) == [3, 2]
    assert next_pictures.choose([copy, like, unlike, best], 9, there=[0]) == [2, 1]
    assert next_pictures.choose([], 5) == []


def test_frames_are_seconds_apart() -> None:
    frames = [Rated(1 + number, bits((0, number * 20)), time=number) for number in range(6)]
    assert next_pictures.choose(frames, 9, apart=2.0) == [5, 3, 1]


# ---- folders ----


def collect(source: Path | str, images: Path, count: int = 3, **more: object) -> next_pictures.NextPictures:
    options = NextOptions(count, "", (0.5, 0.5), processes=1, **more)  # type: ignore[arg-type]
    return collect_next_pictures(str(source), images, Corner(), options, {"step": "next"})


def test_unsure_pictures_are_copied_prelabelled_and_none_looks_like_another(tmp_path: Path) -> None:
    source, images = tmp_path / "pile", tmp_path / "images"
    for seed, score in enumerate((0.99, 0.55, 0.97, 0.45, 0.9, 0.52)):
        save(source / f"{seed}.png", seed, score)
    save(source / "copy of 1.png", 1, 0.55)
    save(source / "deep" / "3.bmp", 33, 0.44)
    save(images / "labelled.png", 5, 0.52)
    before = sorted((path, path.read_bytes()) for path in source.rglob("*.*"))

    result = collect(source, images, count=3)
    assert result.folder == images / "next-pile"
    names = [path.name for path in sorted(result.folder.iterdir())]
    # 5 is there already. What scores under 0.5 gets no box: a person draws it.
    assert [one.name for one in result.chosen] == ["1.png", "3.png", "deep/3.bmp"] or "copy of 1.png" in names
    assert {"3.png", "3-2.bmp", "next.json"} <= set(names)
    assert len(names) == 5
    assert sorted((path, path.read_bytes()) for path in source.rglob("*.*")) == before
    [xml] = result.folder.glob("*.xml")
    annotation = voc.read_voc(xml)
    assert is_untouched(annotation, prelabelling.MARK)
    assert annotation.boxes == (voc.Box("with_mask", *FACE),)
    assert (annotation.filename, annotation.width, annotation.height) == (xml.with_suffix(".png").name, 96, 72)
    written = json.loads((result.folder / "next.json").read_text())
    assert [row["picture"] for row in written["pictures"]][1:] == ["3.png", "3-2.bmp"]
    assert written["pictures"][0]["reasons"]["unsure"] == pytest.approx(0.81, abs=0.01)
    assert "make label IMAGES=" in result.text()

    # The same again: what is there now is not chosen again.
    again = collect(source, images, count=9)
    assert again.folder == images / "next-pile-2"
    assert {one.name for one in again.chosen} == {"0.png", "2.png", "4.png"}
    assert f"No more than 3 could be chosen. The others: 5 like a chosen picture or one in {images}." in again.text()


def test_a_second_detector_counts(tmp_path: Path) -> None:
    for seed in range(4):
        save(tmp_path / "pile" / f"{seed}.png", seed, 0.99)

    class Blind(Corner):
        def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
            return [found() if image[30, 50].tolist() == wanted else found((0.99, 1, *FACE)) for image in images]

        detect = detect_all

    wanted = list(scene(2, 0.99).getpixel((50, 30)))  # type: ignore[arg-type]
    options = NextOptions(1, "mine", (0.5, 0.5), processes=1)
    result = collect_next_pictures(str(tmp_path / "pile"), tmp_path / "images", Corner(), options, {}, Blind())
    assert [one.name for one in result.chosen] == ["2.png"]
    assert result.chosen[0].reasons["disagreement"] == pytest.approx(0.99, abs=0.01)
    assert result.folder.name == "mine"


def test_what_an_empty_scene_shows_becomes_pictures_without_faces(tmp_path: Path) -> None:
    for seed, score in enumerate((0.1, 0.9, 0.6, 0.49)):
        save(tmp_path / "hall" / f"{seed}.png", seed, score)
    result = collect(tmp_path / "hall", tmp_path / "images", count=9, negatives=True)
    assert [one.name for one in result.chosen] == ["1.png", "2.png"]
    assert result.folder.name == "negatives-hall"
    assert result.text().startswith("1.png: detected 0.90\n2.png: detected 0.60\n")
    assert result.notes == ("No more than 2 could be chosen. The others: 2 without a detection.",)
    pictures, findings = read_labelled_pictures(tmp_path / "images", LABEL_MAP)
    assert findings == []
    assert [(picture.usable, picture.boxes) for picture in pictures] == [(True, ())] * 2
    assert not is_untouched(voc.read_voc(result.folder / "1.xml"), prelabelling.MARK)
    with pytest.raises(UserError, match=str(tmp_path / "hall")):
        collect_next_pictures(
            str(tmp_path / "hall"), tmp_path / "images", Corner(), NextOptions(9, "", (0.95, 0.95), True), {}
        )


# ---- videos ----


def film(*frames: tuple[int, float, int]) -> Footage:
    """Frames of a seed, a score and a class, ten a second."""

    def play(stopped: object, warn: object) -> object:
        for number, (seed, score, class_id) in enumerate(frames):
            yield Frame(np.asarray(scene(seed, score, class_id)), number, number / 10)

    return Footage("hall.mp4", "hall", live=False, frames=play, count=len(frames))  # type: ignore[arg-type]


def test_frames_whose_face_flips_or_is_lost_are_worth_more() -> None:
    steady, flipped, lost = (1, 0.9, 1), (2, 0.9, 2), (3, 0.1, 1)
    looked = list(
        next_pictures.look_at_video(Corner(), film(*[steady] * 8, flipped, *[steady] * 4, lost), (0.5, 0.5), every=0)
    )
    tracks = [one.reasons["track"] for one in looked]
    assert tracks[8] == pytest.approx(0.9, abs=0.01)
    assert tracks[13] == pytest.approx(0.9, abs=0.01)
    assert sum(tracks) == pytest.approx(1.8, abs=0.02)
    every = next_pictures.look_at_video(Corner(), film(*[steady] * 14), (0.5, 0.5), every=0.5)
    assert [one.number for one in every] == [0, 5, 10]


def test_frames_of_a_video_are_saved_with_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [(number // 4, 0.6, 1) for number in range(40)]
    monkeypatch.setattr(next_pictures, "find_source", lambda source: film(*frames))
    result = collect("hall.mp4", tmp_path, count=9, every=0.1, apart=1.0)
    files = sorted(path.name for path in result.folder.glob("*.jpg"))
    assert len(files) == 4
    assert all(name.startswith("hall-0000") and name.endswith("s.jpg") for name in files)
    times = sorted(one.time for one in result.chosen)
    assert min(np.diff(times)) >= 1.0
    rows = json.loads((result.folder / "next.json").read_text())["pictures"]
    assert {(row["source"], round(row["seconds"], 2)) for row in rows} == {("hall.mp4", round(one, 2)) for one in times}
    assert len(list(result.folder.glob("*.xml"))) == 4
    assert result.notes == ("No more than 4 could be chosen. The others: 36 less than 1 s from a chosen frame.",)


def test_a_clear_picture_is_not_called_unsure(tmp_path: Path) -> None:
    save(tmp_path / "pile" / "a.png", 1, 0.98)
    result = collect(tmp_path / "pile", tmp_path / "images", count=3)
    assert result.text().startswith("a.png: unlike the others\nNo more than 1 could be chosen: there are no others.\n")


def test_a_damaged_picture_is_left_out_and_named(tmp_path: Path) -> None:
    source = save(tmp_path / "source" / "good.png", 0, 0.6).parent
    for number in range(12):
        (source / f"bad{number}.png").write_bytes(b"no picture")
    result = collect(str(source), tmp_path / "images")
    assert (result.seen, [one.name for one in result.chosen]) == (1, ["good.png"])
    note = next(note for note in result.notes if "cannot be read" in note)
    assert note.startswith(f"Left out, because they cannot be read: 12. {source / 'bad0.png'}: ")
    assert "bad9.png" in note and "bad10.png" not in note and note.endswith(" And 2 more.")


# ---- the step, and what is wrong ----


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ChosenDetector("corner", LABEL_MAP, {}, (), Corner)  # type: ignore[arg-type]
    monkeypatch.setattr(detector_choice, "choose_detector", lambda *args, **options: chosen)
    images = tmp_path / "images"
    inside = save(images / "a.png", 0, 0.6).parent
    damaged = save(tmp_path / "damaged" / "b.png", 1, 0.6)
    damaged.write_bytes(damaged.read_bytes()[:200])
    same = save(tmp_path / "same" / "c.png", 0, 0.6).parent
    latin = save(tmp_path / "latin" / os.fsdecode(b"\xe9.png"), 5, 0.6).parent
    for options, named in (
        ({}, "FROM="),
        ({"from_": str(tmp_path / "nowhere")}, "nowhere"),
        ({"from_": str(inside)}, "Move it elsewhere"),
        ({"from_": str(damaged)}, "b.png"),
        ({"from_": str(same)}, "look like"),
        ({"from_": str(latin)}, r"\\udce9.png: .*not UTF-8"),
        ({"from_": "rtsp://host/hall"}, "no end"),
        ({"from_": str(same), "name": "../out"}, r"NAME=\.\./out"),
        ({"from_": str(same), "name": "val"}, "that split"),
        ({"from_": str(same), "other": "ssd"}, "the detector itself"),
    ):
        with pytest.raises(UserError, match=named) as error:
            next_command.main(images=images, processes=1, **options)
        assert "\n" not in str(error.value)
    assert [path.name for path in images.iterdir() if not path.name.endswith(".lock")] == ["a.png"]

    next_command.main(images=images, processes=1, from_=str(save(tmp_path / "new" / "d.png", 7, 0.6).parent))
    assert (images / "next-new" / "d.xml").exists()
