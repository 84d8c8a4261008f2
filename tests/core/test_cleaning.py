import hashlib
import json
import os
from pathlib import Path

import pytest

from facemask.cli import clean_command
from facemask.core import cleaning
from facemask.data.marked_voc import INFERRED, write_marked_voc
from facemask.data.voc import Annotation

GOES = [
    "annotations/label_map.pbtxt",
    "annotations/records.json",
    "annotations/train.record",
    "annotations/val.record-00000-of-00002",
    "workspace/demo/pictures/1.png",
    "workspace/reports/default/metrics.json",
    "workspace/predictions/default/1.png",
    "workspace/exported/default/saved_model/saved_model.pb",
    "workspace/exported/default/model.json",
    "workspace/exported/classifier/classifier.json",
    "workspace/labels/yolo/images/1.png",
    "workspace/labels/yolo/labels.json",
    ".ruff_cache/x",
    "facemask/tfod/__pycache__/zoo.pyc",
]
STAYS = [
    ".venv/lib/__pycache__/x.pyc",
    "annotations/.gitignore",
    "annotations/boxes.csv",
    "annotations/folds.json",
    "annotations/folds/0/train.record",
    "annotations/inputs.json",
    "scripts/clean.py",
    "workspace/.gitignore",
    "workspace/images/1.png",
    "workspace/images/1.xml",
    "workspace/sample/1.png",
    "workspace/pretrained/zoo.tar.gz",
    "workspace/models/classifier/best/ckpt-7.index",
    "workspace/models/default/ckpt-1.index",
    "workspace/models/default/pipeline.config",
    "workspace/models/gone/pipeline.config",
    "workspace/exported/gone/saved_model/saved_model.pb",
    "workspace/crossval/five/crossval.json",
    "workspace/crossval/five/models/fold0/ckpt-9.index",
    "workspace/labels/corrected/labels/1.txt",
    "workspace/watch/watch.sqlite3",
]
NOTES = {
    "labels.json": b'{"made": {"step": "labels"}, "files": ["images/1.png"]}',
    "model.json": json.dumps({"steps": 1, "config_sha256": hashlib.sha256(b"12345").hexdigest()}).encode(),
}
FILM = '{"format": 1, "source": {"name": "clip.mov", "live": false}}'
CAMERA = '{"format": 1, "source": {"name": "camera 0", "live": true}}'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in [*STAYS, *GOES]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(NOTES.get(Path(name).name, b"12345"))
    return tmp_path


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_what_can_be_made_again_goes_and_the_rest_stays(project: Path) -> None:
    freed = cleaning.remove_items(cleaning.find_made_files(project))
    assert files(project) == set(STAYS)
    assert freed == 5 * (len(GOES) - len(NOTES)) + sum(map(len, NOTES.values()))
    assert cleaning.remove_items(cleaning.find_made_files(project)) == 0


def test_records_of_folds_go_where_no_cross_validation_uses_them(project: Path) -> None:
    (project / "workspace/crossval/five/crossval.json").unlink()
    cleaning.remove_items(cleaning.find_made_files(project))
    assert files(project) == {name for name in STAYS if not name.endswith(("crossval.json", "folds/0/train.record"))}


def test_labels_that_a_user_corrected_stay(project: Path) -> None:
    later = (project / "workspace/labels/yolo/labels.json").stat().st_mtime + 1
    os.utime(project / "workspace/labels/yolo/images/1.png", (later, later))
    cleaning.remove_items(cleaning.find_made_files(project))
    assert (project / "workspace/labels/yolo/images/1.png").exists()


def test_a_file_that_a_user_added_to_labels_stays_however_old_it_is(project: Path) -> None:
    added = project / "workspace/labels/yolo/images/1.txt"
    added.write_text("0 0.5 0.5 0.1 0.1")
    os.utime(added, (0, 0))
    cleaning.remove_items(cleaning.find_made_files(project))
    assert added.exists()


@pytest.mark.parametrize(
    "change",
    ["rotated away", "another configuration", "trained afresh", "no model.json", "a newer classifier"],
)
def test_an_export_whose_checkpoint_is_gone_stays(project: Path, change: str) -> None:
    run, export = project / "workspace/models/default", project / "workspace/exported/default"
    later = (export / "model.json").stat().st_mtime + 1
    if change == "rotated away":
        (run / "ckpt-1.index").rename(run / "ckpt-2.index")
    elif change == "another configuration":
        (run / "pipeline.config").write_text("other")
    elif change == "trained afresh":
        os.utime(run / "ckpt-1.index", (later, later))
    elif change == "no model.json":
        (export / "model.json").unlink()
    else:
        os.utime(project / "workspace/models/classifier/best/ckpt-7.index", (later, later))
        export = export.with_name("classifier")
    kept = [item.path for item in cleaning.find_made_files(project) if item.kept]
    assert [path for path in kept if path.parent == export.parent] == [export, export.with_name("gone")]


def test_an_export_of_the_best_checkpoint_goes(project: Path) -> None:
    run = project / "workspace/models/default"
    (run / "best").mkdir()
    (run / "ckpt-1.index").rename(run / "best" / "ckpt-1.index")
    (run / "ckpt-2.index").write_text("newer")
    cleaning.remove_items(cleaning.find_made_files(project))
    assert not (project / "workspace/exported/default").exists()


def test_finding_removes_nothing(project: Path) -> None:
    before = files(project)
    found = cleaning.find_made_files(project)
    assert files(project) == before
    kept = {str(item.path.relative_to(project)): item.kept for item in found if item.kept}
    assert list(kept) == [
        "annotations/folds", "workspace/exported/gone", "workspace/labels/corrected", "workspace/crossval/five"
    ]  # fmt: skip
    assert "workspace/models/gone" in kept["workspace/exported/gone"]


def test_a_lock_of_a_cross_validation_and_a_deeply_nested_note_end_nothing(project: Path) -> None:
    (project / "workspace/crossval/.five.lock").touch()
    (project / "workspace/predictions/default/clip.mp4").touch()
    (project / "workspace/predictions/default/clip.json").write_text("[" * 100_000)
    kept = {str(item.path.relative_to(project)): item.kept for item in cleaning.find_made_files(project) if item.kept}
    assert kept["workspace/crossval/.five.lock"] == "a lock"
    assert kept["workspace/predictions/default/clip.mp4"] == "the recording of a camera or stream"


def test_nothing_behind_a_symbolic_link_is_touched(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").write_text("x")
    (project / "workspace" / "predictions" / "link").symlink_to(elsewhere)
    (project / "workspace" / "reports" / "default" / "link").symlink_to(elsewhere)
    (project / "workspace" / "demo" / "pictures" / "link").symlink_to(elsewhere / "precious")
    cleaning.remove_items(cleaning.find_made_files(project))
    assert (elsewhere / "precious").read_text() == "x"
    assert (project / "workspace" / "predictions" / "link").is_symlink()
    assert not (project / "workspace" / "demo").exists()


def test_recordings_of_cameras_and_streams_stay(project: Path) -> None:
    folder = project / "workspace" / "predictions" / "default"
    goes = {"clip.mp4": "film", "clip.csv": "", "clip.json": FILM, "boxes.csv": "", "photo.json": '{"image": {}}'}
    stays = {"camera-0.mp4": "film", "camera-0.csv": "", "camera-0.json": CAMERA, "sub/host-live.json": CAMERA}
    killed = {"camera-1.mp4": "film", ".camera-2.csv.x7.csv": "", "clip-2.mp4": "film", "clip-2.json": '{"source": '}
    (folder / "sub").mkdir()
    for name, text in (goes | stays | killed).items():
        (folder / name).write_text(text)
    items = cleaning.find_made_files(project)
    kept = {item.path.relative_to(folder).as_posix(): item.kept for item in items if folder in item.path.parents}
    cleaning.remove_items(items)
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {*stays, *killed} - {"clip-2.json"}
    assert {name for name, reason in kept.items() if reason} == left
    assert (project / "workspace" / "images" / "1.png").exists()


def test_an_xml_of_infer_that_a_person_corrected_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project / "workspace" / "predictions" / "default"
    for name in ("2.xml", "sub/3.xml", "4.xml"):
        write_marked_voc(folder / name, Annotation(folder / name, "2.png", 90, 60, ()), INFERRED)
    corrected = folder / "sub" / "3.xml"
    corrected.write_text(corrected.read_text().replace("90", "91"))
    monkeypatch.chdir(project)
    clean_command.main()
    assert [path for path in folder.rglob("*") if path.is_file()] == [corrected]


def test_a_whole_folder_that_is_a_link_is_left_alone(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("disk")
    (elsewhere / "default").mkdir()
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "exported").symlink_to(elsewhere)
    cleaning.remove_items(cleaning.find_made_files(tmp_path))
    assert (tmp_path / "workspace" / "exported" / "default").is_dir()
