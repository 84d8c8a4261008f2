"""The detector that comes with facemask: when it is taken, and what is refused."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_networks import write_classifier, write_detector
from made_shipped import THRESHOLDS, write_shipped
from PIL import Image

import facemask
from facemask.core import hardware, openvino_model
from facemask.core.errors import UserError
from facemask.data import manifest
from facemask.data.perceptual_hash import perceptual_hash
from facemask.detect.backends import onnx_backend
from facemask.detect.detector_choice import (
    ChosenDetector,
    DetectorChoice,
    choose_detector,
    choose_other_detector,
    ready_runtimes,
)
from facemask.detect.two_stage import TwoStageDetector
from facemask.evaluation import seen_pictures
from facemask.evaluation.evaluated_pictures import PictureSource
from facemask.ready.shipped_detector import FORMS

LEARNED = np.kron(np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8), np.ones((20, 20, 1), np.uint8))
"""A picture that the shipped detector was trained on."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "ready"
    return write_shipped(
        folder, write_detector(folder.parent / "exported"), [7, perceptual_hash(Image.fromarray(LEARNED))]
    )


def chosen(choice: DetectorChoice) -> tuple[ChosenDetector, list[str]]:
    said: list[str] = []
    return choose_detector(choice, report=said.append), said


def test_it_is_taken_where_nobody_named_a_run_and_nothing_is_exported(shipped: Path, tmp_path: Path) -> None:
    unnamed = DetectorChoice(tmp_path / "exported", run_was_named=False, shipped=shipped)
    detector, said = chosen(unnamed)
    assert (detector.name, detector.model["run"], detector.thresholds) == ("ready", "ready", THRESHOLDS)
    assert len(said) == 1 and "RUN=ready" in said[0] and str(tmp_path / "exported") in said[0]
    assert detector.parse_thresholds("", tmp_path) == (0.25, 0.5, 0.125)
    assert detector.parse_thresholds("0.4", tmp_path) == (0.4, 0.4, 0.4)
    assert ready_runtimes(unnamed) == ["openvino"]
    opened = detector.open()
    [found] = opened.detect([LEARNED])
    kept = opened.above_thresholds(found)
    least = np.array([0.25, 0.5, 0.125])[found.class_id - 1]
    assert len(found) and len(kept) == (found.confidence >= least).sum()

    with pytest.raises(UserError, match="make export RUN=default"):
        choose_detector(dataclasses.replace(unnamed, run_was_named=True))
    with pytest.raises(UserError, match="make export RUN=default"):
        choose_detector(dataclasses.replace(unnamed, shipped=tmp_path))  # without one, all is as ever


def test_frames_that_are_detected_at_once_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, _ = chosen(DetectorChoice(Path("none"), run="ready-fast"))
    alone, shared = detector.open(), detector.open(2)
    networks = [opened.raw.faces.compiled for opened in (alone, shared)]  # type: ignore[attr-defined]
    assert [network.get_property("NUM_STREAMS") for network in networks] == [1, 2]
    assert networks[1].get_property("INFERENCE_NUM_THREADS") == hardware.usable_cores()
    assert networks[1].get_property("ENABLE_CPU_PINNING") is False
    [expected], [found] = alone.detect([LEARNED]), shared.detect([LEARNED])
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-4)

    monkeypatch.setattr(hardware, "usable_cores", lambda: 8)
    assert detector.at_once == 2
    assert dataclasses.replace(detector, networks=(("onnx", "fp32"),)).at_once == 1
    monkeypatch.setattr(hardware, "usable_cores", lambda: 1)
    assert detector.at_once == 1


@pytest.mark.parametrize("part", ["classifier", "classifier-2", "detector"])
def test_the_networks_that_ship_compute_the_same_where_they_share_the_cores(part: str) -> None:
    network = Path(facemask.__file__).parent / "ready" / part / "openvino" / "model.xml"
    alone = openvino_model.compile_network(network, in_bf16=False)
    shape = [2, 96, 96, 3] if part != "detector" else [1, 448, 448, 3]
    pictures = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    expected = [value.copy() for value in alone(pictures).values()]
    for _ in range(4):  # OpenVINO's streams spoilt each other's 8-bit kernels at random
        with openvino_model.sharing_cores(2):
            shared = openvino_model.compile_network(network, in_bf16=False)
        for request in (shared.create_infer_request(), shared.create_infer_request()):
            for one, value in zip(expected, request.infer(pictures).values(), strict=True):
                np.testing.assert_allclose(value, one, rtol=1e-3, atol=1e-4)


def test_a_folder_of_its_name_without_a_model_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def choose(choice: DetectorChoice, report: object) -> SimpleNamespace:
        taken.append(choice.run)
        return SimpleNamespace(open=lambda: None)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "ready").mkdir()
    monkeypatch.setattr("facemask.detect.detector_choice.choose_detector", choose)
    facemask.load("ready")
    assert taken == ["ready"]


def test_an_export_of_the_users_own_comes_first(shipped: Path, tmp_path: Path) -> None:
    unnamed = DetectorChoice(tmp_path, run_was_named=False, shipped=shipped)
    write_detector(tmp_path / "first")
    with pytest.raises(UserError, match="RUN= takes first, ready, ready-fast, ready-ssd"):
        choose_detector(unnamed)
    shutil.copytree(tmp_path / "first", tmp_path / "ready-fast")
    assert chosen(DetectorChoice(tmp_path, "ready-fast", shipped=shipped))[0].training_pictures == ()
    assert chosen(DetectorChoice(tmp_path, "ready", shipped=shipped))[0].training_pictures != ()
    (tmp_path / "first").rename(tmp_path / "default")
    detector, said = chosen(unnamed)
    assert (detector.name, said) == ("default", [])


def test_a_form_that_was_not_exported_names_the_command_that_writes_it(tmp_path: Path) -> None:
    write_detector(tmp_path / "mine", "mine")
    with pytest.raises(UserError, match="`make export RUN=mine FORMATS=int8` writes it"):
        choose_detector(DetectorChoice(tmp_path, "mine", precision="int8")).open()


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_have_names_and_their_parts_are_fixed(shipped: Path, tmp_path: Path, name: str) -> None:
    choice = DetectorChoice(tmp_path, name, shipped=shipped)
    detector, said = chosen(choice)
    assert (detector.name, said) == (name, [])
    with pytest.raises(UserError, match=f"PRECISION=int8: RUN={name} "):
        choose_detector(dataclasses.replace(choice, precision="int8"))
    for option, value in (("detector", "ssd"), ("faces", "haar"), ("classifier", "mine"), ("runtime", "tensorflow")):
        with pytest.raises(UserError, match=f"{option.upper()}={value}"):
            choose_detector(dataclasses.replace(choice, **{option: value}))


def test_the_forms_are_compared_with_each_other(shipped: Path, tmp_path: Path) -> None:
    unnamed = DetectorChoice(tmp_path / "none", run_was_named=False, shipped=shipped)
    assert choose_other_detector(unnamed, "ready-fast").name == "ready-fast"
    with pytest.raises(UserError, match="OTHER=ready: is the detector itself"):
        choose_other_detector(unnamed, "ready")


def test_a_classifiers_folder_is_loaded_as_two_stages(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "ready")  # the name of a shipped form, which is another one
    detector = facemask.load(folder, precision="fp32")
    assert detector.name.startswith("yunet") and detector.label_map.names[0] == "with_mask"
    assert isinstance(detector.raw, TwoStageDetector)


@pytest.mark.parametrize("damage", ["cut short", "changed", "missing"])
def test_a_damaged_file_is_refused_by_its_name(shipped: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "ready"
    shutil.copytree(shipped, folder)
    path = folder / "detector" / "openvino" / "model.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut short" else content)
    with pytest.raises(UserError) as error:
        choose_detector(DetectorChoice(tmp_path, "ready", shipped=folder))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_pictures_that_it_was_trained_on_are_counted(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, _ = chosen(DetectorChoice(tmp_path, "ready", shipped=shipped))
    smaller = np.asarray(Image.fromarray(LEARNED).resize((130, 130)))
    pictures = [(picture, None) for picture in (smaller, LEARNED[::-1], LEARNED)]
    monkeypatch.setattr(seen_pictures.evaluated_pictures, "read_pictures", lambda where, label_map: iter(pictures))
    where = PictureSource(tmp_path)
    assert seen_pictures.count_seen(where, detector.label_map, detector.training_pictures) == 2
    assert seen_pictures.count_seen(where, detector.label_map, ()) == 0
    assert "RUN=ready was trained on 2" in seen_pictures.warning("ready", 2)

    splits = {name: manifest.Split((), count, 0, {}, 0) for name, count in (("train", 9), ("val", 3), ("test", 0))}
    manifest.write_manifest(tmp_path, manifest.Manifest(detector.label_map.names, splits, "digest"))
    monkeypatch.setattr(seen_pictures.evaluated_pictures, "read_pictures", lambda where, label_map: iter(pictures))
    said: list[str] = []
    seen_pictures.warn_of_start("CHECKPOINT=ready", tmp_path, detector.training_pictures, said.append)
    assert len(said) == 1 and said[0].startswith(
        "CHECKPOINT=ready: its weights were trained on 2 of the 3 pictures of val"
    )


def test_what_started_from_the_shipped_weights_has_learned_their_pictures(shipped: Path, tmp_path: Path) -> None:
    made = {"settings": {}, "started_from": "ready"}
    for name, write in (("default", write_detector), ("classifier", write_classifier)):
        for folder in (write(tmp_path / "own" / name), write(tmp_path / "tuned" / name)):
            path = next(folder.glob("*.json"))
            path.write_text(json.dumps(json.loads(path.read_text()) | {"made": made if "tuned" in str(folder) else {}}))
    learned = chosen(DetectorChoice(tmp_path, "ready", shipped=shipped))[0].training_pictures
    for detector in ("ssd", "two_stage", "rescored", "fused"):
        for exported, pictures in (("own", ()), ("tuned", learned)):
            choice = DetectorChoice(tmp_path / exported, detector=detector, shipped=shipped)
            assert chosen(choice)[0].training_pictures == pictures
    faces = DetectorChoice(tmp_path / "own", detector="fused", faces_model=Path("ready"))
    assert len(chosen(faces)[0].training_pictures) > 100


def test_the_command_line_says_in_one_line_which_detector_it_takes(shipped: Path, tmp_path: Path) -> None:
    Image.fromarray(LEARNED).save(tmp_path / "a.png")
    code = (
        "import sys; from pathlib import Path; from facemask.ready import shipped_detector;"
        "shipped_detector.FOLDER = Path(sys.argv.pop()); sys.modules['tensorflow'] = None;"
        "from facemask.cli.app import app_main; app_main()"
    )
    command = [sys.executable, "-c", code, "infer", "a.png", "--threshold", "1", str(shipped)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "RUN=ready" in lines[0] and any("no face found in the picture" in line for line in lines), done.stdout
    assert (tmp_path / "workspace" / "predictions" / "ready" / "a.json").is_file()


def test_onnx_runtime_uses_the_cores_of_a_containers_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the dependency group onnx")
    monkeypatch.setattr(hardware, "usable_cores", lambda: 3)
    monkeypatch.setattr(runtime, "InferenceSession", lambda path, options, providers: options)
    (tmp_path / "model.onnx").touch()
    model = SimpleNamespace(folder=tmp_path, model="ssd", label_map=None)
    loaded = onnx_backend.load_onnx_detector(model, "fp32", tmp_path)  # type: ignore[arg-type]
    assert loaded.session.intra_op_num_threads == 3
