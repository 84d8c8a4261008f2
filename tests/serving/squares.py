"""A detector that needs no model, and a server with it: `python squares.py --host 127.0.0.1`."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image

from facemask.core.label_map import LabelMap

CLASSES = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))

COLORS = ((255, 0, 0), (0, 0, 255), (255, 0, 255))
"""What is a face of each class: a rectangle of this colour, one at most of each."""

SCORES = (0.9, 0.6, 0.3)

THRESHOLDS = (0.5, 0.5, 0.5)

ABOUT = {"run": "squares", "model": "squares", "steps": 7, "config_sha256": "0"}

BREAKS = 77
"""A picture of this width breaks the detector."""


class Squares:
    """Finds rectangles of the `COLORS`."""

    name = "squares fp32"
    label_map = CLASSES

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        return [self._detect(image) for image in images]

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """Each rectangle twice, on the very same box: the second time of another class, with a lower score."""
        return [_doubled(found) for found in self.detect(images)]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        if image.shape[1] == BREAKS:
            raise RuntimeError("the detector broke")
        boxes, ids = [], []
        for class_id, color in enumerate(COLORS, 1):
            ys, xs = np.nonzero((np.abs(image.astype(int) - color) < 60).all(axis=2))
            if len(xs) > 20:
                boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
                ids.append(class_id)
        return sv.Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            confidence=np.array([SCORES[i - 1] for i in ids], np.float32),
            class_id=np.array(ids, int),
            data={"class_name": np.array([CLASSES.name_of(i) for i in ids], dtype=str)},
        )


def _doubled(found: sv.Detections) -> sv.Detections:
    ids = np.asarray(found.class_id) % len(CLASSES) + 1
    other = sv.Detections(
        xyxy=found.xyxy,
        confidence=np.asarray(found.confidence) - np.float32(0.05),
        class_id=ids,
        data={"class_name": np.array([CLASSES.name_of(i) for i in ids], dtype=str)},
    )
    return sv.Detections.merge([found, other]) if len(found) else found


def picture(width: int = 200, height: int = 150, classes: Sequence[int] = (1, 2, 3)) -> np.ndarray:
    """A grey picture with a square of 20 pixels for each class, from x = 10, 40, 70 and y = 10 on."""
    image = np.full((height, width, 3), 127, np.uint8)
    for class_id in classes:
        image[10:30, 30 * class_id - 20 : 30 * class_id] = COLORS[class_id - 1]
    return image


def encoded(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    import argparse

    from facemask.core import command_line
    from facemask.core.errors import UserError
    from facemask.detect.opened_detector import OpenedDetector
    from facemask.serving import server
    from facemask.serving.detection_service import Limits
    from facemask.serving.label_studio_pictures import open_pictures

    def squares() -> OpenedDetector:
        return OpenedDetector(Squares())

    def missing() -> OpenedDetector:
        raise UserError("another: is not installed.")

    def main(host: str, label_studio: str, label_studio_token: Path | None, statistics: Path | None) -> None:
        openers = {"auto": squares, "squares": squares, "missing": missing}
        pictures = open_pictures(label_studio, label_studio_token, None)
        settings = server.ServerSettings(os.environ.get("SQUARES_TOKEN"), pictures, statistics)
        server.serve(openers, ABOUT, server.Address(host, 0), Limits(megabytes=2), THRESHOLDS, settings)

    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--label-studio", default="")
    parser.add_argument("--label-studio-token", type=Path)
    parser.add_argument("--statistics", type=Path)
    given = parser.parse_args()
    command_line.run_command(main, given.host, given.label_studio, given.label_studio_token, given.statistics)
