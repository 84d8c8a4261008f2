"""What a server is started with."""

import importlib.util
from pathlib import Path

import pytest
from squares import CLASSES, Squares

from scripts import serve
from scripts.detect import choosing, detector
from scripts.detect.choosing import Choice
from scripts.serving import runtimes, server
from scripts.support.errors import UserError
from scripts.tfod.exported import ExportedModel


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The folder of exported models, with one for which OpenVINO and TensorFlow have their files."""
    folder = tmp_path / "exported" / "some"
    for file in ("openvino/model.xml", "saved_model/saved_model.pb"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).touch()
    ExportedModel(folder, "a model", CLASSES, 640, 640, "some", 7, "0").write(made={})
    return folder.parent


def test_the_chosen_detector_and_the_runtimes_that_are_there(exported: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def open_detector(folder: Path, runtime: str = "auto", precision: str = "auto") -> Squares:
        asked.append((folder.name, runtime, precision))
        return Squares()

    monkeypatch.setattr(detector, "open_detector", open_detector)
    find_spec = importlib.util.find_spec
    for is_here, names in ((True, ["auto", "openvino", "tensorflow"]), (False, ["auto", "tensorflow"])):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, is_here=is_here: is_here or None if name == "openvino" else find_spec(name),
        )
        choice = Choice(exported, "some", runtime="openvino", precision="fp32")
        openers = runtimes.openers_of(choosing.choose(choice), choice)
        assert list(openers) == names
    assert asked == []  # nothing is loaded unasked
    for opener in openers.values():
        opener()
    assert asked == [("some", "openvino", "fp32"), ("some", "tensorflow", "auto")]


def test_the_options_reach_the_server(exported: Path, monkeypatch: pytest.MonkeyPatch):
    given = []
    monkeypatch.setattr(server, "serve", lambda *arguments: given.append(arguments))
    serve.main(run="some", host="::1", port=5, max_mb=3, timeout=4.0, threshold=0.3, exported=exported)
    [(openers, about, address, limits, threshold)] = given
    assert next(iter(openers)) == "auto"
    assert (about["run"], about["model"], about["steps"]) == ("some", "a model", 7)
    assert (address.url(), limits.bytes, limits.seconds, threshold) == ("http://[::1]:5", 3 << 20, 4.0, 0.3)


def test_no_such_model(exported: Path):
    with pytest.raises(UserError, match="no exported model"):
        serve.main(run="other", exported=exported)
