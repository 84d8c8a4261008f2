"""A picture in, boxes out: what every detector does, and which of them runs an exported model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scripts.dataset.label_map import LabelMap
from scripts.support.errors import UserError
from scripts.tfod import exported

if TYPE_CHECKING:
    import supervision as sv

RUNTIMES = ("tensorflow",)


class Detector(Protocol):
    """Finds faces in pictures and says how they wear their masks."""

    @property
    def name(self) -> str:
        """What runs it, for people: the runtime and the precision."""
        ...

    @property
    def label_map(self) -> LabelMap:
        """Its classes."""
        ...

    def detect(self, images: Sequence[np.ndarray]) -> "list[sv.Detections]":
        """Find the faces in each picture.

        Args:
            images: uint8 arrays of shape (height, width, 3), RGB, each of any size.

        Returns:
            For each picture all that the model reports, whatever its score, best first: `xyxy` in pixels of the
            picture, `confidence` in 0..1, `class_id` as in the label map (from 1), and `data["class_name"]`.
        """
        ...


def open_detector(folder: Path, runtime: str = "auto") -> Detector:
    """Load an exported model.

    Args:
        folder: What `make export` wrote, `workspace/exported/<RUN>`.
        runtime: One of `RUNTIMES`, or `auto` for the fastest that is there.

    Raises:
        UserError: No exported model in `folder`, an unknown runtime, or one that is not installed.

    Example:
        >>> detector = open_detector(Path("workspace/exported/default"))
        >>> [detections] = detector.detect([image])
    """
    model = exported.read(folder)
    if runtime not in (*RUNTIMES, "auto"):
        raise UserError(f"no runtime {runtime!r}. There are: auto, {', '.join(RUNTIMES)}.")
    from scripts.detect.runtimes import tensorflow

    return tensorflow.load(model)
