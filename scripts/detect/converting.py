"""The exported model -> other formats, each beside it in its folder, each checked against the SavedModel."""

import contextlib
import dataclasses
import importlib
import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.dataset import sample, truth
from scripts.detect import agreement
from scripts.detect.agreement import Agreement
from scripts.detect.detector import Detector
from scripts.detect.runtimes import tensorflow
from scripts.support.errors import UserError
from scripts.support.files import replacing_folder, write_json
from scripts.support.provenance import made_by
from scripts.tfod.exported import ExportedModel

if TYPE_CHECKING:
    import supervision as sv

FORMATS = {
    "openvino": ("openvino",),
    "onnx": ("tf2onnx", "onnxruntime"),
    "tflite": ("ai_edge_litert",),
}
"""The packages that each format needs. Its name is that of its folder, and of the modules of `formats` and `runtimes`
that write and load it."""

INT8 = "int8"
"""The quantised form of the OpenVINO format, which is not the same model and so not checked like these."""


def choose(formats: str) -> list[str]:
    """The formats besides the SavedModel in a list such as `saved_model,openvino`.

    Args:
        formats: The list; "" means OpenVINO if it is installed.

    Returns:
        Names of `FORMATS`, and `INT8` last, if it was wanted; OpenVINO, which that needs, is then among them too.

    Raises:
        UserError: An unknown format, or one whose packages are not installed.
    """
    if not formats:
        return ["openvino"] if not _missing("openvino") else []
    wanted = list(dict.fromkeys(filter(None, formats.replace(" ", "").split(","))))
    for name in wanted:
        if name not in ("saved_model", *FORMATS, INT8):
            raise UserError(f"FORMATS={formats}: {name} must be one of saved_model, {', '.join(FORMATS)}, {INT8}.")
        if missing := _missing(name):
            needs = ", ".join(missing)
            raise UserError(f"FORMATS={formats}: {name} needs {needs}, not installed; `make export` installs it.")
    chosen = [name for name in FORMATS if name in wanted or (name == "openvino" and INT8 in wanted)]
    return chosen + [INT8] * (INT8 in wanted)


def _missing(name: str) -> list[str]:
    packages = {**FORMATS, INT8: (*FORMATS["openvino"], "nncf")}.get(name, ())
    return [package for package in packages if importlib.util.find_spec(package) is None]


def found_by_saved_model(model: ExportedModel, pictures: Sequence[np.ndarray]) -> "list[sv.Detections]":
    """What the formats are held against, in `convert`."""
    return tensorflow.load(model, "fp32").detect(pictures)


def convert(
    model: ExportedModel, name: str, pictures: Sequence[np.ndarray], expected: "Sequence[sv.Detections]"
) -> Agreement:
    """Write a format of an exported model, whole or not at all, and compare what it finds with the SavedModel.

    Args:
        model: The exported model.
        name: One of `FORMATS`.
        pictures: To compare on, RGB uint8 arrays of shape (height, width, 3).
        expected: What the SavedModel finds on them.

    Raises:
        UserError: They do not find the same; nothing is written then.
    """
    target = model.folder / name
    with replacing_folder(target) as beside:
        importlib.import_module(f"scripts.detect.formats.{name}").write(model, beside)
        found = load(model, name, beside).detect(pictures)
        result = agreement.compare(expected, found)
        if not result.good:
            raise UserError(f"{target}: finds something else than the SavedModel ({result}), so it is not kept.")
        made = made_by("export", format=name)
        write_json(beside / "agreement.json", dataclasses.asdict(result) | {"made": made})
    return result


def load(model: ExportedModel, name: str, folder: Path) -> Detector:
    """Load a format from a folder that may be another than the one it will be in."""
    detector: Detector = importlib.import_module(f"scripts.detect.runtimes.{name}").load(model, "fp32", folder)
    return detector


def pictures_to_compare(annotations: Path, count: int = 8) -> list[np.ndarray]:
    """Real pictures of the val split where there are records, filled up with drawn ones (`dataset.sample`)."""
    found: list[np.ndarray] = []
    # Whatever is wrong with the records: this is not the step to say so.
    with contextlib.suppress(UserError):
        found = [image for image, _ in itertools.islice(truth.read_records(annotations, "val"), count)]
    return found + [sample.draw(seed=0, index=i).image for i in range(count - len(found))]
