"""Search each picture at several sizes with YuNet, and join what was found by weighted boxes fusion.

Boxes that are found at only one size are more often false. Over the folds of docs/results.md, joined boxes have a
higher mAP than those of one size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from facemask.detect.box_matching import match_boxes
from facemask.detect.faces.face_boxes import to_faces
from facemask.detect.faces.yunet import MIN_SCORE, YuNet

MIN_IOU = 0.5
"""The IoU from which boxes that were found at two sizes show the same face."""


@dataclass(frozen=True)
class SeveralSizes:
    """A `FaceFinder` that runs one YuNet at several sizes.

    Attributes:
        finders: The network at each size, at least one.
    """

    finders: tuple[YuNet, ...]

    @property
    def name(self) -> str:
        """See `FaceFinder.name`."""
        return f"yunet {' and '.join(str(finder.sizes[0]) for finder in self.finders)} px"

    def at_twice_the_size(self) -> "SeveralSizes":
        """The same network for large pictures, scaled to twice the sizes."""
        return SeveralSizes(tuple(finder.at_twice_the_size() for finder in self.finders))

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        found = zip(*(finder.find(images) for finder in self.finders), strict=True)
        return [join_faces(one, image) for one, image in zip(found, images, strict=True)]


def join_faces(found: Sequence[sv.Detections], image: np.ndarray) -> sv.Detections:
    """Join the faces that several searches found in a picture (weighted boxes fusion, arXiv:1910.13302).

    Args:
        found: The faces of each search, at least one, `xyxy` in pixels of the picture.
        image: The picture.

    Returns:
        Best first, one box a face. Its score is the mean over all searches, 0 for one that did not find it. Its box is
        the mean of the boxes found, weighted by their scores. Faces below `yunet.MIN_SCORE` are left out.
    """
    total, sums = np.zeros(0), np.zeros((0, 4))
    for faces in found:
        scores = np.asarray(faces.confidence, float)
        weighted = faces.xyxy * scores[:, np.newaxis]
        joined = sv.Detections(xyxy=sums / total[:, np.newaxis], confidence=total)
        partner = match_boxes(faces, joined, MIN_IOU)
        paired = partner >= 0
        total[partner[paired]] += scores[paired]
        sums[partner[paired]] += weighted[paired]
        total, sums = np.concatenate([total, scores[~paired]]), np.concatenate([sums, weighted[~paired]])
    enough = total / len(found) >= MIN_SCORE
    return to_faces((sums / total[:, np.newaxis])[enough], total[enough] / len(found), image)
