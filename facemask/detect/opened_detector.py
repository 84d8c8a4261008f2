"""A detector ready for use: it tiles large pictures, and reports one box a face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import supervision as sv

from facemask.core.exported_model import read_exported_model
from facemask.core.label_map import LabelMap
from facemask.data.images import read_image
from facemask.detect.detector import RawDetector
from facemask.detect.runtimes import load_model
from facemask.detect.score_thresholds import above_thresholds, thresholds_by_class
from facemask.detect.tiling import detect_in_tiles

SAME_FACE = 0.5
"""The IoU from which two boxes of different classes are about one face. Of the 3,701 labelled faces of the photographs
(Kaggle, Face Mask Detection) a single pair overlaps as much as 0.3."""


@dataclass(frozen=True)
class OpenedDetector:
    """A `Detector` and a `RawDetector` that runs another `RawDetector` as all the steps use it.

    Both methods detect in large pictures as a whole and tile by tile (see `tiling.tile_side`).

    Attributes:
        raw: The detector.
        thresholds: The score of each class from which a box counts, by class, as the exported model carries them.
        slices: Tile pictures from `tiling.LARGE` pixels on, which takes two to four times as long. Otherwise
            only those of more than `tiling.HUGE` pixels are tiled.
    """

    raw: RawDetector
    thresholds: Mapping[str, float] = field(default_factory=dict)
    slices: bool = True

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        return self.raw.name

    @property
    def label_map(self) -> LabelMap:
        """See `Detector.label_map`."""
        return self.raw.label_map

    def without_slices(self) -> "OpenedDetector":
        """The same detector, which tiles only huge pictures."""
        return replace(self, slices=False)

    def detect(self, images: "Sequence[np.ndarray | str | Path]") -> list[sv.Detections]:
        """Find the faces in each picture: one box a face, of its best class.

        Args:
            images: uint8 arrays of shape (height, width, 3), RGB, each of any size; or the paths of picture files,
                which are read upright by their EXIF data.

        Returns:
            See `Detector.detect`.

        Raises:
            UserError: A file is missing, is not a picture, or is damaged.
            ValueError: An array is of another shape or type.
            TypeError: `images` is a single path. A single picture is a list of one.

        Example:
            >>> [detections] = detector.detect(["street.jpg"])
            >>> detections = detector.above_thresholds(detections)
            >>> detections.xyxy, detections["class_name"]
            (array([[412.6, 88.1, 471.9, 160.3]], dtype=float32), array(['with_mask'], dtype='<U21'))
        """
        return [one_box_per_face(found) for found in self.detect_all(images)]

    def above_thresholds(self, detections: sv.Detections) -> sv.Detections:
        """The detections that score at least the threshold of their class: `thresholds`, or else 0.5."""
        return above_thresholds(detections, thresholds_by_class(self.thresholds, self.label_map))

    def detect_all(self, images: "Sequence[np.ndarray | str | Path]") -> list[sv.Detections]:
        """Find all boxes in each picture, also several of different classes on one face, as evaluation needs them.

        Args:
            images: See `detect`.

        Returns:
            See `RawDetector.detect_all`.

        Raises:
            UserError: See `detect`.
            ValueError: See `detect`.
            TypeError: See `detect`.
        """
        if isinstance(images, (str, Path)):
            raise TypeError(f"give a list of pictures, also for a single one: [{str(images)!r}]")
        return detect_in_tiles(self.raw, [_as_array(image) for image in images], self.slices)


def one_box_per_face(detections: sv.Detections) -> sv.Detections:
    """Keep the best box of each face, whatever its class: a face has one state.

    Args:
        detections: The boxes of one picture.

    Returns:
        Those that no better one overlaps with an IoU of `SAME_FACE` or more, in their order.
    """
    if len(detections) < 2:  # supervision's NMS needs at least one box
        return detections
    return detections.with_nms(SAME_FACE, class_agnostic=True)


def open_detector(folder: str | Path, runtime: str = "auto", precision: str = "auto") -> OpenedDetector:
    """Load an exported model, ready for use.

    Args:
        folder: What `make export` wrote, `workspace/exported/<RUN>`.
        runtime: `openvino`, `onnx`, `tflite` or `tensorflow`; or `auto` for the fastest that is installed and that the
            model was exported for.
        precision: `fp32`, `bf16` or `int8`; or `auto`: fp32, but bf16 with OpenVINO on processors that compute it
            natively, if the export did not find that it costs accuracy. int8 only where it is named.

    Raises:
        UserError: No exported model in `folder`; or no such runtime or precision, or it is not installed.

    Example:
        >>> detector = open_detector("workspace/exported/default")
        >>> [detections] = detector.detect([image])
    """
    folder = Path(folder)
    model = read_exported_model(folder)
    return OpenedDetector(load_model(folder, runtime, precision), model.thresholds)


def _as_array(image: "np.ndarray | str | Path") -> np.ndarray:
    if isinstance(image, (str, Path)):
        return read_image(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture is a uint8 array of shape (height, width, 3), not {image.dtype} {image.shape}")
    return image
