"""Tracks faces from frame to frame, so that their boxes and classes do not flicker."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap

FORGET = 1.0
"""Seconds after which the track of a face that is not found ends. The default of ByteTrack's authors: 30 frames at 30
per second (Zhang et al., ByteTrack, 2022, https://arxiv.org/abs/2110.06864)."""

FRAME_RATE = 30.0
"""Frames a second in whose units ByteTrack's Kalman filter has its velocities. The footage may have any rate."""

HOLD = 0.25
"""Seconds for which the box of a face that is not found is still drawn, at its predicted place."""

HALF_LIFE = 1.0
"""Seconds after which a frame has half its weight in the vote on a track's class."""

MOST_HALVINGS = 50.0
"""The most half-lives that a pause counts: after some 1,000 each vote would be 0, and the first class would win."""

WEAK = 0.5
"""A track accepts a detection from this share of the class's threshold on, as in ByteTrack's second association."""


@dataclass(frozen=True)
class Tracked:
    """The faces of one frame.

    Attributes:
        found: The detections, each with the number of its track, from 1, as `tracker_id`, and the class of the track.
            A face in its first frame has the number -1.
        held: Tracked faces that are not found in this frame, at their predicted places.
        detected: Whether the detector ran in this frame. If not, `found` and `held` are those of the last frame in
            which it did, moved to their predicted places.
    """

    found: sv.Detections
    held: sv.Detections
    detected: bool = True

    @property
    def all(self) -> sv.Detections:
        """`found` and `held` together."""
        if len(self.found) and len(self.held):
            return sv.Detections.merge([self.found, self.held])
        return self.found if len(self.found) else self.held


class Tracking:
    """ByteTrack, with a vote on the class of each track: the sum of its scores, weighted by age.

    Attributes:
        faces: The number of tracks by their latest class, every class included.
    """

    def __init__(self, label_map: LabelMap, thresholds: "np.ndarray | list[float] | tuple[float, ...]") -> None:
        """Track faces whose score reaches the threshold of their class; `thresholds` are in the order of the ids."""
        from trackers import ByteTrackTracker

        self._names = np.array(label_map.names)
        self._thresholds = np.clip(np.asarray(thresholds, float), 1e-6, 1 - 1e-6)
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(FORGET * FRAME_RATE),
            frame_rate=FRAME_RATE,
            track_activation_threshold=0.5,
            high_conf_det_threshold=0.5,
            minimum_consecutive_frames=1,
        )
        self._votes: dict[int, np.ndarray] = {}
        self._scores: dict[int, float] = {}
        self._ended = np.zeros(len(self._names), int)
        self._before: float | None = None
        nothing = self._boxes([], [], [], [])
        self._last = Tracked(nothing, nothing)

    @property
    def faces(self) -> dict[str, int]:
        """The number of tracked faces by the latest class of their tracks, every class included."""
        counts = self._ended.copy()
        for vote in self._votes.values():
            counts[vote.argmax()] += 1
        return dict(zip(map(str, self._names), map(int, counts), strict=True))

    def update(self, detections: sv.Detections, time: float) -> Tracked:
        """Track the faces of the next frame.

        Args:
            detections: All detections of the frame, of any score: one box for each face.
            time: The frame's time in seconds; later than the last frame's.
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
        followed = self._tracker.update(candidates, timestamp=time)
        decay = 1.0 if self._before is None else 0.5 ** min((time - self._before) / HALF_LIFE, MOST_HALVINGS)
        self._before = time
        for vote in self._votes.values():
            vote *= decay
        found = self._found(followed) if len(followed) else self._boxes([], [], [], [])
        self._forget()
        self._last = Tracked(found, self._held(set(map(int, followed.tracker_id))))
        return self._last

    def predict(self, time: float) -> Tracked:
        """Move the faces of the last `update` to a later time, with the velocities of their tracks. Changes no track.

        A face without a track, as in its first frame, does not move.

        Args:
            time: The frame's time in seconds; not earlier than that of the last update.
        """
        elapsed = 0.0 if self._before is None else time - self._before
        tracks = {int(track.tracker_id) + 1: track for track in self._tracker.tracks if track.tracker_id >= 0}
        late = {number for number, track in tracks.items() if track.time_since_update_seconds + elapsed > HOLD}
        held = self._last.held[np.array([int(number) not in late for number in self._last.held.tracker_id], bool)]
        return Tracked(_moved(self._last.found, tracks, elapsed), _moved(held, tracks, elapsed), detected=False)

    def _found(self, followed: sv.Detections) -> sv.Detections:
        # A detection without a number is a new face, or one too weak to begin a track.
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
        """Count ended tracks and drop their votes, so that memory does not grow with the length of a video."""
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


def _moved(faces: sv.Detections, tracks: dict[int, Any], seconds: float) -> sv.Detections:
    """The faces moved by what their tracks' Kalman filters predict for so many seconds later."""
    xyxy = faces.xyxy.copy()
    for i, number in enumerate(map(int, faces.tracker_id)):
        if number in tracks:
            estimator = tracks[number].state_estimator
            now, state = estimator.state_to_bbox(), estimator.get_state()
            estimator.predict(seconds * FRAME_RATE, FRAME_RATE)
            xyxy[i] += estimator.state_to_bbox() - now
            estimator.set_state(state)
    return dataclasses.replace(faces, xyxy=xyxy)


def _relative(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Map scores to a scale on which 0.5 is the threshold of every class, linear on both sides.

    ByteTrack takes a single threshold.
    """
    below, above = 0.5 * scores / thresholds, 0.5 + 0.5 * (scores - thresholds) / (1 - thresholds)
    return np.asarray(np.where(scores < thresholds, below, above))
