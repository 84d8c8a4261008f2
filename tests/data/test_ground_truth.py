from pathlib import Path

import made_data
import numpy as np
import pytest
from made_data import CLASSES, box, save

from facemask.core.errors import UserError
from facemask.data import ground_truth, make_records, manifest, tfrecord


def test_records_and_folder_say_the_same(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 20)
    make_records.make_records(root, tmp_path / "a", CLASSES, make_records.RecordOptions())
    read = [pair for split in ("train", "val", "test") for pair in ground_truth.read_records(tmp_path / "a", split)]
    by_name = {of_image.name: (image, of_image) for image, of_image in read}
    folder = list(ground_truth.read_folder(root, CLASSES))
    assert len(folder) == len(by_name) == 20
    assert [of_image.image_id for _, of_image in folder] == list(range(1, 21))
    for image, expected in folder:
        other, of_image = by_name[expected.name]
        assert np.array_equal(image, other)
        assert (of_image.width, of_image.height) == (expected.width, expected.height) == (64, 48)
        assert np.allclose(of_image.boxes, expected.boxes, atol=1e-4)
        assert of_image.class_ids.tolist() == expected.class_ids.tolist()
        assert of_image.boxes.shape == (len(of_image.class_ids), 4)


def test_difficult_is_kept(tmp_path: Path):
    save(tmp_path / "i", "a.jpg", [box(difficult=True), box("without_mask", (1, 1, 9, 9))])
    make_records.make_records(tmp_path / "i", tmp_path / "a", CLASSES, make_records.RecordOptions())
    [(_, of_image)] = [
        pair for split in ("train", "val", "test") for pair in ground_truth.read_records(tmp_path / "a", split)
    ]
    assert of_image.difficult.tolist() == [True, False]


def test_what_is_missing_or_broken_is_said(tmp_path: Path):
    def read(split: str = "train") -> None:
        list(ground_truth.read_records(tmp_path / "a", split))

    with pytest.raises(UserError):  # no records yet
        read()
    save(tmp_path / "i", "train/a.jpg")
    make_records.make_records(tmp_path / "i", tmp_path / "a", CLASSES, make_records.RecordOptions())
    read()
    with pytest.raises(UserError, match="all"):
        read("all")
    record = tmp_path / "a" / "train.record"
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"train\.record"):
        read()
    record.write_bytes(tfrecord.frame_record(b"no example"))
    with pytest.raises(UserError, match=r"train\.record"):
        read()
    record.unlink()
    with pytest.raises(UserError, match=r"train\.record"):
        read()
    for text in ("", "[]", '{"format": 2}', '{"format": 1, "splits": {}}'):
        (tmp_path / "a" / "records.json").write_text(text)
        with pytest.raises(UserError, match=r"records\.json"):
            manifest.read_manifest(tmp_path / "a")


def test_a_folder_with_problems_is_refused(tmp_path: Path):
    save(tmp_path, "a.jpg", [box("dog")])
    with pytest.raises(UserError, match="dog"):
        list(ground_truth.read_folder(tmp_path, CLASSES))
