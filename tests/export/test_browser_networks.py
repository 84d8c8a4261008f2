"""The networks that the page runs compute what OpenVINO's do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_networks import write_classifier

from facemask.classifier.backends.classifier_openvino import load_openvino_classifier
from facemask.classifier.exported_classifier import read_exported_classifier
from facemask.core.errors import UserError
from facemask.detect.faces import yunet
from facemask.export import browser_networks
from facemask.ready import shipped_detector

pytest.importorskip("onnx", reason="needs the dependency group onnx")
pytest.importorskip("onnxruntime", reason="needs the dependency group onnx")


@pytest.mark.parametrize("shape", [(640, 640), (352, 640), (192, 224)])
def test_yunet_takes_pictures_of_any_size(shape: tuple[int, int], tmp_path: Path) -> None:
    file = shipped_detector.FOLDER / shipped_detector.YUNET
    browser_networks.write_face_network(file, tmp_path / "faces.onnx")
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 3, *shape)).astype(np.float32)
    request = yunet.load_yunet([file], 640).compiled.create_infer_request()
    request.infer([pixels])
    found = browser_networks.run_onnx(tmp_path / "faces.onnx", {"input": pixels})
    assert set(found) == {f"{name}_{stride}" for name in ("cls", "obj", "bbox") for stride in yunet.STRIDES}
    for name, values in found.items():
        np.testing.assert_allclose(values, request.get_tensor(name).data, atol=1e-4)


def test_the_shipped_classifier_gives_the_same_probabilities(tmp_path: Path) -> None:
    """Its kernels are in 8 bits there, and in half precision here."""
    model = read_exported_classifier(shipped_detector.FOLDER / shipped_detector.CLASSIFIER)
    browser_networks.write_classifier_network(model, tmp_path / "classifier.onnx")
    crops = np.random.default_rng(1).integers(0, 256, (7, 96, 96, 3), np.uint8)
    found = browser_networks.run_onnx(tmp_path / "classifier.onnx", {"crops": crops})["probabilities"]
    np.testing.assert_allclose(found, load_openvino_classifier(model, "fp32")(crops), atol=5e-3)
    assert (tmp_path / "classifier.onnx").stat().st_size < 5_000_000


def test_a_network_with_another_operation_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_exported_classifier(write_classifier(tmp_path / "exported"))
    browser_networks.write_classifier_network(model, tmp_path / "classifier.onnx")
    monkeypatch.delitem(browser_networks._OPERATIONS, "MatMul")
    with pytest.raises(RuntimeError, match="MatMul"):
        browser_networks.write_classifier_network(model, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_a_network_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_exported_classifier(write_classifier(tmp_path / "exported"))
    monkeypatch.setitem(browser_networks._OPERATIONS, "Softmax", lambda given: ("Softmax", {"axis": 0}))
    with pytest.raises(RuntimeError, match=r"classifier.onnx: .* differs by"):
        browser_networks.write_classifier_network(model, tmp_path / "classifier.onnx")


def test_a_large_backbone_is_refused(tmp_path: Path) -> None:
    model = read_exported_classifier(write_classifier(tmp_path / "exported"))
    with pytest.raises(UserError, match=r"exported: .*BACKBONE=mobilenet_v2"):
        browser_networks.write_classifier_network(replace(model, backbone="resnet50"), tmp_path / "classifier.onnx")
