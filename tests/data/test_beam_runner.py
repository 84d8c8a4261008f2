"""Records made through Beam are those made here, file by file. On Beam's direct runner, in this process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.core.worker_processes import Ordered
from facemask.data import beam_runner, manifest, tfrecord, voc
from facemask.data.make_records import RecordOptions, make_records
from facemask.data.splits import Proportions
from facemask.data.voc import Annotation, Box

LABEL_MAP = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))
OPTIONS = RecordOptions(Proportions(), shards=2, repeat={"mask_weared_incorrect": 3})


@pytest.fixture(autouse=True)
def needs_beam() -> None:
    pytest.importorskip("apache_beam", reason="needs the dependency group beam")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty pictures: several formats, one that is encoded anew, one whose only box is empty, one without boxes."""
    folder = tmp_path / "my images"
    for number in range(20):
        suffix = (".png", ".jpg", ".bmp")[number % 3]
        path = folder / ("train", "val", "é b")[number % 3] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((90 + number, 60), 40 + number).convert("RGB").save(path)
        boxes = tuple(Box(LABEL_MAP.name_of(1 + (number + i) % 3), 5 * i, 4, 95.0, 40) for i in range(number % 4))
        if number == 7:
            boxes = (Box("with_mask", 10, 10, 10, 30),)
        voc.write_voc(path.with_suffix(".xml"), Annotation(path, path.name, 90 + number, 60, boxes))
    return folder


def made(folder: Path) -> dict[str, object]:
    """All files of a folder of records, without what tells one making from another."""
    files: dict[str, object] = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, own in (("records.json", ["made"]), ("inputs.json", ["bytes"])):
        value = json.loads((folder / name).read_text())
        files[name] = {key: entry for key, entry in value.items() if key not in own}
    return files


THREADS = "--direct_running_mode=multi_threading --direct_num_workers=3"


@pytest.mark.parametrize("options", ["", pytest.param(THREADS, marks=pytest.mark.long)])
def test_the_files_are_the_same_as_without_beam(tmp_path: Path, images: Path, options: str) -> None:
    here = make_records(images, tmp_path / "here", LABEL_MAP, OPTIONS)
    there = make_records(
        images, tmp_path / "there", LABEL_MAP, OPTIONS, elsewhere=beam_runner.beam_workers("DirectRunner", options)
    )
    assert made(tmp_path / "there") == made(tmp_path / "here")
    assert (there.examples, there.found) == (here.examples, here.found)
    assert here.examples["train"] > here.manifest.splits["train"].images > 0
    splits = manifest.read_manifest(tmp_path / "there").splits
    assert sorted(splits["train"].files) == ["train.record-00000-of-00002", "train.record-00001-of-00002"]
    for split, files in ((split, entry.files) for split, entry in splits.items()):
        records = sum(1 for file in files for _ in tfrecord.read_tfrecord(tmp_path / "there" / file))
        assert records == there.examples[split]


def test_nothing_is_redone_and_nothing_left_over(tmp_path: Path, images: Path) -> None:
    runner = beam_runner.beam_workers("DirectRunner")
    assert make_records(images, tmp_path / "out", LABEL_MAP, OPTIONS, elsewhere=runner).fresh
    assert not make_records(images, tmp_path / "out", LABEL_MAP, OPTIONS, elsewhere=runner).fresh
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".") or ".made" in path.name]


def test_a_finding_that_stops_leaves_nothing(tmp_path: Path, images: Path) -> None:
    (images / "train" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"0\.png"):
        make_records(images, tmp_path / "out", LABEL_MAP, OPTIONS, elsewhere=beam_runner.beam_workers("DirectRunner"))
    assert not (tmp_path / "out").exists()


def test_a_worker_that_fails_ends_in_one_line(tmp_path: Path, images: Path) -> None:
    def fail(job: object) -> None:
        raise OSError(28, "No space left on device")

    def workers(scratch: Path) -> Ordered:
        ordered = beam_runner.beam_workers("DirectRunner")(scratch)
        return lambda function, jobs: ordered(fail, jobs)

    with pytest.raises(UserError, match=r"No space left") as caught:
        make_records(images, tmp_path / "out", LABEL_MAP, OPTIONS, elsewhere=workers)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_workers_that_write_elsewhere_are_noticed(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beam_runner, "_run_pipeline", lambda *arguments: None)
    with pytest.raises(UserError):
        make_records(images, tmp_path / "out", LABEL_MAP, OPTIONS, elsewhere=beam_runner.beam_workers("DirectRunner"))


@pytest.mark.parametrize(("runner", "options"), [("NoSuchRunner", ""), ("no.such.Runner", ""), ("DirectRunner", "'")])
def test_an_unknown_runner_is_named(runner: str, options: str) -> None:
    with pytest.raises(UserError, match=f"RUNNER={runner}"):
        beam_runner.beam_workers(runner, options)


def test_the_command_takes_a_runner(tmp_path: Path, images: Path) -> None:
    command = [sys.executable, "-m", "scripts.records", "--images", str(images), "--annotations", str(tmp_path / "out")]
    answer = subprocess.run([*command, "--runner", "DirectRunner"], capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "out" / "records.json").is_file()
