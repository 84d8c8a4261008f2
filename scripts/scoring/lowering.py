"""Lower precisions of an exported model, measured on the val split before anybody relies on them."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from scripts.dataset import manifest
from scripts.dataset.label_map import LabelMap
from scripts.detect import converting
from scripts.detect.detector import Detector
from scripts.detect.formats import int8
from scripts.detect.precisions import PLACES, POINTS, Lowered
from scripts.detect.runtimes import openvino
from scripts.scoring import coco, source
from scripts.scoring.measure import measure
from scripts.scoring.source import Source
from scripts.support import hardware
from scripts.support.errors import UserError
from scripts.support.files import replacing_folder
from scripts.support.provenance import made_by
from scripts.tfod.exported import ExportedModel

CALIBRATION = 128
"""Training pictures that the ranges of the activations are taken from."""


def refuse_early(formats: Sequence[str], annotations: Path, label_map: LabelMap) -> None:
    """Raise UserError if int8 is wanted and there is nothing to calibrate or measure on, before minutes are spent."""
    if converting.INT8 in formats:
        for split in ("train", "val"):
            source.records(annotations, split, label_map)


def after_export(model: ExportedModel, formats: Sequence[str], annotations: Path, say: Callable[[str], None]) -> None:
    """Measure the lower precisions of what was exported: bf16 where the processor has it, int8 if it was wanted.

    Args:
        model: The exported model.
        formats: The formats it has, of `converting.choose`.
        annotations: Folder of the records.
        say: Called with each line for people.

    Raises:
        UserError: int8 is wanted, and there are no records to calibrate or measure on; see `refuse_early`.
    """
    known = None
    if "openvino" in formats and hardware.cpu_has_bf16():
        try:
            known = bf16(model, annotations)
        except UserError as error:
            say(f"openvino in bf16: not measured. {error}")
        else:
            say(f"openvino in bf16: {known}")
            if not known.allowed:
                say(f"THAT IS MORE THAN {POINTS} POINTS LESS: it is not taken unless you say PRECISION=bf16")
    if converting.INT8 in formats:
        kept = quantise(model, annotations, known, say)
        if kept is None:
            say(f"int8 IS NOT KEPT: nothing of it is both faster and within {POINTS} points of mAP@0.5")
        else:
            say(f"{model.folder / 'int8'}: {kept.part} in int8; PRECISION=int8 takes it")


def bf16(model: ExportedModel, annotations: Path) -> Lowered:
    """Measure an exported model's OpenVINO form in bf16 and in fp32, and write the result beside it.

    Args:
        model: An exported model that has an OpenVINO form.
        annotations: Folder of the records.

    Raises:
        UserError: There is no val split to measure on.
    """
    where = source.records(annotations, "val", model.label_map)
    lowered = _beside("bf16", _map50(openvino.load(model, "bf16"), where), _map50(openvino.load(model, "fp32"), where))
    lowered.write(model.folder / PLACES["bf16"], made_by("export", records=where.digest))
    return lowered


def quantise(
    model: ExportedModel, annotations: Path, known: Lowered | None, say: Callable[[str], None] = lambda line: None
) -> Lowered | None:
    """Quantise an exported model's OpenVINO form, as much of it as the accuracy allows.

    The parts of `int8.PARTS` are tried, from the most to the least, until one loses no more than `POINTS` of
    mAP@0.5 on val. It is kept if it is faster than what there is without it.

    Args:
        model: An exported model that has an OpenVINO form.
        annotations: Folder of the records: train to calibrate on, val to measure on.
        known: What `bf16` measured, if it did.
        say: Called with a line about each try.

    Returns:
        What was kept, in `<folder>/int8`; None if nothing was.

    Raises:
        UserError: There are no records to calibrate or measure on.
    """
    where = source.records(annotations, "val", model.label_map)
    pictures = calibration_pictures(annotations, model)
    if known is None:
        reference = _map50(openvino.load(model, "fp32"), where)
        fastest = reference[1]
    else:
        reference = (known.map50_fp32, known.latency_ms_fp32, known.images)
        fastest = min(known.latency_ms_fp32, known.latency_ms if known.allowed else np.inf)
    target = model.folder / "int8"
    for part in int8.PARTS:
        with tempfile.TemporaryDirectory(dir=model.folder) as scratch:
            written = Path(scratch) / "int8"
            written.mkdir()
            int8.write(model, written, pictures, part)
            lowered = _beside("int8", _map50(openvino.load(model, "int8", written), where), reference, part)
            say(f"int8, {part}: {lowered}")
            if not lowered.allowed:
                continue
            if lowered.latency_ms >= fastest:
                # Less in int8 would be slower still.
                return None
            with replacing_folder(target) as beside:
                for file in written.iterdir():
                    file.replace(beside / file.name)
                made = made_by("export", records=where.digest, calibration_pictures=len(pictures))
                lowered.write(beside / Path(PLACES["int8"]).name, made)
            return lowered
    return None


def calibration_pictures(annotations: Path, model: ExportedModel) -> list[np.ndarray]:
    """`CALIBRATION` pictures of the train split, evenly over it."""
    where = source.records(annotations, "train", model.label_map)
    step = max(1, manifest.read(annotations).splits["train"].images // CALIBRATION)
    images: Iterator[np.ndarray] = (image for image, _ in source.pictures(where, model.label_map))
    return list(itertools.islice(images, 0, step * CALIBRATION, step))


def _map50(detector: Detector, where: Source) -> tuple[float, float, int]:
    """mAP@0.5, the median milliseconds a picture, and the number of pictures."""
    measured = measure(detector, source.pictures(where, detector.label_map))
    figures = coco.evaluate(measured.truths, measured.detections, detector.label_map)
    if figures.map50 is None:
        raise UserError(f"{where.path}: no box in the {where.split} split to measure on.")
    return figures.map50, measured.speed.latency_ms, figures.images


def _beside(
    precision: str, lower: tuple[float, float, int], reference: tuple[float, float, int], part: str = "all"
) -> Lowered:
    return Lowered(precision, lower[2], lower[0], reference[0], lower[1], reference[1], part)
