"""A folder as `make ready` writes it, around an exported model of the tests."""

import base64
import json
import shutil
from pathlib import Path

from facemask.core.files import sha256
from facemask.ready import shipped_detector

THRESHOLDS = {"with_mask": 0.25, "mask_weared_incorrect": 0.125}


def write_shipped(folder: Path, exported: Path, hashes: list[int]) -> Path:
    """Each form is the exported model alone; only `ready` has thresholds."""
    parts = folder / shipped_detector.DETECTOR
    (parts / "openvino").mkdir(parents=True)
    names = ["model.json", *(f"openvino/{name}" for name in ("model.xml", "model.bin"))]
    for name in names:
        shutil.copy(exported / name, parts / name)
    files = {str(path.relative_to(folder)): path for path in (parts / name for name in names)}
    form = {"detector": "ssd", "faces": "yunet", "faces_sizes": [], "classifiers": 0}
    value = {
        "format": shipped_detector.FORMAT,
        "forms": {
            name: form | {"thresholds": THRESHOLDS if name == "ready" else {}} for name in shipped_detector.FORMS
        },
        "files": {name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for name, path in files.items()},
        "training_weights": {},
        "training_pictures": base64.b64encode(shipped_detector.pack_hashes(hashes)).decode(),
    }
    (folder / shipped_detector.NAME).write_text(json.dumps(value))
    return folder
