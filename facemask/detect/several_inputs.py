"""One network at several input sizes. A smaller one sees more of what surrounds a face, a larger one smaller faces.

Over the folds of docs/results.md, the boxes of two sizes together have a higher mAP than those of either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.detect.box_matching import join_boxes
from facemask.detect.detector import RawDetector


@dataclass(frozen=True)
class SeveralInputs:
    """A `RawDetector` of one network with several input sizes: `make export SIZE=960,640`.

    Attributes:
        detectors: The network at each size, at least one.
    """

    detectors: tuple[RawDetector, ...]

    @property
    def name(self) -> str:
        """See `RawDetector.name`."""
        return f"{self.detectors[0].name} at {len(self.detectors)} sizes"

    @property
    def label_map(self) -> LabelMap:
        """See `RawDetector.label_map`."""
        return self.detectors[0].label_map

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        found = (detector.detect_all(images) for detector in self.detectors)
        return [join_boxes(parts) for parts in zip(*found, strict=True)]
