"""The network of an exported SSD without its suppression, for browsers."""

from pathlib import Path

import numpy as np
import pytest
import tiny_model

from facemask.core.exported_model import read_exported_model
from facemask.export.browser_networks import run_onnx
from facemask.tfod import raw_network

pytest.importorskip("tf2onnx", reason="needs the dependency group onnx")


def test_an_exported_ssd_without_its_suppression(tiny_exported: Path, tmp_path: Path) -> None:
    """`write_raw_network` itself compares the outputs with those of the checkpoint's model."""
    settings = raw_network.write_raw_network(read_exported_model(tiny_exported), tmp_path)
    assert settings == {
        "kind": "ssd",
        "network": "network.onnx",
        "width": 128,
        "height": 128,
        "suppression": {"iou": 0.6, "leastScore": 1e-8, "mostPerClass": 20, "most": 20, "background": True},
    }
    picture = np.random.default_rng(1).uniform(0, 255, (1, 128, 128, 3)).astype(np.float32)
    found = run_onnx(tmp_path / "network.onnx", {"input": picture})
    anchors = 16 * 16 + 8 * 8 + 4 * 4
    assert {name: values.shape for name, values in found.items()} == {
        "raw_detection_boxes": (1, anchors, 4),
        "raw_detection_scores": (1, anchors, len(tiny_model.CLASSES) + 1),
    }
    with pytest.raises(RuntimeError, match=r"network.onnx: raw_detection_scores differs by"):
        other = found | {"raw_detection_scores": found["raw_detection_scores"] + 0.05}
        raw_network._check(tmp_path / "network.onnx", picture, other)
