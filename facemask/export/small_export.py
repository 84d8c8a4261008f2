"""Write both networks of a two-stage detector for LiteRT, each in the smallest form that costs little accuracy.

Forms are tried from int8 on, YuNet's first, and each detector so made is measured against the one that it comes from.
So the loss of both networks together is limited: two small losses can add up to a large one.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facemask.classifier import face_classifier
from facemask.classifier.backends import classifier_tflite
from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.classifier.face_crops import cut_faces
from facemask.core import openvino_model
from facemask.core.errors import UserError
from facemask.core.files import replacing_folder, sha256, write_bytes, write_json
from facemask.core.label_map import LabelMap
from facemask.core.litert_model import FORMS, convert_function
from facemask.core.run_names import refuse_another_kind
from facemask.data import images, manifest
from facemask.data.labelled_picture import GroundTruth
from facemask.detect import small_folder
from facemask.detect.faces import yunet
from facemask.detect.faces.face_boxes import scale_picture
from facemask.detect.precisions import LowerPrecision
from facemask.detect.two_stage import TwoStageDetector
from facemask.evaluation import evaluated_pictures
from facemask.evaluation.evaluated_pictures import PictureSource
from facemask.export import browser_networks
from facemask.export.quantisation_check import CALIBRATION, beside_reference, calibration_pictures, measure_map50
from facemask.face_training import onnx_in_tensorflow, yunet_network

MAX_POINTS_LOST = 0.2
"""Points of mAP@0.5 that both networks together may lose."""

UNMEASURED = "dynamic"
"""The form of both networks where no picture is labelled: int8 may lose too much, see docs/raspberry_pi.md."""

CROPS = 512
"""The most faces on which the classifier is calibrated."""


@dataclass(frozen=True)
class Source:
    """The detector to convert.

    Attributes:
        faces: The file of YuNet's network (.onnx).
        size: The longer side in pixels to which pictures are scaled for it.
        classifier: The exported classifier, which has the OpenVINO format.
        detector: Both, loaded.
        thresholds: The score of each class from which a box counts, by class.
        about: Its description in the results, as JSON values.
    """

    faces: Path
    size: int
    classifier: ExportedClassifier
    detector: TwoStageDetector
    thresholds: Mapping[str, float]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Pictures:
    """Photographs, read again at each call: RGB uint8 arrays of shape (height, width, 3).

    Attributes:
        name: Their source, for people.
        calibration: Those from which int8 takes the ranges of the activations.
        labelled: Others with their ground truth, to measure on; there may be none.
    """

    name: str
    calibration: Callable[[], Iterable[np.ndarray]]
    labelled: Callable[[], Iterable[tuple[np.ndarray, GroundTruth]]]


@dataclass(frozen=True)
class _Network:
    """A function of TensorFlow, the name, shape (None: any size) and type of its input, and inputs to calibrate on."""

    compute: Callable[[Any], Mapping[str, Any]]
    name: str
    shape: tuple[int | None, ...]
    kind: str
    samples: Callable[[], Iterable[np.ndarray]]


def refuse_early(target: Path) -> None:
    """Raise a UserError if another export is there, and a ModuleNotFoundError if a package is missing."""
    refuse_another_kind(target, small_folder.NAME, "the small one another name: NAME=")
    import ai_edge_litert  # noqa: F401
    import onnx  # noqa: F401


def find_pictures(given: Path | None, annotations: Path, default: Path, label_map: LabelMap) -> Pictures:
    """The given folder; otherwise the records (train to calibrate, val to measure), or the default folder.

    In a folder, every k-th picture calibrates, and the others are measured if there is Pascal VOC XML.

    Raises:
        UserError: There are no pictures, or the records have other classes.
    """
    if given is None and (annotations / manifest.NAME).is_file():
        evaluated_pictures.records_source(annotations, "train", label_map)
        val = PictureSource(annotations, "val")
        return Pictures(
            "val",
            lambda: calibration_pictures(annotations, label_map),
            lambda: evaluated_pictures.read_pictures(val, label_map),
        )
    folder = given or default
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in images.SUFFIXES)
    if not files:
        raise UserError(f"{folder}: no picture to calibrate int8 on. Give a folder of photographs: IMAGES=<folder>.")
    chosen = files[:: max(2, -(-len(files) // CALIBRATION))]

    def labelled() -> Iterator[tuple[np.ndarray, GroundTruth]]:
        if any(folder.rglob("*.xml")):
            names = {file.relative_to(folder).as_posix() for file in chosen}
            found = evaluated_pictures.read_pictures(PictureSource(folder), label_map)
            yield from (pair for pair in found if pair[1].name not in names)

    read = partial(images.read_image, advice="Take it out of the folder.")
    return Pictures(folder.name, lambda: map(read, chosen), labelled)


def write_small(
    source: Source, pictures: Pictures, target: Path, made: Mapping[str, Any], report: Callable[[str], None]
) -> None:
    """Write the folder, whole or not at all; see `small_folder`.

    Args:
        source: The detector to convert.
        pictures: What to calibrate and to measure on.
        target: The folder, `workspace/exported/<NAME>`.
        made: The provenance, from `provenance.made_by`.
        report: Called with each line for the user.

    Raises:
        UserError: The classifier is no MobileNetV2, no picture shows a face, or the two networks lose too much with one
            of them in float32 too.
    """
    networks = {"faces": _faces_network(source, pictures), "classifier": _classifier_network(source, pictures)}
    reference = None
    if any(len(truth.boxes) for _, truth in pictures.labelled()):
        reference = measure_map50(source.detector, pictures.labelled(), pictures.name)
    else:
        report(f"{pictures.name}: no labelled pictures to measure int8 on, so only the weights are in 8 bits")
    described = {}
    with replacing_folder(target) as beside:
        model = dataclasses.replace(source.classifier, folder=beside, run=target.name, metrics={}, alignments={})
        model.write(dict(made))
        for part, network in networks.items():
            tried: list[LowerPrecision] = []
            for form in FORMS if reference else (UNMEASURED,):
                file = beside / (small_folder.FACES if part == "faces" else classifier_tflite.FILES[form])
                write_bytes(file, _convert(network, form))
                if reference is None:
                    break
                classifier = source.detector.classifier
                if part == "classifier":
                    classifier = face_classifier.open_classifier(beside, "tflite", form)
                detector = TwoStageDetector(yunet.load_yunet([beside / small_folder.FACES], source.size), classifier)
                found = measure_map50(detector, pictures.labelled(), pictures.name)
                tried.append(beside_reference(form, found, reference, part, pictures.name, MAX_POINTS_LOST))
                report(f"{part} in {form}: {tried[-1]}{'' if tried[-1].allowed else ', too much: refused'}")
                if tried[-1].allowed:
                    break
                file.unlink()
            else:
                raise UserError(
                    f"{pictures.name}: with {part} in fp32 too, more than {MAX_POINTS_LOST} points are lost, so "
                    f"nothing was written. A few pictures cannot measure that: give more with IMAGES=<folder>."
                )
            described[part] = {
                "file": file.relative_to(beside).as_posix(),
                "form": form,
                "bytes": file.stat().st_size,
                "sha256": sha256(file),
                "tried": [dataclasses.asdict(one) for one in tried],
            }
        content = {
            "format": small_folder.FORMAT,
            "faces_size": source.size,
            "thresholds": dict(source.thresholds),
            "networks": described,
            "source": dict(source.about),
            "made": dict(made),
        }
        write_json(beside / small_folder.NAME, content)


def _faces_network(source: Source, pictures: Pictures) -> _Network:
    """YuNet: `pixels` as `yunet.to_pixels` makes them, with the axes (1, height, width, 3), to its outputs."""
    proto = yunet_network.read_onnx(source.faces)
    weights = yunet_network.read_weights(proto)

    def compute(pixels: Any) -> dict[str, Any]:
        import tensorflow as tf

        outputs = yunet_network.yunet_logits(proto, weights, pixels)
        return {name: one if name.startswith("bbox") else tf.sigmoid(one) for name, one in outputs.items()}

    def samples() -> Iterator[np.ndarray]:
        for image in pictures.calibration():
            for size in yunet.sizes_of(source.size):
                yield yunet.to_pixels(scale_picture(image, size)).transpose(0, 2, 3, 1)

    return _Network(compute, "pixels", (1, None, None, 3), "float32", samples)


def _classifier_network(source: Source, pictures: Pictures) -> _Network:
    """The classifier of the OpenVINO format, for one face: `crops` to `probabilities`."""
    model, faces = source.classifier, source.detector.faces
    if model.backbone != "mobilenet_v2":
        raise UserError(f"{model.folder}: is a {model.backbone}. Train a small one with BACKBONE=mobilenet_v2.")
    crops: list[np.ndarray] = []
    for image in pictures.calibration():
        [found] = faces.find([image])
        crops.extend(cut_faces(image, found.xyxy, model.margin, model.size))
    if not crops:
        raise UserError(f"{pictures.name}: no face in its pictures to calibrate on. Give others: IMAGES=<folder>.")
    inputs = crops[:: -(-len(crops) // CROPS)]
    proto = browser_networks.convert_network(openvino_model.read_network(model.openvino))
    compute = partial(onnx_in_tensorflow.compute_nodes, proto, onnx_in_tensorflow.read_constants(proto))
    return _Network(
        lambda batch: {"probabilities": compute(batch)["probabilities"]},
        "crops",
        (1, model.size, model.size, 3),
        "uint8",
        lambda: (crop[np.newaxis] for crop in inputs),
    )


def _convert(network: _Network, form: str) -> bytes:
    import tensorflow as tf

    owner = tf.Module()
    spec = tf.TensorSpec(network.shape, network.kind, name=network.name)
    owner.compute = tf.function(network.compute, input_signature=[spec])
    return convert_function(owner.compute.get_concrete_function(), owner, form, network.samples)
