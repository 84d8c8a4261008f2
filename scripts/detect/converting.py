"""The SavedModel -> other formats, each beside it in the exported model's folder, each checked against it."""

import contextlib
import dataclasses
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.dataset import sample, truth
from scripts.detect import agreement
from scripts.detect.agreement import Agreement
from scripts.detect.detector import Detector
from scripts.detect.runtimes import openvino, tensorflow
from scripts.support.errors import UserError
from scripts.support.files import replacing_folder, write_json
from scripts.support.provenance import made_by
from scripts.tfod.exported import ExportedModel


def _to_openvino(model: ExportedModel, folder: Path) -> None:
    import openvino as ov

    converted = ov.convert_model(str(model.saved_model))
    # It would store float32 weights as float16.
    ov.save_model(converted, folder / "model.xml", compress_to_fp16=False)


@dataclass(frozen=True)
class Format:
    """How a format is written into a folder, and how it is loaded from there."""

    write: Callable[[ExportedModel, Path], None]
    load: Callable[[ExportedModel, str, Path], Detector]


FORMATS = {"openvino": Format(_to_openvino, openvino.load)}
"""The formats by name, which is that of the package, of the runtime and of the folder."""


def choose(formats: str) -> list[str]:
    """The formats besides the SavedModel in a list such as `saved_model,openvino`; "" means those that are installed.

    Raises:
        UserError: An unknown format, or one whose package is not installed.
    """
    if not formats:
        return [name for name in FORMATS if importlib.util.find_spec(name) is not None]
    wanted = [name for name in dict.fromkeys(formats.replace(" ", "").split(",")) if name not in ("", "saved_model")]
    for name in wanted:
        if name not in FORMATS:
            raise UserError(f"FORMATS={formats}: {name} must be one of saved_model, {', '.join(FORMATS)}.")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"FORMATS={formats}: the package {name} is not installed.")
    return wanted


def convert(model: ExportedModel, name: str, pictures: Sequence[np.ndarray]) -> Agreement:
    """Write a format of an exported model, whole or not at all, and compare what it finds with the SavedModel.

    Args:
        model: The exported model.
        name: One of `FORMATS`.
        pictures: To compare on, RGB uint8 arrays of shape (height, width, 3).

    Raises:
        UserError: They do not find the same; nothing is written then.
    """
    target = model.folder / name
    with replacing_folder(target) as beside:
        FORMATS[name].write(model, beside)
        found = FORMATS[name].load(model, "fp32", beside).detect(pictures)
        result = agreement.compare(tensorflow.load(model, "fp32").detect(pictures), found)
        if not result.good:
            raise UserError(f"{target}: finds something else than the SavedModel ({result}), so it is not kept.")
        made = made_by("export", format=name)
        write_json(beside / "agreement.json", dataclasses.asdict(result) | {"made": made})
    return result


def pictures_to_compare(annotations: Path, count: int = 8) -> list[np.ndarray]:
    """Real pictures of the val split where there are records, filled up with drawn ones (`dataset.sample`)."""
    found: list[np.ndarray] = []
    # Whatever is wrong with the records: this is not the step to say so.
    with contextlib.suppress(UserError):
        found = [image for image, _ in itertools.islice(truth.read_records(annotations, "val"), count)]
    return found + [sample.draw(seed=0, index=i).image for i in range(count - len(found))]
