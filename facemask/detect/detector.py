"""The interfaces of all detectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from facemask.core.label_map import LabelMap

if TYPE_CHECKING:
    import supervision as sv


class Detector(Protocol):
    """Finds faces in pictures, and how each wears its mask. Pictures, pages, video and prelabelling use it."""

    @property
    def name(self) -> str:
        """A name to display: the runtime and the precision."""
        ...

    @property
    def label_map(self) -> LabelMap:
        """Its classes."""
        ...

    def detect(self, images: Sequence[np.ndarray]) -> "list[sv.Detections]":
        """Find the faces in each picture: one box a face, of its best class.

        Args:
            images: uint8 arrays of shape (height, width, 3), RGB, each of any size.

        Returns:
            For each picture its n faces, whatever they score, best first: `xyxy`, float32 (n, 4), in pixels of the
            picture; `confidence`, float32 (n,), in 0..1; `class_id`, int (n,), as in the label map (from 1); and
            `data["class_name"]`, str (n,).
        """
        ...


class RawDetector(Protocol):
    """Finds boxes of every class: a runtime with a model, or several stages. Evaluation measures it."""

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        ...

    @property
    def label_map(self) -> LabelMap:
        """See `Detector.label_map`."""
        ...

    def detect_all(self, images: Sequence[np.ndarray]) -> "list[sv.Detections]":
        """Find all boxes in each picture: a face may have several, each of another class.

        Args:
            images: uint8 arrays of shape (height, width, 3), RGB, each of any size.

        Returns:
            For each picture all that the model reports, in the form of `Detector.detect`.
        """
        ...
