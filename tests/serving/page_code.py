"""Run the page's JavaScript with Node on arrays."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv

from facemask.data import images as image_files
from facemask.detect.opened_detector import SAME_FACE
from facemask.serving.page_files import FOLDER

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js")

RUNNER = Path(__file__).with_name("page_runner.mjs")


def run_javascript(
    part: str, folder: Path, image: np.ndarray, arrays: Mapping[str, np.ndarray], **question: Any
) -> Any:
    """What a part of the page's code answers about a picture; see `page_runner.mjs`."""
    folder.mkdir(exist_ok=True)
    rgba = np.concatenate([image, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=2)
    rgba.tofile(folder / "rgba")
    for name, values in arrays.items():
        values.astype(np.float32).tofile(folder / name)
    question |= {"part": part, "width": image.shape[1], "height": image.shape[0], "sameFace": SAME_FACE}
    (folder / "question.json").write_text(json.dumps(question))
    subprocess.run([str(NODE), str(RUNNER), str(FOLDER), str(folder)], check=True, timeout=60)
    return json.loads((folder / "found.json").read_text())


def assert_same(found: list[dict[str, Any]], expected: sv.Detections) -> None:
    assert [one["classId"] for one in found] == list(expected.class_id)
    assert np.allclose([one["score"] for one in found], expected.confidence, atol=1e-6)
    assert np.allclose(np.reshape([one["box"] for one in found], (-1, 4)), expected.xyxy, atol=0.01)


def photographs() -> list[np.ndarray]:
    """Some photographs where the machine has them."""
    files = sorted(Path(os.environ.get("FACEMASK_DATA", "/nonexistent")).glob("*.jpg"))[:100:20]
    return [image_files.decode_image(path.read_bytes()) for path in files]
