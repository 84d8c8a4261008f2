"""One stage, two stages and boxes scored again, from the options to one table, with parts that need no network."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import typer
from made_detections import CLASSES

from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.cli import compare_command, eval_command, infer_command, prelabel_command, report_command
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import images, voc
from facemask.detect import detector_choice
from facemask.detect.detector_choice import DetectorChoice

ROOT = Path(__file__).parents[2]


class Squares:
    """A face detector: every coloured square is a face."""

    name = "squares"

    def find(self, images):
        return [self._find(image) for image in images]

    def _find(self, image):
        boxes = []
        for channel in range(3):
            ys, xs = np.nonzero(image[:, :, channel] > 200)
            if len(xs):
                boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
        return sv.Detections(
            np.array(boxes, np.float32).reshape(-1, 4), confidence=np.full(len(boxes), 0.9, np.float32)
        )


class Colours:
    """A classifier: the class of a face is its colour."""

    name, label_map, size, margin = "colours", CLASSES, 8, 0.0

    def classify(self, crops):
        result = np.full((len(crops), 3), 0.05, np.float32)
        for row, crop in zip(result, crops, strict=True):
            row[crop.mean(axis=(0, 1)).argmax()] = 0.9
        return result


def write_classifier(folder, names=CLASSES.names, alignments=None):
    folder.mkdir(parents=True)
    (folder / "saved_model" / "variables").mkdir(parents=True)
    (folder / "saved_model" / "variables" / "weights").write_bytes(b"weights")
    ExportedClassifier(
        folder, "mobilenet_v2", LabelMap(tuple(names)), 8, 0.1, "classifier", {}, alignments or {}
    ).write({})


@pytest.fixture
def steps(tmp_path, pictures, exported, painted, monkeypatch):
    """The options that all steps share; behind them a detector, a face detector and a classifier of our own."""
    write_classifier(exported / "classifier")
    (tmp_path / "cascade.xml").write_text("any")
    monkeypatch.setattr("facemask.detect.runtimes.load_model", lambda folder, *how: painted)
    monkeypatch.setattr("facemask.detect.faces.face_finder.load_face_finder", lambda name, files, sizes: Squares())
    monkeypatch.setattr("facemask.classifier.face_classifier.open_classifier", lambda folder, *how: Colours())
    return {"images": pictures, "exported": exported, "faces_model": tmp_path / "cascade.xml"}


def test_one_table_of_one_stage_and_two(steps, tmp_path, capsys):
    reports = tmp_path / "reports"
    own = {**steps, "reports": reports, "threshold": "0.5"}
    eval_command.main(**{**own, "faces_model": None})
    eval_command.main(**own, detector="two_stage", faces="haar", faces_size="400")
    eval_command.main(**{**own, "faces_model": None}, detector="two_stage", faces="ssd")
    eval_command.main(**{**own, "faces_model": None}, detector="rescored")
    eval_command.main(**{**own, "threshold": "0.4"}, detector="fused", faces="haar")
    names = (
        "default,two_stage-haar-classifier,two_stage-ssd-default-classifier,rescored-default-classifier,"
        "fused-default-haar-classifier"
    )
    metrics = {name: json.loads((reports / name / "metrics.json").read_text()) for name in names.split(",")}
    # The painted detector overlooks 4 of 12 green squares, which the two stages see and another score does not bring.
    recalls = {name: [one["recall"] for one in each["operating"]][:2] for name, each in metrics.items()}
    assert list(recalls.values()) == [[1, 8 / 12], [1, 1], [1, 8 / 12], [1, 8 / 12], [1, 1]]

    model = metrics["two_stage-haar-classifier"]["model"]
    assert model["detector"] == "squares + colours"
    assert (model["run"], model["steps"], model["input"]) == ("two_stage-haar-classifier", None, None)
    assert (model["faces"]["name"], model["faces"]["sizes"]) == ("haar", [400])
    assert list(model["faces"]["files"]) == ["cascade.xml"]
    assert set(model["classifier"]["files"]) == {"classifier.json", "weights"}
    assert all(len(digest) == 64 for part in ("faces", "classifier") for digest in model[part]["files"].values())
    assert (model["classifier"]["backbone"], model["classifier"]["margin"]) == ("mobilenet_v2", 0.1)
    assert metrics["rescored-default-classifier"]["model"]["run"] == "default"
    assert metrics["rescored-default-classifier"]["model"]["input"] == [120, 90]
    assert metrics["two_stage-haar-classifier"]["made"]["settings"]["faces"] == "haar"

    compare_command.main(runs=names, reports=reports, draws=100)
    assert "two_stage-haar-classifier" in capsys.readouterr().out
    page = (reports / "compare.html").read_text()
    assert "haar + mobilenet_v2" in page
    assert "classifier.json" in page  # with its digest
    report_command.main(run="two_stage-haar-classifier", reports=reports, models=tmp_path / "models")
    assert "haar + mobilenet_v2" in (reports / "two_stage-haar-classifier" / "report.html").read_text()


def test_boxes_are_aligned_where_the_classifier_says_so_of_this_face_detector(steps):
    lower = {"shift_x": 0.0, "shift_y": 0.25, "scale_x": 1.0, "scale_y": 0.5, "faces": 99}
    write_classifier(steps["exported"] / "aligned", alignments={"haar": lower})
    picture = images.decode_image(images.read_bytes(next(steps["images"].glob("*.png"))))

    def boxes(classifier):
        choice = DetectorChoice(
            steps["exported"],
            detector="two_stage",
            faces="haar",
            faces_model=steps["faces_model"],
            classifier=classifier,
        )
        chosen = detector_choice.choose_detector(choice)
        return chosen.open().detect([picture])[0].xyxy, chosen.model["faces"]["alignment"]

    (plain, none), (aligned, said) = boxes("classifier"), boxes("aligned")
    assert (none, said) == (None, lower)
    np.testing.assert_allclose(aligned[:, [0, 2, 3]], plain[:, [0, 2, 3]])
    np.testing.assert_allclose(aligned[:, 1], plain[:, [1, 3]].mean(axis=1))


def test_several_classifiers_are_averaged(steps, monkeypatch, tmp_path):
    """The second one takes every face for the third class, with a probability of 0.5."""
    write_classifier(steps["exported"] / "second")

    class Third(Colours):
        def classify(self, crops):
            return np.tile(np.array([0.25, 0.25, 0.5], np.float32), (len(crops), 1))

    monkeypatch.setattr(
        "facemask.classifier.face_classifier.open_classifier",
        lambda folder, *how: Third() if folder.name == "second" else Colours(),
    )
    given = {"detector": "two_stage", "faces": "haar", "faces_model": steps["faces_model"]}
    choice = DetectorChoice(steps["exported"], classifier="classifier, second", **given)
    chosen = detector_choice.choose_detector(choice)
    assert chosen.name == "two_stage-haar-classifier-second"
    assert chosen.model["classifier"]["runs"] == ["classifier", "second"]
    assert set(chosen.model["classifier"]["files"]) == {
        "classifier.json",
        "weights",
        "second/classifier.json",
        "second/weights",
    }
    detector = chosen.open()
    assert "colours, averaged" in detector.name
    picture = images.decode_image(images.read_bytes(next(steps["images"].glob("*.png"))))
    [found] = detector.detect_all([picture])
    by_class = {number: found.confidence[found.class_id == number].max() for number in (1, 2, 3)}
    assert by_class == pytest.approx({1: 0.9 * 0.575, 2: 0.9 * 0.575, 3: 0.9 * 0.275})
    with pytest.raises(UserError, match=r"make small.*Name one FACES_SIZE and one CLASSIFIER"):
        detector_choice.refuse_several(chosen, "`make small`")
    detector_choice.refuse_several(detector_choice.choose_detector(DetectorChoice(steps["exported"], **given)), "it")

    write_classifier(steps["exported"] / "two", ("with_mask", "without_mask"))
    wrong = {"classifier,two": "two", "classifier,classifier": "different", "classifier,": "different", "a,b": "a"}
    for names, named in wrong.items():
        with pytest.raises(UserError, match=named):
            detector_choice.choose_detector(DetectorChoice(steps["exported"], classifier=names, **given))


def test_prelabel_with_two_stages(steps):
    folder = steps["images"]
    for path in folder.glob("*.xml"):
        path.unlink()
    with pytest.raises(typer.Exit) as ended:
        prelabel_command.main(**steps, detector="two_stage", faces="haar")
    assert ended.value.exit_code == 0
    labels = [sorted(box.label for box in voc.read_voc(path).boxes) for path in sorted(folder.glob("*.xml"))]
    assert labels == [["with_mask", "without_mask"]] * 12


def test_infer_with_two_stages_and_their_own_thresholds(steps, tmp_path):
    folders = {"exported": steps["exported"], "reports": tmp_path / "reports", "predictions": tmp_path / "predictions"}
    two = {"detector": "two_stage", "faces": "haar", "faces_model": steps["faces_model"], "threshold": "best"}
    picture = next(steps["images"].glob("*.png"))
    with pytest.raises(UserError, match="two_stage-haar-classifier"):
        infer_command.main(img=str(picture), **folders, **two)
    own = {name: folders[name] for name in ("exported", "reports")}
    eval_command.main(images=steps["images"], **own, **{**two, "threshold": "0.5"})
    with pytest.raises(typer.Exit) as ended:
        infer_command.main(img=str(picture), **folders, **two)
    assert ended.value.exit_code == 0
    [path] = (tmp_path / "predictions" / "two_stage-haar-classifier").glob("*.json")
    said = json.loads(path.read_text())
    assert "squares + colours" in path.read_text()
    assert "haar + mobilenet_v2" in path.read_text()
    assert sorted(box["class"] for box in said["boxes"]) == ["with_mask", "without_mask"]


def test_what_cannot_be_chosen_is_one_line_each(steps, tmp_path):
    exported = steps["exported"]

    def said(**options):
        with pytest.raises(UserError) as error:
            detector_choice.choose_detector(DetectorChoice(exported, **options))
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "DETECTOR=both" in said(detector="both")
    assert "FACES=eyes" in said(detector="two_stage", faces="eyes")
    assert "other" in said(detector="two_stage", classifier="other", faces="haar")
    assert "other" in said(detector="rescored", classifier="other")
    assert "CLASSIFIER=" in said(detector="rescored", classifier="")
    for name in ("..", "../../classifier"):
        assert f"CLASSIFIER={name}" in said(detector="rescored", classifier=name)
    assert "other" in said(detector="rescored", run="other")
    assert "gone.onnx" in said(detector="two_stage", faces_model=tmp_path / "gone.onnx")
    assert "FACES=ssd" in said(detector="fused", faces="ssd")
    assert "FACES_SIZE" in said(detector="two_stage", faces="ssd", faces_sizes=(100,))
    write_classifier(exported / "two", ("with_mask", "without_mask"))
    assert "two" in said(detector="rescored", classifier="two")
    # As faces, the detector's classes do not matter.
    chosen = detector_choice.choose_detector(
        DetectorChoice(exported, detector="two_stage", faces="ssd", classifier="two")
    )
    assert chosen.label_map.names == ("with_mask", "without_mask")


@pytest.mark.parametrize("detector", ["", "ssd", "rescored"])
def test_parts_that_the_detector_does_not_have_are_refused(steps, tmp_path, detector):
    parts = {"FACES=haar": {"faces": "haar"}, "FACES_SIZE=9,5": {"faces_sizes": (9, 5)}}
    parts |= {"FACES_MODEL=ready": {"faces_model": Path("ready")}}
    parts |= {} if detector == "rescored" else {"CLASSIFIER=mine": {"classifier": "mine"}}
    for part, given in parts.items():
        choice = DetectorChoice(steps["exported"], detector=detector, **given)
        refused = f"^{part}: DETECTOR={detector or 'ssd'} has no such part"
        with pytest.raises(UserError, match=refused):
            detector_choice.choose_detector(choice)
    both = DetectorChoice(steps["exported"], detector=detector, faces="haar", faces_model=steps["faces_model"])
    assert detector_choice.choose_other_detector(both, "two_stage").name == "two_stage-haar-classifier"
    two_stage = dataclasses.replace(both, detector="two_stage")
    assert detector_choice.choose_other_detector(two_stage, detector or "default").model["run"] == "default"


def test_runtime_of_the_detector_that_no_classifier_knows(steps, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "facemask.classifier.face_classifier.open_classifier", lambda folder, *how: opened.append(how) or Colours()
    )
    for detector, runtime in (("rescored", "onnx"), ("rescored", "openvino")):
        choice = DetectorChoice(steps["exported"], detector=detector, runtime=runtime, precision="fp32")
        detector_choice.choose_detector(choice).open()
    assert opened == [("tensorflow", "fp32"), ("openvino", "fp32")]  # the SavedModel is what there is
    with pytest.raises(UserError):
        detector_choice.choose_detector(
            DetectorChoice(steps["exported"], detector="two_stage", faces="haar", runtime="onnx")
        )


def test_wrong_words_end_with_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "scripts.eval", "--detector=two_stage", "--faces=nose", f"--reports={tmp_path}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr.count("\n"), "Traceback" in ran.stderr) == (2, 1, False)
    assert "FACES=nose" in ran.stderr
    assert not list(tmp_path.iterdir())
