"""Both networks of the shipped detector for LiteRT, on drawn pictures."""

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image
from run_step import ROOT

import facemask
from facemask.classifier.backends.classifier_openvino import load_openvino_classifier
from facemask.classifier.exported_classifier import read_exported_classifier
from facemask.cli import small_command
from facemask.core import openvino_model
from facemask.core.errors import UserError
from facemask.core.files import sha256
from facemask.data.drawn_sample import draw_picture
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.detector_choice import DetectorChoice, choose_detector, ready_runtimes
from facemask.detect.faces import yunet
from facemask.export import browser_networks, small_export
from facemask.face_training import onnx_in_tensorflow

pytest.importorskip("onnx", reason="needs the dependency group onnx")
pytest.importorskip("ai_edge_litert", reason="needs the dependency group tflite")

PICTURES = [draw_picture(seed=3, index=index) for index in range(4)]
IMAGES = [one.image for one in PICTURES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures without labels."""
    found = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(found / f"{number}.png")
    return found


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped detector as `make small` writes it, where nothing is labelled."""
    target = tmp_path_factory.mktemp("small") / "exported"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        small_command.main(images=folder, exported=target)
    assert "no labelled pictures" in said.getvalue() and "RUN=small" in said.getvalue()
    return target


@pytest.fixture
def source() -> small_export.Source:
    chosen = choose_detector(DetectorChoice(Path("none"), run="ready-fast", precision="fp32"))
    return small_export.Source(
        *(chosen.faces_files[0], 640, read_exported_classifier(Path(chosen.model["exported"]))),
        *(chosen.load(), chosen.thresholds, {}),
    )


def sure(found: sv.Detections) -> sv.Detections:
    return found[np.asarray(found.confidence) >= 0.5]


@pytest.mark.timeout(300)
def test_what_it_writes_finds_the_same_faces(exported: Path) -> None:
    chosen = choose_detector(DetectorChoice(exported, run="small"))
    whole = choose_detector(DetectorChoice(exported, run="ready-fast"))
    assert (chosen.name, chosen.model["run"], chosen.thresholds) == ("small", "small", whole.thresholds)
    assert chosen.networks == (("tflite", "dynamic"),) and chosen.at_once == 1
    assert ready_runtimes(DetectorChoice(exported, run="small")) == ["tflite"]
    ours, theirs = chosen.open().detect_all(IMAGES), whole.open().detect_all(IMAGES)
    assert sum(len(sure(one)) for one in theirs) >= 5
    for one, other in zip(ours, theirs, strict=True):
        overlaps = sv.box_iou_batch(sure(other).xyxy, one.xyxy) * (
            sure(other).class_id[:, np.newaxis] == one.class_id[np.newaxis]
        )
        assert (overlaps.max(axis=1) > 0.8).all()
        assert np.abs(one.confidence[overlaps.argmax(axis=1)] - sure(other).confidence).max(initial=0) < 0.15
    again = facemask.load(exported / "small").detect_all(IMAGES)
    assert [one.xyxy.tolist() for one in again] == [one.xyxy.tolist() for one in ours]


def test_small_json_says_what_it_is_and_where_it_is_from(exported: Path) -> None:
    said = json.loads((exported / "small" / "small.json").read_text())
    assert {part: one["form"] for part, one in said["networks"].items()} == {
        "faces": "dynamic",
        "classifier": "dynamic",
    }
    for one in said["networks"].values():
        file = exported / "small" / one["file"]
        assert (one["bytes"], one["sha256"]) == (file.stat().st_size, sha256(file))
    assert said["networks"]["faces"]["bytes"] < 200_000 and said["networks"]["classifier"]["bytes"] < 3_000_000
    assert said["made"]["step"] == "small" and said["source"]["run"] == "ready-fast"
    assert [path.name for path in exported.iterdir()] == ["small"]


@pytest.mark.parametrize("option", ["faces", "classifier", "runtime", "precision"])
def test_it_is_a_whole_detector_that_has_its_own_parts(exported: Path, option: str) -> None:
    choice = dataclasses.replace(DetectorChoice(exported, run="small"), **{option: "openvino"})
    with pytest.raises(UserError, match=rf"{option.upper()}=openvino: .*RUN=small .*Leave {option.upper()} out"):
        choose_detector(choice)


@pytest.mark.timeout(300)
def test_yunet_in_float32_computes_what_openvino_computes(source: small_export.Source, tmp_path: Path) -> None:
    network = small_export._faces_network(source, small_export.Pictures("", tuple, tuple))
    (tmp_path / "faces.tflite").write_bytes(small_export._convert(network, "fp32"))
    requests = [
        yunet.load_yunet([file], 640).compiled.create_infer_request()
        for file in (source.faces, tmp_path / "faces.tflite")
    ]
    for shape in ((160, 224), (352, 64)):  # one network takes pictures of any size
        pixels = np.random.default_rng(0).uniform(0, 255, (1, 3, *shape)).astype(np.float32)
        for request in requests:
            request.infer([pixels])
        for name in (f"{name}_{stride}" for name in ("cls", "obj", "bbox") for stride in yunet.STRIDES):
            wanted, found = (request.get_tensor(name).data for request in requests)
            np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_classifier_in_tensorflow_computes_what_openvino_computes(source: small_export.Source) -> None:
    model = source.classifier
    proto = browser_networks.convert_network(openvino_model.read_network(model.openvino))
    crops = np.random.default_rng(1).integers(0, 256, (3, 96, 96, 3), np.uint8)
    values = onnx_in_tensorflow.compute_nodes(proto, onnx_in_tensorflow.read_constants(proto), crops)
    np.testing.assert_allclose(values["probabilities"], load_openvino_classifier(model, "fp32")(crops), atol=1e-5)
    proto.graph.node[-1].op_type = "Erf"
    with pytest.raises(RuntimeError, match="Erf"):
        onnx_in_tensorflow.compute_nodes(proto, onnx_in_tensorflow.read_constants(proto), crops)


def test_a_form_is_refused_if_both_networks_together_lose_too_much(
    source: small_export.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = GroundTruth("a.png", 1, 9, 9, np.zeros((1, 4)), np.ones(1, int), np.zeros(1, bool))
    pictures = small_export.Pictures("photos", lambda: IMAGES, lambda: [(IMAGES[0], truth)])
    target = tmp_path / "exported" / "small"
    lines: list[str] = []

    def write(*maps: float) -> None:
        given = iter([(0.8, 20.0, 1), *((one, 10.0, 1) for one in maps)])
        monkeypatch.setattr(small_export, "measure_map50", lambda *_: next(given))
        small_export.write_small(source, pictures, target, {"step": "small"}, lines.append)
        assert not list(given)

    monkeypatch.setattr(small_export, "_convert", lambda network, form: f"{network.name} {form}".encode())
    monkeypatch.setattr(small_export.yunet, "load_yunet", lambda files, size: source.detector.faces)
    monkeypatch.setattr(small_export.face_classifier, "open_classifier", lambda *_: source.detector.classifier)
    write(0.801, 0.7979, 0.798)  # int8 loses 0.21 points, dynamic 0.2
    assert (target / "faces.tflite").read_text() == "pixels int8"
    assert [path.name for path in (target / "tflite").iterdir()] == ["dynamic.tflite"]
    assert [line.endswith("refused") for line in lines] == [False, True, False]
    said = json.loads((target / "small.json").read_text())["networks"]["classifier"]
    assert (said["form"], [one["precision"] for one in said["tried"]]) == ("dynamic", ["int8", "dynamic"])
    with pytest.raises(UserError, match=r"^photos: .*IMAGES="):
        write(0.7, 0.7, 0.7)
    assert (target / "small.json").is_file() and [path.name for path in target.parent.iterdir()] == ["small"]


def test_in_a_folder_with_labels_what_calibrates_is_not_measured(
    folder: Path, tmp_path: Path, source: small_export.Source
) -> None:
    labels = source.classifier.label_map
    assert not list(small_export.find_pictures(folder, tmp_path, tmp_path, labels).labelled())
    for number, drawn in enumerate(PICTURES):
        Image.fromarray(drawn.image).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.xml").write_text(
            f"<annotation><size><width>{drawn.image.shape[1]}</width><height>{drawn.image.shape[0]}</height></size>"
            "<object><name>with_mask</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>40</xmax><ymax>40</ymax></bndbox>"
            "</object></annotation>"
        )
    pictures = small_export.find_pictures(tmp_path, tmp_path, tmp_path, labels)
    assert [truth.name for _, truth in pictures.labelled()] == ["1.png", "3.png"]
    for image, number in zip(pictures.calibration(), (0, 2), strict=True):
        np.testing.assert_array_equal(image, IMAGES[number])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--images", "none"], "none: no picture to calibrate"),
        (["--images", "{folder}", "--run", "ready-ssd"], "RUN=ready-ssd: is not made of YuNet and a classifier"),
        (["--images", "{folder}", "--faces-size", "320"], "FACES_SIZE=320: RUN=ready-fast is a whole detector"),
        (["--images", "{folder}", "--name", "other"], "other: something else is there"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(options: list[str], said: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.json").write_text("{}")
    given = [option.format(folder=folder) for option in options]
    command = [sys.executable, "-m", "scripts.small", *given, "--exported", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("package", ["ai_edge_litert", "onnx"])
def test_a_missing_package_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=package):  # the front door says which extra installs it
        small_export.refuse_early(tmp_path / "small")


def test_other_files_are_not_taken_for_yunet(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dynamic.tflite: is not YuNet's network"):
        yunet.load_yunet([exported / "small" / "tflite" / "dynamic.tflite"], 640)
    (tmp_path / "faces.tflite").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"faces.tflite: cannot be loaded .*make small"):
        yunet.load_yunet([tmp_path / "faces.tflite"], 640)
