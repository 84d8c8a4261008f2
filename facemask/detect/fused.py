"""Combine the boxes of two detectors. A box that both detect scores higher than a box that one of them detects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.detect.box_matching import match_boxes
from facemask.detect.detector import RawDetector

MIN_IOU = 0.5
"""The IoU from which a box of each detector is about one face of one class."""
SHARE = 0.5
"""The first detector's share in a score."""


@dataclass(frozen=True)
class FusedDetector:
    """A `RawDetector` that joins the boxes of two by weighted boxes fusion (Solovyev et al. 2021, arXiv:1910.13302).

    A box of `first` and one of `second` that are about the same face and class become one: the first's box, with the
    mean of both scores, weighted by `SHARE`. A box that one detector alone has counts as if the other had scored it 0.

    Attributes:
        first: The detector whose boxes are kept: the one that draws them nearer to the labels.
        second: The other, with the same classes.
    """

    first: RawDetector
    second: RawDetector

    @property
    def name(self) -> str:
        """See `RawDetector.name`."""
        return f"{self.first.name}, fused with {self.second.name}"

    @property
    def label_map(self) -> LabelMap:
        """See `RawDetector.label_map`."""
        return self.first.label_map

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        pairs = zip(self.first.detect_all(images), self.second.detect_all(images), strict=True)
        return [self._fuse(first, second) for first, second in pairs]

    def _fuse(self, first: sv.Detections, second: sv.Detections) -> sv.Detections:
        partner = match_boxes(first, second, MIN_IOU)
        scores = SHARE * np.asarray(first.confidence, np.float32)
        paired = partner >= 0
        scores[paired] += (1 - SHARE) * np.asarray(second.confidence)[partner[paired]]
        alone = np.setdiff1d(np.arange(len(second)), partner)
        others = (1 - SHARE) * np.asarray(second.confidence, np.float32)[alone]
        scores = np.concatenate([scores, others]).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        ids = np.concatenate([np.asarray(first.class_id, int), np.asarray(second.class_id, int)[alone]])[order]
        return sv.Detections(
            xyxy=np.concatenate([first.xyxy, second.xyxy[alone]]).astype(np.float32)[order],
            confidence=scores[order],
            class_id=ids,
            data={"class_name": np.array([self.label_map.name_of(i) for i in ids], dtype=str)},
        )
