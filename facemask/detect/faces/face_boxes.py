"""Functions that the face detectors share: scale a picture, and make `Detections` of boxes."""

from pathlib import Path

import numpy as np
import supervision as sv

from facemask.core import hardware
from facemask.core.errors import UserError

SAME_FACE = 0.3
"""The IoU from which two boxes show the same face. It is YuNet's own value (opencv/opencv_zoo, yunet.py)."""


def scale_picture(image: np.ndarray, size: int) -> np.ndarray:
    """A picture scaled to a longer side of `size` pixels."""
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized: np.ndarray = cv2.resize(image, target, interpolation=how)
    return resized


def to_faces(xyxy: np.ndarray, scores: np.ndarray, image: np.ndarray) -> sv.Detections:
    """Make the `Detections` of one picture.

    Args:
        xyxy: (n, 4) in pixels of the picture. Boxes are clipped to it, and empty boxes are left out.
        scores: (n,) in 0..1.
        image: The picture.

    Returns:
        Best first, one box a face.
    """
    height, width = image.shape[:2]
    clipped = np.clip(xyxy.reshape(-1, 4), 0, [width, height, width, height]).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    order = order[((clipped[:, 2:] - clipped[:, :2]) > 0).all(axis=1)[order]]
    faces = sv.Detections(xyxy=clipped[order], confidence=scores[order].astype(np.float32))
    # supervision's NMS needs at least one box.
    return faces.with_nms(SAME_FACE, class_agnostic=True) if len(faces) else faces


def limit_opencv_threads() -> None:
    """Let OpenCV use no more threads than the process has cores. It does not know every container's limit."""
    import cv2

    cv2.setNumThreads(hardware.usable_cores())


def cannot_load(path: Path, what: str, error: Exception) -> UserError:
    """The error for a file that cannot be loaded. The libraries' own errors name their source files and no reason."""
    reason = f" ({error})" if isinstance(error, ValueError | ImportError) else ": it is damaged or of another kind"
    return UserError(f"{path}: cannot be loaded as {what}{reason}. Give another with FACES_MODEL=<file>.")
