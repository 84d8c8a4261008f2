"""Faces followed from frame to frame, so that their boxes and classes do not flicker."""

from dataclasses import dataclass

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap

FORGET = 1.0
"""Seconds after which a face that was not seen any more is a new one: the default of ByteTrack's authors, 30 frames at
30 a second (Zhang et al., ByteTrack, 2022, https://arxiv.org/abs/2110.06864)."""

HOLD = 0.25
"""Seconds for which the box of a face that is not found is drawn on, where it is expected."""

HALF_LIFE = 1.0
"""Seconds after which a frame counts half in the vote over a track's class."""

SAME_FACE = 0.5
"""The IoU from which two boxes of one frame, of whatever classes, are about one face."""

WEAK = 0.5
"""A face that is followed is found again at this share of its class's threshold, as in ByteTrack's second round."""


@dataclass(frozen=True)
class Tracked:
    """The faces of one frame.

    Attributes:
        found: The detections, each with its track's number (from 1) as `tracker_id`, and the class of the track. -1
            is a face that appears in this frame.
        held: Faces that are followed and not found in this frame, where they are expected.
    """

    found: sv.Detections
    held: sv.Detections

    @property
    def all(self) -> sv.Detections:
        """Both."""
        if len(self.found) and len(self.held):
            return sv.Detections.merge([self.found, self.held])
        return self.found if len(self.found) else self.held


class Tracking:
    """ByteTrack, and a vote over the class of each track: scores of its frames, the older the less they count.

    Attributes:
        faces: How many tracks of each class ended up with it, in the order of the ids.
    """

    def __init__(self, label_map: LabelMap, thresholds: "np.ndarray | list[float] | tuple[float, ...]") -> None:
        """Follow what scores its class's threshold, in the order of the ids, and nothing that never did."""
        from trackers import ByteTrackTracker

        self._names = np.array(label_map.names)
        self._thresholds = np.clip(np.asarray(thresholds, float), 1e-6, 1 - 1e-6)
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(FORGET * 30),
            track_activation_threshold=0.5,
            high_conf_det_threshold=0.5,
            minimum_consecutive_frames=1,
        )
        self._votes: dict[int, np.ndarray] = {}
        self._scores: dict[int, float] = {}
        self._ended = np.zeros(len(self._names), int)
        self._before: float | None = None

    @property
    def faces(self) -> dict[str, int]:
        """How many faces were followed, by the class that their track ended with, every class in it."""
        counts = self._ended.copy()
        for vote in self._votes.values():
            counts[vote.argmax()] += 1
        return dict(zip(map(str, self._names), map(int, counts), strict=True))

    def update(self, detections: sv.Detections, time: float) -> Tracked:
        """Take the next frame.

        Args:
            detections: All that the detector reports, whatever its score.
            time: The frame's, in seconds; later than the one before.
        """
        ids = np.asarray(detections.class_id, int)
        scores = np.asarray(detections.confidence, float)
        relative = _relative(scores, self._thresholds[ids - 1])
        candidates = sv.Detections(
            xyxy=np.asarray(detections.xyxy, float).reshape(-1, 4),
            confidence=relative,
            class_id=ids,
            data={"score": scores},
        )[relative >= 0.5 * WEAK]
        if len(candidates):
            candidates = candidates.with_nms(SAME_FACE, class_agnostic=True)
        followed = self._tracker.update(candidates, timestamp=time)
        decay = 1.0 if self._before is None else 0.5 ** ((time - self._before) / HALF_LIFE)
        self._before = time
        for vote in self._votes.values():
            vote *= decay
        found = self._found(followed) if len(followed) else self._boxes([], [], [], [])
        self._forget()
        return Tracked(found, self._held(set(map(int, followed.tracker_id))))

    def _found(self, followed: sv.Detections) -> sv.Detections:
        # Without a number: what appears now, or is too weak to be a face that nobody followed.
        followed = followed[(followed.tracker_id >= 0) | (followed.confidence >= 0.5)]
        scores = np.asarray(followed.data["score"], float)
        classes = np.asarray(followed.class_id, int) - 1
        for i, track in enumerate(map(int, followed.tracker_id)):
            if track >= 0:
                vote = self._votes.setdefault(track, np.zeros(len(self._names)))
                vote[classes[i]] += scores[i]
                self._scores[track] = float(scores[i])
                classes[i] = vote.argmax()
        return self._boxes(followed.xyxy, scores, classes, followed.tracker_id)

    def _held(self, found: set[int]) -> sv.Detections:
        tracks = [
            track
            for track in self._tracker.tracks
            if track.tracker_id in self._votes
            and track.tracker_id not in found
            and track.time_since_update_seconds <= HOLD
        ]
        ids = [int(track.tracker_id) for track in tracks]
        boxes = [track.get_state_bbox() for track in tracks]
        return self._boxes(boxes, [self._scores[i] for i in ids], [self._votes[i].argmax() for i in ids], ids)

    def _forget(self) -> None:
        """Drop what is kept of tracks that ended, so that hours of faces take no more memory than those in sight."""
        alive = {int(track.tracker_id) for track in self._tracker.tracks}
        for track in [track for track in self._votes if track not in alive]:
            self._ended[self._votes.pop(track).argmax()] += 1
            del self._scores[track]

    def _boxes(self, xyxy: object, scores: object, classes: object, ids: object) -> sv.Detections:
        index, numbers = np.asarray(classes, int), np.asarray(ids, int)
        return sv.Detections(
            xyxy=np.asarray(xyxy, np.float32).reshape(-1, 4),
            confidence=np.asarray(scores, np.float32),
            class_id=index + 1,
            tracker_id=np.where(numbers < 0, numbers, numbers + 1),
            data={"class_name": self._names[index]},
        )


def _relative(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Scores on a scale that is the same for all classes: 0.5 at the threshold, linear to 0 and 1 at both sides of it.

    ByteTrack knows one threshold only.
    """
    below, above = 0.5 * scores / thresholds, 0.5 + 0.5 * (scores - thresholds) / (1 - thresholds)
    return np.where(scores < thresholds, below, above)
