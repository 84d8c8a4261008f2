"""What a server is started with."""

import asyncio
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from squares import ABOUT, CLASSES, Squares, encoded, picture

from facemask.classifier import face_classifier
from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.cli import serve_command
from facemask.core import hardware
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.detect import detector_choice, runtimes
from facemask.detect.detector_choice import DetectorChoice
from facemask.detect.faces import face_finder
from facemask.serving import served_runtimes, server
from facemask.serving.detection_service import DetectionRequest, DetectionService, Limits


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The folder of exported models, with one for which OpenVINO and TensorFlow have their files."""
    folder = tmp_path / "exported" / "some"
    for file in ("openvino/model.xml", "saved_model/saved_model.pb"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).touch()
    ExportedModel(folder, "a model", CLASSES, 640, 640, "some", 7, "0").write(made={})
    return folder.parent


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What is loaded: folder, runtime and precision of each network. The processor has no bfloat16."""
    asked: list[tuple[str, str, str]] = []

    def load(folder: Path, runtime: str, precision: str) -> Squares:
        asked.append((folder.name, runtime, precision))
        return Squares()

    monkeypatch.setattr(runtimes, "load_model", load)
    monkeypatch.setattr(face_classifier, "open_classifier", load)
    monkeypatch.setattr(face_finder, "load_face_finder", lambda *_: Squares())
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: False)
    return asked


def offered(choice: DetectorChoice) -> dict[str, Callable[[], object]]:
    return served_runtimes.openers_of(detector_choice.choose_detector(choice), choice)


def test_the_chosen_detector_and_the_runtimes_that_are_there(
    exported: Path, loaded: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    for is_here, names in ((True, ["auto", "openvino", "tensorflow"]), (False, ["auto", "tensorflow"])):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, is_here=is_here: is_here or None if name == "openvino" else find_spec(name),
        )
        openers = offered(DetectorChoice(exported, "some", runtime="openvino", precision="bf16"))
        assert list(openers) == names
    assert loaded == []  # nothing is loaded unasked
    for opener in openers.values():
        opener()
    assert loaded == [("some", "openvino", "bf16"), ("some", "tensorflow", "fp32")]


def test_what_was_not_exported_is_not_offered(exported: Path, loaded: list[tuple[str, str, str]]) -> None:
    folder = exported / "classifier"
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").touch()
    ExportedClassifier(folder, "mobilenet_v2", CLASSES, 8, 0.1, "classifier", {}).write({})
    assert list(offered(DetectorChoice(exported, detector="two_stage", faces="haar"))) == ["auto", "tensorflow"]


def test_a_runtime_by_name_is_not_loaded_beside_the_same_as_auto(
    exported: Path, loaded: list[tuple[str, str, str]]
) -> None:
    service = DetectionService(offered(DetectorChoice(exported, "some")), ABOUT, Limits(), (0.5, 0.5, 0.5))
    for runtime in service.runtimes:
        asyncio.run(service.detect(DetectionRequest(encoded(picture()), runtime=runtime)))
    service.close()
    assert loaded == [("some", "openvino", "fp32"), ("some", "tensorflow", "fp32")]


def test_the_options_reach_the_server(exported: Path, monkeypatch: pytest.MonkeyPatch):
    given = []
    monkeypatch.setattr(server, "serve", lambda *arguments: given.append(arguments))
    token = exported / "token"
    token.write_text("0123456789abcdef\n")
    serve_command.main(
        run="some", host="::1", port=5, max_mb=3, timeout=4.0, threshold="0.3", token_file=token, exported=exported
    )
    [(openers, about, address, limits, thresholds, settings)] = given
    assert settings.token == "0123456789abcdef"
    assert "0123456789abcdef" not in repr(settings)
    assert next(iter(openers)) == "auto"
    assert (about["run"], about["model"], about["steps"]) == ("some", "a model", 7)
    assert (address.url(), limits.bytes, limits.seconds) == ("http://[::1]:5", 3 << 20, 4.0)
    assert thresholds == (0.3, 0.3, 0.3)


def test_best_takes_the_thresholds_of_the_evaluation(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = []
    monkeypatch.setattr(server, "serve", lambda *arguments: given.append(arguments[-2]))
    metrics = tmp_path / "reports" / "some" / "metrics.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text(json.dumps({"classes": CLASSES.names, "thresholds": {"with_mask": 0.25, "without_mask": 0.75}}))
    for threshold in ("best", str(metrics)):
        serve_command.main(run="some", threshold=threshold, exported=exported, reports=tmp_path / "reports")
    assert given == [(0.25, 0.75, 0.5)] * 2


def test_no_such_model(exported: Path):
    with pytest.raises(UserError, match=str(exported / "other")):
        serve_command.main(run="other", exported=exported)
