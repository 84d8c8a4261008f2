"""The action `snapshot`: a picture for an event, in which the faces are blurred."""

import time
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image

from facemask.core.files import replacing_file
from facemask.media.annotating import blur_boxes
from facemask.watch.watch_config import Snapshot

UNSURE = 0.05
"""A detection is blurred from this score on, long before it counts as a face: a blurred lamp does no harm."""

_NAME = "snapshot-{}.jpg"


def write_snapshot(action: Snapshot, event_id: str, image: np.ndarray, faces: sv.Detections) -> str:
    """Write the picture of an event and return its path.

    Args:
        action: The folder, and whether to blur.
        event_id: The event's id, which is in the file's name.
        image: The frame, RGB uint8 of shape (height, width, 3).
        faces: Everything that may be a face: all detections of the frame, and tracked faces that were not detected.

    Raises:
        OSError: It cannot be written.
    """
    picture = blur_boxes(image, faces) if action.blur and len(faces) else image
    path = action.folder / _NAME.format(event_id)
    with replacing_file(path) as beside:
        Image.fromarray(picture).save(beside, "JPEG", quality=85)
    return str(path)


def delete_snapshots_before(folder: Path, at: float) -> None:
    """Delete the snapshots of a folder, and nothing else, that are older than a time in seconds since 1970."""
    for path in folder.glob(_NAME.format("*")):
        if path.stat().st_mtime < min(at, time.time()):
            path.unlink(missing_ok=True)


def possible_faces(detected: sv.Detections, tracked: sv.Detections) -> sv.Detections:
    """All boxes that may be faces: of detections that score `UNSURE` or more, and of tracks. Only `xyxy` is filled."""
    sure = np.asarray(detected.confidence) >= UNSURE
    boxes = [np.asarray(detected.xyxy, np.float32).reshape(-1, 4)[sure], np.asarray(tracked.xyxy).reshape(-1, 4)]
    return sv.Detections(xyxy=np.concatenate(boxes).astype(np.float32))
