"""Measure the lower precisions of an exported model on the val split before they are used."""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from facemask.core import hardware
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.files import replacing_folder
from facemask.core.label_map import LabelMap
from facemask.core.provenance import made_by
from facemask.data import manifest
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.backends import openvino_backend
from facemask.detect.backends.openvino_backend import INT8_PARTS
from facemask.detect.detector import RawDetector
from facemask.detect.precisions import MAX_POINTS_LOST, RESULT_FILES, LowerPrecision
from facemask.evaluation import coco, evaluated_pictures
from facemask.evaluation.evaluated_pictures import PictureSource
from facemask.evaluation.measurement import measure_detector
from facemask.export.conversion import INT8

CALIBRATION = 128
"""Number of training pictures from which the ranges of the activations are taken."""


def refuse_early(formats: Sequence[str], annotations: Path, label_map: LabelMap) -> None:
    """Raise UserError before the export if int8 is wanted and there are no pictures to calibrate or measure on."""
    if INT8 in formats:
        for split in ("train", "val"):
            evaluated_pictures.records_source(annotations, split, label_map)


def check_after_export(
    model: ExportedModel, formats: Sequence[str], annotations: Path, report: Callable[[str], None]
) -> None:
    """Measure the lower precisions of an exported model: bf16 if the processor has it, int8 if it is wanted.

    Args:
        model: The exported model.
        formats: Its formats, from `conversion.choose_formats`.
        annotations: Folder of the records.
        report: Called with each line for the user.

    Raises:
        UserError: int8 is wanted, and there are no records to calibrate or measure on; see `refuse_early`.
    """
    known = None
    if "openvino" in formats and hardware.cpu_has_bf16():
        try:
            known = measure_bf16(model, annotations)
        except UserError as error:
            report(f"openvino in bf16: not measured. {error}")
        else:
            report(f"openvino in bf16: {known}")
            if not known.allowed:
                report(
                    f"That is a loss of more than {MAX_POINTS_LOST} points, so bf16 is used with PRECISION=bf16 only."
                )
    if INT8 in formats:
        kept = quantise_model(model, annotations, known, report)
        if kept is None:
            report(f"int8 is not kept: no part in int8 is both faster and within {MAX_POINTS_LOST} points of mAP@0.5")
        else:
            report(f"{model.folder / 'int8'}: {kept.part} in int8; PRECISION=int8 takes it")


def measure_bf16(model: ExportedModel, annotations: Path) -> LowerPrecision:
    """Measure an exported model's OpenVINO form in bf16 and in fp32, and write the result beside it.

    Args:
        model: An exported model that has an OpenVINO form.
        annotations: Folder of the records.

    Raises:
        UserError: There is no val split to measure on.
    """
    where = evaluated_pictures.records_source(annotations, "val", model.label_map)
    lowered = beside_reference(
        "bf16",
        _map50(openvino_backend.load_openvino_detector(model, "bf16"), where),
        _map50(openvino_backend.load_openvino_detector(model, "fp32"), where),
    )
    lowered.write(model.folder / RESULT_FILES["bf16"], made_by("export", records=where.digest))
    return lowered


def quantise_model(
    model: ExportedModel,
    annotations: Path,
    known: LowerPrecision | None,
    report: Callable[[str], None] = lambda line: None,
) -> LowerPrecision | None:
    """Quantise an exported model's OpenVINO form, as much of it as the accuracy allows.

    The `INT8_PARTS` are tried, from the most to the least, until one loses no more than `MAX_POINTS_LOST` of
    mAP@0.5 on val. It is kept if it is faster than fp32 and, if allowed, bf16.

    Args:
        model: An exported model that has an OpenVINO form.
        annotations: Folder of the records: train to calibrate on, val to measure on.
        known: The result of `measure_bf16`, or None.
        report: Called with a line about each try.

    Returns:
        The measurement of the form that was kept in `<folder>/int8`; None if none was kept.

    Raises:
        UserError: There are no records to calibrate or measure on.
    """
    where = evaluated_pictures.records_source(annotations, "val", model.label_map)
    pictures = calibration_pictures(annotations, model.label_map)
    if known is None:
        reference = _map50(openvino_backend.load_openvino_detector(model, "fp32"), where)
        fastest = reference[1]
    else:
        reference = (known.map50_fp32, known.latency_ms_fp32, known.images)
        fastest = min(known.latency_ms_fp32, known.latency_ms if known.allowed else np.inf)
    target = model.folder / "int8"
    for part in INT8_PARTS:
        with tempfile.TemporaryDirectory(dir=model.folder) as scratch:
            written = Path(scratch) / "int8"
            written.mkdir()
            openvino_backend.write_int8(model, written, pictures, part)
            lowered = beside_reference(
                "int8", _map50(openvino_backend.load_openvino_detector(model, "int8", written), where), reference, part
            )
            report(f"int8, {part}: {lowered}")
            if not lowered.allowed:
                continue
            if lowered.latency_ms >= fastest:
                # With fewer parts in int8 it would be even slower.
                return None
            with replacing_folder(target) as beside:
                for file in written.iterdir():
                    file.replace(beside / file.name)
                made = made_by("export", records=where.digest, calibration_pictures=len(pictures))
                lowered.write(beside / Path(RESULT_FILES["int8"]).name, made)
            return lowered
    return None


def calibration_pictures(annotations: Path, label_map: LabelMap) -> list[np.ndarray]:
    """`CALIBRATION` pictures, evenly spread over the train split."""
    where = evaluated_pictures.records_source(annotations, "train", label_map)
    step = max(1, manifest.read_manifest(annotations).splits["train"].images // CALIBRATION)
    images: Iterator[np.ndarray] = (image for image, _ in evaluated_pictures.read_pictures(where, label_map))
    return list(itertools.islice(images, 0, step * CALIBRATION, step))


def _map50(detector: RawDetector, where: PictureSource) -> tuple[float, float, int]:
    """See `measure_map50`."""
    return measure_map50(detector, evaluated_pictures.read_pictures(where, detector.label_map), where.name)


def measure_map50(
    detector: RawDetector, pictures: Iterable[tuple[np.ndarray, GroundTruth]], name: str
) -> tuple[float, float, int]:
    """mAP@0.5, the median milliseconds a picture, and the number of pictures.

    Raises:
        UserError: No picture has a box. `name` is that of their source.
    """
    measured = measure_detector(detector, pictures)
    figures = coco.evaluate_detections(measured.truths, measured.detections, detector.label_map)
    if figures.map50 is None:
        raise UserError(f"{name}: no box to measure on.")
    return figures.map50, measured.speed.latency_ms, figures.images


def beside_reference(
    precision: str,
    lower: tuple[float, float, int],
    reference: tuple[float, float, int],
    part: str = "all",
    source: str = "val",
    limit: float = MAX_POINTS_LOST,
) -> LowerPrecision:
    """Two results of `measure_map50` as a `LowerPrecision`, which explains the others."""
    return LowerPrecision(precision, lower[2], lower[0], reference[0], lower[1], reference[1], part, source, limit)
