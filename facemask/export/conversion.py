"""Convert an exported model to other formats in its folder, and check each against the SavedModel."""

import contextlib
import dataclasses
import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.files import replacing_folder, write_json
from facemask.core.provenance import made_by
from facemask.data import drawn_sample, ground_truth
from facemask.detect.runtimes import RUNTIMES
from facemask.export import parity
from facemask.export.parity import Parity

if TYPE_CHECKING:
    import supervision as sv

INT8 = "int8"
"""The quantised form of the OpenVINO format. It finds other boxes, so it is measured instead of compared."""

FORMATS = {name: runtime.export_packages for name, runtime in RUNTIMES.items() if runtime.write is not None}
"""The formats besides the SavedModel, and the packages needed to write and check each."""

PARITY = "parity.json"
"""The file in a format's folder that holds the differences between its boxes and the SavedModel's."""


def choose_formats(formats: str) -> list[str]:
    """The formats besides the SavedModel in a list such as `saved_model,openvino`.

    Args:
        formats: The list; "" means OpenVINO if it is installed.

    Returns:
        Names of `FORMATS`, and `INT8` last if the list has it. `INT8` adds OpenVINO, which it needs.

    Raises:
        UserError: A format is unknown, or its packages are not installed.
    """
    if not formats:
        return ["openvino"] if not _missing_packages("openvino") else []
    wanted = list(dict.fromkeys(filter(None, formats.replace(" ", "").split(","))))
    for name in wanted:
        if name not in ("saved_model", *FORMATS, INT8):
            raise UserError(f"FORMATS={formats}: {name} must be one of saved_model, {', '.join(FORMATS)}, {INT8}.")
        if missing := _missing_packages(name):
            needs = ", ".join(missing)
            raise UserError(f"FORMATS={formats}: {name} needs {needs}, not installed; `make export` installs it.")
    chosen = [name for name in FORMATS if name in wanted or (name == "openvino" and INT8 in wanted)]
    return chosen + [INT8] * (INT8 in wanted)


def _missing_packages(name: str) -> list[str]:
    packages = {**FORMATS, INT8: (*FORMATS["openvino"], "nncf")}.get(name, ())
    return [package for package in packages if importlib.util.find_spec(package) is None]


def found_by_saved_model(model: ExportedModel, pictures: Sequence[np.ndarray]) -> "list[sv.Detections]":
    """The SavedModel's detections, with which `convert_model` compares those of each format."""
    return RUNTIMES["tensorflow"].load(model, "fp32", None).detect_all(pictures)


def convert_model(
    model: ExportedModel, name: str, pictures: Sequence[np.ndarray], expected: "Sequence[sv.Detections]"
) -> Parity:
    """Write a format of an exported model, completely or not at all, and compare its detections with the SavedModel's.

    Args:
        model: The exported model.
        name: One of `FORMATS`.
        pictures: The pictures to compare on, RGB uint8 arrays of shape (height, width, 3).
        expected: The SavedModel's detections on them.

    Raises:
        UserError: The detections differ. Nothing is written then.
    """
    target = model.folder / name
    runtime = RUNTIMES[name]
    assert runtime.write is not None  # it is one of FORMATS
    with replacing_folder(target) as beside:
        runtime.write(model, beside)
        found = runtime.load(model, "fp32", beside).detect_all(pictures)
        result = parity.compare_detections(expected, found)
        if not result.good:
            raise UserError(f"{target}: its boxes differ from the SavedModel's ({result}), so it is not kept.")
        made = made_by("export", format=name)
        write_json(beside / PARITY, dataclasses.asdict(result) | {"made": made})
    return result


def pictures_to_compare(annotations: Path, count: int = 8) -> list[np.ndarray]:
    """`count` pictures: from the val split if there are records, the rest drawn (`drawn_sample`)."""
    found: list[np.ndarray] = []
    # This step does not need records, so damaged ones are not an error here.
    with contextlib.suppress(UserError):
        found = [image for image, _ in itertools.islice(ground_truth.read_records(annotations, "val"), count)]
    return found + [drawn_sample.draw_picture(seed=0, index=i).image for i in range(count - len(found))]
