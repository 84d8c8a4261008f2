import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemask.classifier import face_crops, labelled_faces
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import ground_truth
from facemask.data.labelled_picture import GroundTruth
from facemask.data.splits import SPLITS, Proportions

CLASSES = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))


def write_folder(folder: Path, **pictures: int) -> Path:
    """A folder with so many noisy pictures of each class, of different sizes."""
    rng = np.random.default_rng(0)
    for label, count in pictures.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(0, 256, (20 + number, 30, 3), np.uint8)
            Image.fromarray(noise).save(folder / label / f"{number:03}.png")
    return folder


def test_every_face_of_the_records_is_in_its_pictures_split(tiny_records: Path) -> None:
    faces = labelled_faces.faces_from_records(tiny_records, size=32, margin=0.2, min_face=1)
    with (tiny_records / "boxes.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["class"]]
    for split in SPLITS:
        expected = Counter((row["image"], row["class"]) for row in rows if row["split"] == split)
        found = faces.splits[split]
        labels = [CLASSES.names[label] for label in found.labels]
        assert Counter(zip((n.rpartition("#")[0] for n in found.names), labels, strict=True)) == expected
    assert faces.left_out == {} and len(rows) == sum(map(len, faces.splits.values()))


def test_a_face_is_what_cut_gives(tiny_records: Path) -> None:
    faces = labelled_faces.faces_from_records(tiny_records, size=32, margin=0.3, min_face=1).splits["val"]
    image, true = next(ground_truth.read_records(tiny_records, "val"))
    expected = face_crops.cut_faces(image, true.boxes, 0.3, 32)
    assert np.array_equal(faces.crops[: len(expected)], expected)
    assert faces.names[0] == f"{true.name}#1"


def test_small_faces_are_left_out_and_counted(tiny_records: Path) -> None:
    every = labelled_faces.faces_from_records(tiny_records, size=32, margin=0.2, min_face=1)
    limit = 45  # pixels, about the middle of the sample's faces
    some = labelled_faces.faces_from_records(tiny_records, size=32, margin=0.2, min_face=limit)
    for split in SPLITS:
        small = sum(
            int(((true.boxes[:, 2:] - true.boxes[:, :2]).min(axis=1) < limit).sum())
            for _, true in ground_truth.read_records(tiny_records, split)
        )
        assert len(some.splits[split]) == len(every.splits[split]) - small
        assert some.left_out.get(f"smaller than 45 px in {split}", 0) == small
    assert some.left_out and some.digest != every.digest


def test_found_boxes_have_the_label_of_their_face_or_none() -> None:
    boxes = np.array([[0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 240, 40]], float)
    true = GroundTruth(1, "a.jpg", 400, 100, boxes, np.array([3, 1, 2]), np.array([False, False, True]))
    found = np.array(
        [
            [0, 0, 40, 30],  # IoU 0.75 with the first
            [100, 0, 140, 16],  # 0.4 with the second: neither that face nor none
            [100, 20, 140, 60],  # 0.33
            [100, 30, 140, 70],  # 0.14
            [300, 0, 340, 40],
            [200, 0, 240, 40],  # a difficult face
        ],
        float,
    )
    assert labelled_faces.label_found_boxes(found, true, 3).tolist() == [2, -1, -1, 3, 3, -1]
    bare = GroundTruth(1, "a.jpg", 400, 100, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool))
    assert labelled_faces.label_found_boxes(found[:2], bare, 3).tolist() == [3, 3]
    assert labelled_faces.label_found_boxes(found[:0], true, 3).tolist() == []


def test_what_a_face_detector_finds_in_train_is_cut_out_too(tiny_records: Path) -> None:
    """A detector that finds each labelled face, and a small and a large corner of each picture."""
    pictures = list(ground_truth.read_records(tiny_records, "train"))
    truths = {image.tobytes(): true for image, true in pictures}

    def find(image: np.ndarray) -> np.ndarray:
        return np.vstack([truths[image.tobytes()].boxes, [[0, 0, 3, 3]], [[0, 0, 12, 12]]])

    faces = labelled_faces.faces_from_records(tiny_records, 32, 0.2, 5, find)
    assert faces.found is not None and faces.outputs == 4
    labelled = faces.found.labels < 3
    np.testing.assert_array_equal(faces.found.crops[labelled], faces.splits["train"].crops)
    assert faces.found.labels[labelled].tolist() == faces.splits["train"].labels.tolist()
    assert len(pictures) >= (~labelled).sum() > 0 and set(faces.found.labels[~labelled]) == {3}
    assert str(int((~labelled).sum())) in str(faces)
    without = labelled_faces.faces_from_records(tiny_records, 32, 0.2, 5)
    assert without.found is None and without.outputs == 3 and without.digest != faces.digest


def test_a_folders_pictures_keep_their_split_under_any_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", with_mask=20, without_mask=20)
    before = labelled_faces.faces_from_folder(folder, CLASSES, Proportions(), size=32)
    assert before.label_map.names == ("with_mask", "without_mask")
    assert {split: len(faces) > 0 for split, faces in before.splits.items()} == dict.fromkeys(SPLITS, True)
    for path in folder.rglob("*.png"):
        path.rename(path.with_name(f"x{hashlib.md5(path.read_bytes()).hexdigest()}.png"))
    after = labelled_faces.faces_from_folder(folder, CLASSES, Proportions(), size=32)
    assert after.digest == before.digest


def test_a_copy_is_taken_once(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, with_mask=6, without_mask=6)
    (folder / "with_mask" / "sub").mkdir()
    (folder / "with_mask" / "sub" / "copy.png").write_bytes((folder / "with_mask" / "001.png").read_bytes())
    faces = labelled_faces.faces_from_folder(folder, CLASSES, Proportions(), size=32)
    assert faces.left_out == {"copies of another picture": 1}
    assert sum(map(len, faces.splits.values())) == 12


def test_a_picture_that_is_no_square_keeps_its_proportions(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, with_mask=3, without_mask=3)
    half = np.zeros((64, 32, 3), np.uint8)
    half[:, 16:] = 255
    Image.fromarray(half).save(folder / "with_mask" / "half.png")
    faces = labelled_faces.faces_from_folder(folder, CLASSES, Proportions(), size=64)
    [crop] = [
        crop
        for part in faces.splits.values()
        for crop, name in zip(part.crops, part.names, strict=True)
        if name.endswith("half.png")
    ]
    assert (crop[:, :32] == 0).all() and (crop[:, 32:] == 255).all()


def bad_folder(tmp_path: Path, what: str) -> Path:
    folder = write_folder(tmp_path / "faces", with_mask=3, without_mask=3)
    if what == "missing":
        return tmp_path / "nowhere"
    if what == "empty":
        (folder / "mask_weared_incorrect").mkdir()
    if what == "no image":
        (folder / "with_mask" / "notes.txt").write_text("hello")
    if what == "damaged":
        (folder / "with_mask" / "cut.png").write_bytes((folder / "with_mask" / "000.png").read_bytes()[:300])
    if what == "one class":
        (folder / "without_mask").rename(tmp_path / "elsewhere")
    if what == "no class":
        (folder / "without_mask").rename(folder / "WithoutMask")
    if what == "loose":
        (folder / "with_mask" / "000.png").rename(folder / "000.png")
    if what == "two classes":
        (folder / "without_mask" / "x.png").write_bytes((folder / "with_mask" / "000.png").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("missing", "nowhere"),
        ("empty", "mask_weared_incorrect"),
        ("no image", r"with_mask/notes\.txt"),
        ("damaged", r"with_mask/cut\.png"),
        ("one class", "only with_mask"),
        ("no class", "WithoutMask.*with_mask, without_mask"),
        ("loose", r"000\.png"),
        ("two classes", r"x\.png.*with_mask/000\.png"),
    ],
)
def test_a_bad_folder_is_one_line(tmp_path: Path, what: str, named: str) -> None:
    with pytest.raises(UserError, match=named) as caught:
        labelled_faces.faces_from_folder(bad_folder(tmp_path, what), CLASSES, Proportions(), size=32)
    assert "\n" not in str(caught.value)


def test_records_without_faces_to_learn_from_are_refused(tiny_records: Path) -> None:
    with pytest.raises(UserError, match=r"with_mask.* train.* \d+ smaller than 500 px"):
        labelled_faces.faces_from_records(tiny_records, size=32, margin=0.2, min_face=500)


def test_two_pictures_leave_none_for_val(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, with_mask=1, without_mask=1)
    faces = labelled_faces.faces_from_folder(folder, CLASSES, Proportions(), size=32)
    assert [len(faces.splits[split]) for split in ("train", "val")] == [2, 0]
