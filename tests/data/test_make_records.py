import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import made_data
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_data import CLASSES, box, save

from facemask.core.errors import UserError
from facemask.data import (
    data_rules,
    ground_truth,
    images,
    make_records,
    manifest,
    records_summary,
    shards,
    tfexample,
    tfrecord,
    voc,
)
from facemask.data.discovery import discover_pictures
from facemask.data.labelled_picture import GroundTruth
from facemask.data.make_records import RecordOptions, RecordsReport
from facemask.data.splits import SPLITS, Proportions

ROOT = Path(__file__).parents[2]


def make(root: Path, annotations: Path, processes: int = 1, **options: Any) -> RecordsReport:
    return make_records.make_records(root, annotations, CLASSES, RecordOptions(**options), processes)


def rows(annotations: Path) -> list[dict[str, str]]:
    with (annotations / "boxes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stored(annotations: Path, split: str) -> list[tuple[GroundTruth, bytes]]:
    files = manifest.read_manifest(annotations).splits[split].files
    return [tfexample.decode_example(record) for file in files for record in tfrecord.read_tfrecord(annotations / file)]


def examples(annotations: Path, split: str) -> list[GroundTruth]:
    return [truth for truth, _ in stored(annotations, split)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_that_is_written(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 30), tmp_path / "annotations"
    report = make(root, annotations)
    assert report.fresh
    assert not any(data_rules.RULES[rule].level == data_rules.ERROR for rule in report.found)
    assert sorted(contents(annotations)) == sorted(
        ["boxes.csv", "inputs.json", "label_map.pbtxt", "records.json", "test.record", "train.record", "val.record"]
    )
    assert (annotations / "label_map.pbtxt").read_text() == CLASSES.to_pbtxt()
    read = manifest.read_manifest(annotations)
    assert read == report.manifest
    table = rows(annotations)
    for split in SPLITS:
        held = examples(annotations, split)
        sums = read.splits[split]
        per_class = Counter(CLASSES.name_of(i) for example in held for i in example.class_ids)
        assert sums.images == len(held) == report.examples[split] > 0
        assert sums.boxes == sum(len(example.boxes) for example in held)
        assert sums.boxes_per_class == {name: per_class[name] for name in CLASSES.names}
        assert sums.max_boxes == max(len(example.boxes) for example in held)
        names = list(dict.fromkeys(row["image"] for row in table if row["split"] == split))
        assert names == [example.name for example in held]
        assert all(per_class[name] for name in CLASSES.names)
    assert sum(split.images for split in read.splits.values()) == 30
    # Stored as they were, boxes and all.
    for example, encoded in stored(annotations, "train"):
        assert encoded == (root / example.name).read_bytes()
        own = [row for row in table if row["image"] == example.name]
        if not len(example.boxes):
            assert [row["class"] for row in own] == [""]
            continue
        assert [row["class"] for row in own] == [CLASSES.name_of(i) for i in example.class_ids]
        corners = [[float(row[edge]) for edge in ("xmin", "ymin", "xmax", "ymax")] for row in own]
        assert np.allclose(corners, example.boxes, atol=1e-4)


def test_neither_processes_nor_time_change_a_byte(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 40)
    options = {"shards": 3, "repeat": {"mask_weared_incorrect": 3}}
    for processes in (1, 2, 3):
        make(root, tmp_path / str(processes), processes, **options)
    one, two, three = (contents(tmp_path / name) for name in "123")
    for made in (one, two, three):
        records = json.loads(made.pop("records.json"))
        made["digest"] = records["digest"].encode()
    assert one == two == three
    assert "train.record-00002-of-00003" in one


def test_shards_share_the_images(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 40)
    report = make(root, tmp_path / "a", shards=4)
    for split in SPLITS:
        files = report.manifest.splits[split].files
        assert files == tuple(f"{split}.record-{number:05}-of-00004" for number in range(4))
        sizes = [len(list(tfrecord.read_tfrecord(tmp_path / "a" / file))) for file in files]
        assert max(sizes) - min(sizes) <= 1
    # Asked for one, it is named as a shard; asked for another number, the old ones are gone.
    make(root, tmp_path / "a", shards=1)
    records = [path.name for path in (tmp_path / "a").iterdir() if ".record" in path.name]
    assert sorted(records) == [f"{split}.record-00000-of-00001" for split in ("test", "train", "val")]


def test_large_splits_get_shards_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = made_data.data_set(tmp_path / "images", 20)
    monkeypatch.setattr(shards, "SHARD_BYTES", 20_000)
    report = make(root, tmp_path / "a")
    assert len(report.manifest.splits["train"].files) > 1
    assert all((tmp_path / "a" / file).stat().st_size < 40_000 for file in report.manifest.splits["train"].files)


def test_nothing_is_done_twice(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 12), tmp_path / "annotations"
    first = make(root, annotations)
    before = {path: path.stat().st_mtime_ns for path in annotations.iterdir()}
    again = make(root, annotations)
    assert not again.fresh
    assert (again.manifest, again.examples, again.found) == (first.manifest, first.examples, first.found)
    assert {path: path.stat().st_mtime_ns for path in annotations.iterdir()} == before
    # A changed file, option, class or output is noticed.
    os.utime(root / "face001.xml", ns=(1, 1))
    assert make(root, annotations).fresh
    assert make(root, annotations, repeat={"with_mask": 2}).fresh
    assert make(root, annotations).fresh
    (annotations / "val.record").write_bytes(b"")
    assert make(root, annotations).fresh
    (annotations / "inputs.json").write_text("[]")
    assert make(root, annotations).fresh
    save(root, "one_more.jpg")
    assert make(root, annotations).fresh
    assert not make(root, annotations).fresh


def test_images_stay_in_their_split(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 20), tmp_path / "annotations"
    make(root, annotations)
    before = {row["image"]: row["split"] for row in rows(annotations)}
    for number in range(30):
        save(root, f"new{number}.jpg", [box("mask_weared_incorrect")])
    assert not make(root, annotations).reassigned
    after = {row["image"]: row["split"] for row in rows(annotations)}
    assert {name: after[name] for name in before} == before
    assert len(after) == 50
    # Other proportions were asked for: they count.
    report = make(root, annotations, proportions=Proportions(0.2, 0, 0.8))
    assert report.reassigned
    assert report.manifest.splits["val"].images == 0
    assert report.manifest.splits["test"].images > 25


def test_folders_are_splits(tmp_path: Path):
    for split, count in (("train", 2), ("val", 3), ("test", 4)):
        for number in range(count):
            save(tmp_path / "images", f"{split}/{number}.jpg")
    report = make(tmp_path / "images", tmp_path / "a")
    assert [report.manifest.splits[split].images for split in SPLITS] == [2, 3, 4]
    assert {row["image"].partition("/")[0] == row["split"] for row in rows(tmp_path / "a")} == {True}


def test_look_alikes_are_in_one_split(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 20), tmp_path / "annotations"
    make(root, annotations)
    before = {row["image"]: row["split"] for row in rows(annotations)}
    for number in range(20):
        smaller = made_data.picture(number).resize((80, 60))
        save(root, f"copy of {number}.jpg", data=made_data.encoded(smaller, quality=70), size=(80, 60))
    report = make(root, annotations)
    after = {row["image"]: row["split"] for row in rows(annotations)}
    assert {name: after[name] for name in before} == before
    assert all(after[name] == after[f"copy of {int(name[4:7])}.jpg"] for name in before)
    assert report.found["alike"].files == 20
    report = make(root, tmp_path / "apart", look_alikes_together=False)
    assert report.found["alike_in_several_splits"].files > 0


def test_a_leak_between_the_users_folders_makes_no_records(tmp_path: Path):
    for split in ("train", "test"):
        save(tmp_path / "images", f"{split}/{split}.jpg", seed=1)
    with pytest.raises(UserError, match=r"test/test\.jpg"):
        make(tmp_path / "images", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert make(tmp_path / "images", tmp_path / "a", look_alikes_together=False).fresh


def test_an_xml_is_read_and_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = made_data.data_set(tmp_path / "images", 20)
    parsed = Counter()
    parse = voc.parse_voc
    monkeypatch.setattr(voc, "parse_voc", lambda path, data: parsed.update([path.name]) or parse(path, data))
    make(root, tmp_path / "a", repeat={"mask_weared_incorrect": 3})
    assert set(parsed.values()) == {1}
    assert len(parsed) == 20


def test_rare_classes_are_repeated_in_train_only(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 40), tmp_path / "annotations"
    report = make(root, annotations, repeat={"mask_weared_incorrect": 4, "without_mask": 2})
    for split in SPLITS:
        held = examples(annotations, split)
        count = Counter(example.name for example in held)
        assert report.examples[split] == len(held)
        assert report.manifest.splits[split].images == len(count)
        for example in held:
            expected = max({3: 4, 2: 2}.get(i, 1) for i in [0, *example.class_ids]) if split == "train" else 1
            assert count[example.name] == expected
    names = [example.name for example in examples(annotations, "train")]
    assert any(one != other for one, other in zip(names, sorted(names), strict=True))
    read = [of_image.name for _, of_image in ground_truth.read_records(annotations, "train")]
    assert len(read) == len(set(read)) == report.manifest.splits["train"].images
    assert len({row["image"] for row in rows(annotations)}) == 40


@pytest.mark.parametrize("text", ["dog=2", "with_mask", "with_mask=0", "with_mask=101", "with_mask=x", "with_mask=²"])
def test_repetitions_that_make_no_sense(text: str):
    with pytest.raises(UserError, match=text.split("=")[0]):
        make_records.parse_repeat(text, CLASSES)
    assert make_records.parse_repeat(" with_mask=3, without_mask=2,", CLASSES) == {"with_mask": 3, "without_mask": 2}


def test_files_that_are_not_used_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save(tmp_path / "i", "a.jpg")
    for name in ("b.heic", "[c].heic", "d.heic", "e.heic"):
        (tmp_path / "i" / name).write_bytes(b"")
    for _ in range(2):  # the second time the records are up to date
        records_summary.print_records(make(tmp_path / "i", tmp_path / "a"), tmp_path / "a")
        said = "in a format that is not read: 4 ([c].heic, b.heic, d.heic, ...). Not used. Convert it to JPEG or PNG."
        assert said in capsys.readouterr().out


def test_what_was_changed_is_counted(tmp_path: Path):
    save(tmp_path / "i", "clipped.jpg", [box(corners=(50, 10, 70, 20)), box(corners=(50, 10, 65, 20)), box()])
    save(tmp_path / "i", "dropped.jpg", [box(corners=(5, 5, 5, 9)), box()])
    save(tmp_path / "i", "lost.jpg", [box(corners=(5, 5, 5, 9))])
    save(tmp_path / "i", "negative.jpg", [])
    (tmp_path / "i" / "new.jpg").write_bytes(b"")
    report = make(tmp_path / "i", tmp_path / "a")
    found = {rule: (times.files, times.count) for rule, times in report.found.items()}
    assert found == {
        "image_without_xml": (1, 1),
        "box_clipped": (1, 2),
        "box_empty": (2, 2),
        "lost_all_boxes": (1, 1),
    }
    assert {row["image"] for row in rows(tmp_path / "a")} == {"clipped.jpg", "dropped.jpg", "negative.jpg"}
    assert json.loads((tmp_path / "a" / "inputs.json").read_text())["unused"] == ["lost.jpg"]
    assert sum(split.boxes for split in report.manifest.splits.values()) == 4


@pytest.mark.parametrize("processes", [1, 2])
def test_problems_leave_everything_as_it_was(tmp_path: Path, processes: int):
    root, annotations = made_data.data_set(tmp_path / "images", 12), tmp_path / "annotations"
    make(root, annotations)
    before = contents(annotations)
    (root / "face003.png").write_bytes((root / "face003.png").read_bytes()[:-30])
    save(root, "face004.jpg", [box("with-mask")])
    (root / "face005.xml").write_text("<annotation>")
    for folder in (annotations, tmp_path / "new"):
        with pytest.raises(UserError) as error:
            make(root, folder, processes)
        message = str(error.value)
        assert "3 problem(s)" in message
        assert all(name in message for name in ("face003.png", "face004.xml", "face005.xml", "did you mean with_mask?"))
    assert contents(annotations) == before
    assert not (tmp_path / "new").exists()
    (root / "orphan.xml").write_text("<annotation/>")
    with pytest.raises(UserError, match=r"orphan\.xml"):
        make(root, annotations)


def test_nothing_usable(tmp_path: Path):
    save(tmp_path / "i", "lost.jpg", [box(corners=(5, 5, 5, 9))])
    with pytest.raises(UserError):
        make(tmp_path / "i", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, annotations = made_data.data_set(tmp_path / "images", 12), tmp_path / "annotations"
    make(root, annotations)
    before = contents(annotations)
    save(root, "new.jpg")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(make_records, "_publish", full)
    with pytest.raises(UserError, match=r"annotations.*disk"):
        make(root, annotations)
    assert contents(annotations) == before


def test_two_at_a_time_are_told(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 6), tmp_path / "annotations"
    with (
        make_records._partial_folder(annotations) as folder,
        pytest.raises(UserError),
    ):
        (folder / "mine").touch()
        make(root, annotations)
    make(root, annotations)
    assert not (annotations / ".partial").exists()


def test_it_calls_nothing_that_windows_lacks(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 6), tmp_path / "annotations"
    code = "import os, sys; sys.modules['fcntl'] = None; del os.pread, os.killpg, os.sched_getaffinity\n"
    code += "from facemask.cli import run_step; run_step('records')"
    options = ["--images", root, "--annotations", annotations, "--processes", "1"]
    subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, check=True)
    assert (annotations / "records.json").exists() and not (annotations / ".partial").exists()


def test_a_killed_run_leaves_the_old_records_and_the_next_cleans_up(tmp_path: Path):
    root, annotations = made_data.data_set(tmp_path / "images", 120), tmp_path / "annotations"
    make(root, annotations)
    before = contents(annotations)
    os.utime(root / "face001.xml", ns=(1, 1))
    code = """
import os, signal
from facemask.cli import run_step
from facemask.data import shards
write, written = shards.write_record_file, []
def write_one_file_and_die(*arguments):
    if written:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(write(*arguments))
    return written[-1]
shards.write_record_file = write_one_file_and_die
run_step("records")
"""
    options = ["--images", root, "--annotations", annotations, "--processes", "1", "--shards", "2"]
    done = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (annotations / ".partial").exists()
    shutil.copytree(annotations, tmp_path / "left")
    left = {path.name: path.read_bytes() for path in annotations.iterdir() if path.is_file()}
    assert left == before
    make(root, annotations)
    assert sorted(contents(annotations)) == sorted(before)


def test_the_commands_words(tmp_path: Path):
    root = made_data.data_set(tmp_path / "im $(touch x) 'ages", 12)
    save(root, "clipped.jpg", [box(corners=(50, 10, 70, 20))])
    command = [sys.executable, "-m", "scripts.records", "--processes", "1", "--images", root]
    command += ["--annotations", tmp_path / "a b"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "with_mask" in done.stdout
    assert "box past the edge of the image: 1" in done.stdout
    (root / "face001.jpg").write_bytes(b"no image")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "face001.jpg: image that cannot be decoded" in done.stderr
    assert "Traceback" not in done.stderr


def hostile(data: st.DataObject, folder: Path) -> None:
    """A folder with a few labelled pictures, of which anything may be wrong."""
    if folder.exists():
        shutil.rmtree(folder)
    numbers = st.floats(allow_nan=True) | st.integers(-100, 200).map(float)
    for number in range(data.draw(st.integers(1, 3))):
        labels = st.sampled_from([*CLASSES.names, "with-mask", "dog", "<x>", "&e;"])
        boxes = data.draw(st.lists(st.builds(box, labels, st.tuples(*[numbers] * 4)), max_size=3))
        boxes = [one for one in boxes if all(abs(v) < 1e300 for v in (one.xmin, one.ymin, one.xmax, one.ymax))]
        image = save(folder, f"{number}.{data.draw(st.sampled_from(['jpg', 'png']))}", boxes, seed=number)
        for path in (image, image.with_suffix(".xml")):
            content = bytearray(path.read_bytes())
            for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=2)):
                content[place] ^= 1 << data.draw(st.integers(0, 7))
            end = data.draw(st.just(len(content)) | st.just(len(content)) | st.integers(0, len(content)))
            path.write_bytes(content[:end])
        if data.draw(st.integers(0, 9)) == 0:
            data.draw(st.sampled_from([image, image.with_suffix(".xml")])).unlink()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_folders_make_whole_records_or_none(data: st.DataObject, tmp_path: Path):
    hostile(data, tmp_path / "images")
    annotations = tmp_path / "annotations"
    shutil.rmtree(annotations, ignore_errors=True)
    try:
        report = make(tmp_path / "images", annotations)
    except UserError as error:
        assert str(tmp_path / "images") in str(error)
        assert not annotations.exists()
        return
    for split in SPLITS:
        held = list(ground_truth.read_records(annotations, split))
        assert len(held) == report.manifest.splits[split].images
        for image, of_image in held:
            assert image.shape == (of_image.height, of_image.width, 3)
            low, high = of_image.boxes[:, :2], of_image.boxes[:, 2:]
            assert (low >= 0).all()
            assert (high > low).all()
            assert (high <= [of_image.width, of_image.height]).all()
            assert set(of_image.class_ids) <= {1, 2, 3}


def test_the_public_data_set(tmp_path: Path):
    if "FACEMASK_DATA" not in os.environ:
        pytest.skip("FACEMASK_DATA does not name a folder with the public data set")
    root = Path(os.environ["FACEMASK_DATA"])
    report = make(root, tmp_path, processes=2)
    items, _ = discover_pictures(root)
    found = Counter()
    pngs = {item.name for item in items if item.name.endswith(".png")}
    for split in SPLITS:
        for image, of_image in ground_truth.read_records(tmp_path, split):
            found.update(images=1, boxes=len(of_image.boxes), crowded=len(of_image.boxes) == 115)
            found.update(CLASSES.name_of(i) for i in of_image.class_ids)
            assert image.shape == (of_image.height, of_image.width, 3)
        for example, encoded in stored(tmp_path, split):
            assert encoded == (root / example.name).read_bytes()
            found["png"] += example.name in pngs
    assert found["images"] == len(items) == 767
    assert found["boxes"] == 3701
    assert found["crowded"] == 1
    assert found["png"] == len(pngs) == 33
    per_class = {"with_mask": 2922, "without_mask": 666, "mask_weared_incorrect": 113}
    assert {name: found[name] for name in CLASSES.names} == per_class
    assert not {"alike_in_split_folders", "alike_in_several_splits"} & set(report.found)
    assert (report.found["alike"].files, report.found["alike"].count) == (15, 30)
    assert (report.found["box_clipped"].files, report.found["box_clipped"].count) == (10, 11)
    assert not {"box_empty", "box_outside", "lost_all_boxes"} & set(report.found)
    assert max(split.max_boxes for split in report.manifest.splits.values()) == 115


def test_images_that_the_api_cannot_take_are_encoded_once(tmp_path: Path):
    turned = made_data.picture(5)
    exif = turned.getexif()
    exif[0x0112] = 6
    save(tmp_path / "i", "a.jpg", data=made_data.encoded(turned, exif=exif), size=(48, 64))
    make(tmp_path / "i", tmp_path / "a")
    [(example, encoded)] = [example for split in SPLITS for example in stored(tmp_path / "a", split)]
    assert (example.width, example.height) == (48, 64)
    assert images.decode_image(encoded).shape == (64, 48, 3)
    assert encoded != (tmp_path / "i" / "a.jpg").read_bytes()
    assert example.boxes.round(3).tolist() == [[10, 10, 30, 30]]
