"""What all face detectors share: the scale that they see a picture at, and boxes turned into `Detections`."""

from pathlib import Path

import numpy as np
import supervision as sv

from scripts.support.errors import UserError

SAME_FACE = 0.3
"""The IoU from which two boxes are about one face: YuNet's own (opencv/opencv_zoo, yunet.py), lower than a detector's
of several classes, since two faces hide each other less than a face and its doubled box."""


def scaled(image: np.ndarray, size: int) -> np.ndarray:
    """A picture scaled to a longer side of `size` pixels."""
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, target, interpolation=how)


def to_faces(xyxy: np.ndarray, scores: np.ndarray, image: np.ndarray) -> sv.Detections:
    """Make the `Detections` of one picture.

    Args:
        xyxy: (n, 4) in pixels of the picture; what lies outside it is cut off, what is empty then is left out.
        scores: (n,) in 0..1.
        image: The picture.

    Returns:
        Best first, each face once.
    """
    height, width = image.shape[:2]
    clipped = np.clip(xyxy.reshape(-1, 4), 0, [width, height, width, height]).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    order = order[((clipped[:, 2:] - clipped[:, :2]) > 0).all(axis=1)[order]]
    faces = sv.Detections(xyxy=clipped[order], confidence=scores[order].astype(np.float32))
    # An empty one is what it is; supervision's NMS wants at least one box.
    return faces.with_nms(SAME_FACE, class_agnostic=True) if len(faces) else faces


def cannot_load(path: Path, what: str, error: Exception) -> UserError:
    """OpenCV refused a file; its own message is long and names its source files."""
    reason = " ".join(str(error).split()).rpartition("error: ")[2] or type(error).__name__
    return UserError(f"{path}: OpenCV cannot load it as {what} ({reason[:200]}). Give another with FACES_MODEL=<file>.")
