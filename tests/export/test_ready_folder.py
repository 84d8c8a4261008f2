"""The folder of the shipped detector, made from small networks, and opened again."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from made_networks import CLASSES, write_classifier, write_detector
from PIL import Image

from facemask.core import openvino_model
from facemask.core.errors import UserError
from facemask.core.files import sha256
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.detector_choice import DetectorChoice, choose_detector
from facemask.evaluation import evaluate
from facemask.evaluation.measurement import MeasuredDetections, Speed
from facemask.export import model_card, ready_folder, threshold_choice
from facemask.ready import shipped_detector

SPEED = Speed(images=12, batch=1, latency_ms=12.0, latency_p95_ms=15.0, images_per_second=50.0, hardware="a machine")
BOX = [10.0, 10.0, 60.0, 60.0]


def labelled(image_id: int, class_id: int) -> GroundTruth:
    ids = np.array([class_id])
    return GroundTruth(image_id, f"{image_id}.jpg", 100, 80, np.array([BOX]), ids, np.zeros(1, bool))


def seen(*boxes: tuple[float, int]) -> sv.Detections:
    """All at the same place: (score, class id)."""
    ids = np.array([class_id for _, class_id in boxes], int)
    return sv.Detections(
        np.tile(np.array(BOX, np.float32), (len(boxes), 1)),
        confidence=np.array([score for score, _ in boxes], np.float32),
        class_id=ids,
        data={"class_name": np.array(["", *CLASSES.names])[ids]},
    )


TRUTHS = [*(labelled(i, 1) for i in range(1, 13)), labelled(13, 2)]
FOUND = [*(seen((0.4, 1), (0.3, 2)) for _ in range(11)), seen((0.2, 2), (0.1, 1)), seen((0.9, 2))]
"""The mask is found in 11 of 12 pictures; in the other the face is taken for one without, which a class with one face
cannot set a threshold against."""


def save_crossval(
    folder: Path, system: str, files: dict[str, str] | None = None, classifiers: int = 1
) -> evaluate.SavedEvaluation:
    result = evaluate.compute_metrics(TRUTHS, FOUND, CLASSES, (0.5, 0.5, 0.5))
    evaluate.write_evaluation(
        folder,
        MeasuredDetections(tuple(TRUTHS), tuple(FOUND), SPEED),
        result,
        CLASSES,
        source={"path": "/somewhere/annotations", "split": "folds", "digest": "d"},
        model={
            "run": folder.name,
            "model": "m",
            "faces": {"name": "yunet", "sizes": [320], "files": files or {}},
            "classifier": {"runs": [f"fold0-classifier{number}" for number in range(classifiers)]},
        },
        made={
            "step": "crossval",
            "settings": {"system": system, "train_options": "CHECKPOINT=/somewhere/w.h5 BATCH=8"},
        },
        intervals=evaluate.ap_intervals(result.matches, 100, 0),
    )
    return evaluate.read_evaluation(folder)


@pytest.fixture(scope="module")
def yunet() -> Path:
    pytest.importorskip("nncf", reason="needs the dependency group int8")
    shipped = shipped_detector.shipped_yunet()
    folder = os.environ.get("FACEMASK_FACES")
    if shipped is None and not folder:
        pytest.skip("FACEMASK_FACES is not set to a folder with YuNet's network")
    return shipped or Path(str(folder)) / shipped_detector.YUNET


PICTURE = np.random.default_rng(0).integers(0, 255, (200, 260, 3), dtype=np.uint8)


def write_folder(yunet: Path, tmp_path: Path) -> Path:
    """The folder of the shipped detector, without a face detector that was trained."""
    weights = {part: tmp_path / f"{part}.npz" for part in ("detector", "classifier")}
    for file in weights.values():
        file.write_bytes(b"weights")
    sources = ready_folder.Sources(
        write_detector(tmp_path / "exported" / "ready", "ready"),
        [write_classifier(tmp_path / "exported" / "classifier")],
        yunet,
        None,
        {
            form: save_crossval(tmp_path / form, system)
            for form, system in (("ready", "fused"), ("ready-fast", "two_stage"), ("ready-ssd", "ssd"))
        },
        [(np.zeros((80, 100, 3), np.uint8), truth) for truth in TRUTHS],
        [1, 2**127],
        weights,
    )
    folder = tmp_path / "facemask" / "ready"
    folder.mkdir(parents=True)
    (folder / model_card.RECIPE).write_text("make train CHECKPOINT=w.h5\n")
    ready_folder.write_ready(sources, folder, [PICTURE], {"commit": "c", "made": "today"})
    return folder


def test_the_folder_is_what_run_ready_reads(yunet: Path, tmp_path: Path) -> None:
    folder = write_folder(yunet, tmp_path)
    written = folder / shipped_detector.NAME
    value = json.loads(written.read_text())
    assert "/somewhere" not in written.read_text() and str(tmp_path) not in written.read_text()
    assert value["forms"]["ready"]["thresholds"].keys() == {"with_mask"}  # the others have too few faces
    assert 0.1 < value["forms"]["ready"]["thresholds"]["with_mask"] <= 0.4
    assert value["forms"]["ready"]["figures"]["classes"][0]["recall"] == pytest.approx(11 / 12)
    card = (folder / model_card.NAME).read_text()
    with Image.open(folder / model_card.MISTAKES) as sheet:  # of the face that is missed
        assert sheet.width > 180 and sheet.height > 180
    assert "make train CHECKPOINT=w.h5" in card and "Shiqi Yu" in card and "mask_weared_incorrect" in card

    for name, network in (("ready", "fused with"), ("ready-fast", "yunet 320 px"), ("ready-ssd", "openvino")):
        chosen = choose_detector(DetectorChoice(tmp_path / "none", name, shipped=folder))
        assert (chosen.name, chosen.training_pictures) == (name, (1, 2**127))
        opened = chosen.open()
        assert network in opened.name
        opened.detect([PICTURE])
    assert shipped_detector.training_weights("detector", folder).read_bytes() == b"weights"
    (folder / shipped_detector.TRAINING_WEIGHTS / "detector.npz").write_bytes(b"weight")
    with pytest.raises(UserError, match=r"detector\.npz: has 6 bytes instead of 7"):
        shipped_detector.training_weights("detector", folder)


def test_one_form_gets_another_face_detector_and_all_else_stays(yunet: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (group onnx)")
    folder = write_folder(yunet, tmp_path)
    written = folder / shipped_detector.NAME
    value = json.loads(written.read_text())
    faces = tmp_path / "trained.onnx"
    faces.write_bytes(yunet.read_bytes())
    with faces.open("ab") as file:
        file.write(b"\x32\x00")  # an empty text field of the model, so that its digest is another
    again = save_crossval(tmp_path / "again", "two_stage", {"yunet.onnx": sha256(faces)})
    part = ready_folder.Sources(None, [], None, faces, {"ready-fast": again}, [], [1, 2**127], {})
    ready_folder.write_ready(part, folder, [PICTURE], {"commit": "d", "made": "later"})
    later = json.loads(written.read_text())
    assert later["forms"]["ready"] == value["forms"]["ready"]
    assert later["forms"]["ready-fast"]["faces_file"] == shipped_detector.FACES
    changed = {name for name in later["files"] if later["files"][name] != value["files"].get(name)}
    assert changed == {shipped_detector.FACES}
    assert shipped_detector.open_shipped(folder).forms["ready"].faces_file == shipped_detector.YUNET
    files = choose_detector(DetectorChoice(tmp_path / "none", "ready-fast", shipped=folder)).model["faces"]["files"]
    assert list(files) == [shipped_detector.FACES]
    with pytest.raises(UserError, match="other pictures"):
        ready_folder.write_ready(dataclasses.replace(part, training_pictures=[1]), folder, [], {})


def test_a_form_of_two_classifiers(yunet: Path, tmp_path: Path) -> None:
    folder = write_folder(yunet, tmp_path)
    written = folder / shipped_detector.NAME
    value = json.loads(written.read_text())
    both = save_crossval(tmp_path / "both", "two_stage", classifiers=2)
    exported = [write_classifier(tmp_path / name) for name in ("one", "two")]
    held_out = [(np.zeros((80, 100, 3), np.uint8), truth) for truth in TRUTHS]
    part = ready_folder.Sources(None, exported[:1], None, None, {"ready": both}, held_out, [1, 2**127], {})
    with pytest.raises(UserError, match="CLASSIFIER="):
        ready_folder.write_ready(part, folder, [PICTURE], {})
    assert json.loads(written.read_text()) == value
    part = dataclasses.replace(part, classifiers=exported)
    ready_folder.write_ready(part, folder, [PICTURE], {"commit": "d", "made": "later"})
    runs = {
        name: choose_detector(DetectorChoice(tmp_path / "none", name, shipped=folder)).model["classifier"]["runs"]
        for name in ("ready", "ready-fast")
    }
    assert runs == {"ready": ["classifier", "classifier-2"], "ready-fast": ["classifier"]}
    files = json.loads(written.read_text())["files"]
    assert "classifier-2/openvino/model.bin" in files

    three = save_crossval(tmp_path / "three", "two_stage", classifiers=3)
    with pytest.raises(UserError, match="3 classifiers"):
        ready_folder.write_ready(dataclasses.replace(part, evaluations={"ready": three}), folder, [PICTURE], {})
    one = save_crossval(tmp_path / "one-again", "two_stage", classifiers=1)
    part = dataclasses.replace(part, evaluations={"ready": one}, classifiers=exported[:1])
    ready_folder.write_ready(part, folder, [PICTURE], {"commit": "d", "made": "later"})
    assert not (folder / "classifier-2").exists()


def test_a_refused_part_leaves_the_folder_as_it_was(
    yunet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(yunet, tmp_path)

    def contents() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}

    before = contents()
    larger = tmp_path / "larger.npz"
    larger.write_bytes(b"other weights")
    other = ready_folder.Sources(
        write_detector(tmp_path / "other", "other"),
        [write_classifier(tmp_path / "other-classifier")],
        yunet,
        None,
        {"ready": save_crossval(tmp_path / "other-ready", "two_stage")},
        [(np.zeros((80, 100, 3), np.uint8), truth) for truth in TRUTHS],
        [1, 2**127],
        {"detector": larger, "classifier": larger},
    )
    with monkeypatch.context() as patch:
        patch.setattr(ready_folder, "MOST_TRAINING", 20)
        with pytest.raises(UserError, match="the weights to train on"):
            ready_folder.write_ready(other, folder, [PICTURE], {"commit": "d", "made": "later"})
    assert contents() == before
    recipe = (folder / model_card.RECIPE).rename(tmp_path / model_card.RECIPE)
    with pytest.raises(UserError, match=model_card.RECIPE):
        ready_folder.write_ready(other, folder, [PICTURE], {"commit": "d", "made": "later"})
    recipe.rename(folder / model_card.RECIPE)
    assert contents() == before
    ready_folder.write_ready(other, folder, [PICTURE], {"commit": "d", "made": "later"})
    assert shipped_detector.training_weights("detector", folder).read_bytes() == b"other weights"


def test_files_that_are_too_large_for_the_repository_are_refused(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"")
    with large.open("wb") as file:
        file.truncate(ready_folder.MOST_A_FILE + 1)
    ready_folder._refuse_too_large([small], [small])
    for shipped, training in (([large], [small]), ([small], [large]), ([small] * 2 + [large] * 2, [])):
        with pytest.raises(UserError, match="MB"):
            ready_folder._refuse_too_large(shipped, training)


def test_a_threshold_counts_one_box_for_each_face_and_needs_faces() -> None:
    chosen = threshold_choice.choose_thresholds(TRUTHS, FOUND, CLASSES)
    assert chosen.keys() == {"with_mask"}
    # Of all boxes also 0.1 is one of a mask; of one box for each face it is not.
    assert 0 < chosen["with_mask"] <= 0.4


@pytest.mark.parametrize(
    ("moved", "count", "refused"),
    [(0, 200, False), (0.1, 200, False), (1, 200, True), (7, 1, False), (40, 1, True), (0, 0, False)],
)
def test_half_precision_must_find_the_same_faces(
    moved: float, count: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 faces of 40 pixels, `count` are found so many pixels further to the right."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (group onnx)")
    monkeypatch.setattr(onnx, "load", lambda path: onnx.ModelProto())
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    faces = np.array([[100.0 * i, 10, 100 * i + 40, 60] for i in range(200)])
    found = faces + np.where(np.arange(200)[:, None] < count, [moved, 0, moved, 0], 0)

    class Finder:
        def __init__(self, path: Path) -> None:
            self.boxes = faces if path == whole else found

        def find(self, pictures: list[np.ndarray]) -> list[sv.Detections]:
            return [sv.Detections(xyxy=self.boxes, confidence=np.ones(len(self.boxes)))]

    monkeypatch.setattr(ready_folder, "load_yunet", lambda files, size: Finder(files[0]))
    if refused:
        with pytest.raises(UserError, match="whole"):
            ready_folder._write_faces(whole, halved, [PICTURE])
    else:
        ready_folder._write_faces(whole, halved, [PICTURE])
        assert halved.is_file()


@pytest.mark.parametrize(("best", "refused"), [(1.03, False), (1.05, True)])
def test_smaller_weights_may_move_a_score_by_a_fiftieth(
    yunet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: float, refused: bool
) -> None:
    """The picture's brightness is a half, so that the best score moves by 0.015 and by 0.025."""
    folder = write_folder(yunet, tmp_path)
    before = (folder / shipped_detector.NAME).read_bytes()
    smaller = write_detector(tmp_path / "smaller", best=best) / "openvino"

    def write_other_weights(_source: Path, target: Path, _smallest: int) -> None:
        shutil.copytree(smaller, target, dirs_exist_ok=True)

    monkeypatch.setattr(openvino_model, "write_small_weights", write_other_weights)
    alone = {"ready-ssd": save_crossval(tmp_path / "alone", "ssd")}
    part = ready_folder.Sources(tmp_path / "exported" / "ready", [], None, None, alone, [], [1, 2**127], {})
    if refused:
        with pytest.raises(UserError, match=r"smaller weights change its boxes .* nothing is kept"):
            ready_folder.write_ready(part, folder, [PICTURE], {"commit": "d", "made": "later"})
        assert (folder / shipped_detector.NAME).read_bytes() == before
    else:
        ready_folder.write_ready(part, folder, [PICTURE], {"commit": "d", "made": "later"})
        assert json.loads((folder / shipped_detector.NAME).read_text())["made"]["made"] == "later"


def test_the_card_that_ships_is_of_its_recipe_and_figures() -> None:
    folder = shipped_detector.FOLDER
    ready = json.loads((folder / shipped_detector.NAME).read_text(encoding="utf-8"))
    card = (folder / model_card.NAME).read_text(encoding="utf-8")
    assert card == model_card.model_card(folder / model_card.RECIPE, ready)


def test_the_card_has_no_threshold_of_a_class_that_is_never_reported() -> None:
    folder = shipped_detector.FOLDER
    ready = json.loads((folder / shipped_detector.NAME).read_text(encoding="utf-8"))
    rare = ready["forms"]["ready-ssd"]["figures"]["classes"][2]
    assert rare["name"] == "mask_weared_incorrect"
    del ready["forms"]["ready-ssd"]["thresholds"][rare["name"]]
    rare["precision"] = None
    card = model_card.model_card(folder / model_card.RECIPE, ready)
    ssd = card.partition("### `ready-ssd`")[2]
    [row] = [line for line in ssd.splitlines() if line.startswith("| `mask_weared_incorrect` |")]
    assert row.endswith(" | not reported on these pictures: another class scored higher | | |")
