"""YuNet, a small network for faces of some 10 to 300 pixels. OpenVINO runs it in less than half of OpenCV's time.

It searches a picture twice: at full size for small faces, and at a third of that size for faces that fill the picture.

At each cell of its three grids (of 8, 16 and 32 pixels) the network gives the two factors of a score, and the box's
centre and sides relative to the cell (Wu et al. 2023, doi:10.1007/s11633-023-1423-y; opencv/opencv,
modules/objdetect/src/face_detect.cpp, decodes them in the same way, but takes the square root of the score). The score
is the product of both factors: over the folds of docs/results.md, boxes that it ranks have a higher mAP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.core import openvino_model, telemetry
from facemask.detect.faces import yunet_litert
from facemask.detect.faces.face_boxes import SAME_FACE, cannot_load, scale_picture, to_faces

FILE = "YuNet's network (.onnx or .tflite)"

TRAINED = "yunet.onnx"
"""The file in the folder of an exported face detector, which `make faces` writes."""

MIN_SCORE = 0.04
"""Boxes that score less are left out: each costs the classifier's time, and few are faces."""

SMALLER = 3
"""The picture is smaller by this factor in the second search, which is left out below `SMALLEST` pixels."""

SMALLEST = 160

STRIDES = (8, 16, 32)
"""The sides in pixels of a cell in the network's grids."""


@dataclass(frozen=True)
class YuNet:
    """A `FaceFinder` that runs YuNet on the picture scaled to each of `sizes`.

    `compiled` is OpenVINO's `CompiledModel` or a `LitertYuNet`.
    """

    name: str
    sizes: tuple[int, ...]
    compiled: Any

    def at_twice_the_size(self) -> "YuNet":
        """The same network for large pictures, scaled to twice the size."""
        return self.at_size(2 * self.sizes[0])

    def at_size(self, size: int) -> "YuNet":
        """The same network for pictures scaled to another longer side in pixels."""
        return YuNet(self.name.replace(str(self.sizes[0]), str(size)), sizes_of(size), self.compiled)

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        return [self._find(image) for image in images]

    def _find(self, image: np.ndarray) -> sv.Detections:
        looks, source = [], image
        for size in self.sizes:
            scaled = scale_picture(source, size)
            looks.append(self._look(image, scaled))
            if size < max(image.shape[:2]):
                source = scaled  # a frame of 1920x1080 has nine times its pixels, and takes as much longer to reduce
        boxes, scores = (np.concatenate(parts) for parts in zip(*looks, strict=True))
        return to_faces(boxes, scores, image)

    def _look(self, image: np.ndarray, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The boxes, (n, 4) in pixels of the picture, and their scores, that the network finds in it scaled."""
        height, width = scaled.shape[:2]
        pixels = to_pixels(scaled)
        # A request for each call, so that threads can call this at the same time.
        request = self.compiled.create_infer_request()
        request.infer([pixels])
        parts = [decode_grid(request, stride, pixels.shape[3] // stride) for stride in STRIDES]
        xyxy, scores = (np.concatenate(values) for values in zip(*parts, strict=True))
        if len(scores):
            faces = sv.Detections(xyxy=xyxy, confidence=scores, class_id=np.zeros(len(scores), int)).with_nms(SAME_FACE)
            xyxy, scores = faces.xyxy, np.asarray(faces.confidence)
        # Rounding can scale a thin picture's sides differently.
        return xyxy * np.tile([image.shape[1] / width, image.shape[0] / height], 2), scores


def to_pixels(scaled: np.ndarray) -> np.ndarray:
    """The network's input for a picture, uint8 (height, width, 3) RGB: float32 (1, 3, h, w), BGR in 0..255.

    The sides are filled up with 0 to multiples of the largest stride.
    """
    height, width = scaled.shape[:2]
    pixels = np.zeros((1, 3, height + -height % STRIDES[-1], width + -width % STRIDES[-1]), np.float32)
    pixels[0, :, :height, :width] = scaled[:, :, ::-1].transpose(2, 0, 1)
    return pixels


def decode_grid(request: Any, stride: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode the boxes of one grid.

    Args:
        request: Has the network's outputs: `get_tensor(name).data`.
        stride: The side of a cell in pixels.
        columns: Cells in a row of the grid.

    Returns:
        (n, 4) xyxy in pixels of the network's input, and (n,) scores, of those that score `MIN_SCORE` or more.
    """
    faces, objects = (request.get_tensor(f"{name}_{stride}").data[0, :, 0] for name in ("cls", "obj"))
    scores = faces.clip(0, 1) * objects.clip(0, 1)
    [cells] = np.nonzero(scores >= MIN_SCORE)
    boxes = request.get_tensor(f"bbox_{stride}").data[0, cells]
    centres = (np.stack([cells % columns, cells // columns], axis=1) + boxes[:, :2]) * stride
    halves = np.exp(boxes[:, 2:]) * stride / 2
    xyxy = np.concatenate([centres - halves, centres + halves], axis=1)
    finite = np.isfinite(xyxy).all(axis=1)
    return xyxy[finite], scores[cells][finite]


def with_companions(given: Path | None) -> tuple[Path, ...]:
    """The network alone."""
    assert given is not None  # no library brings one
    return (given,)


def load_yunet(files: Sequence[Path], size: int) -> YuNet:
    """Load the network: into LiteRT if it is a .tflite file, otherwise into OpenVINO.

    Raises:
        UserError: The file is not YuNet's network, or its runtime is not installed.
    """
    if files[0].suffix == ".tflite":
        return YuNet(f"yunet {size} px tflite", sizes_of(size), yunet_litert.load_litert_yunet(files[0]))
    telemetry.refuse_telemetry()
    try:
        import openvino as ov

        network = ov.Core().read_model(files[0])
        network.reshape([1, 3, -1, -1])
        for stride in STRIDES:
            for name in ("cls", "obj", "bbox"):
                network.output(f"{name}_{stride}")
        compiled = openvino_model.compile_network(network, in_bf16=False)
    except (ImportError, RuntimeError) as error:
        raise cannot_load(files[0], "YuNet", error) from None
    return YuNet(f"yunet {size} px", sizes_of(size), compiled)


def sizes_of(size: int) -> tuple[int, ...]:
    """The sizes of all searches, given the size of the first."""
    return (size, size // SMALLER) if size // SMALLER >= SMALLEST else (size,)
