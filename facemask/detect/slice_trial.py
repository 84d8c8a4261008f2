"""Decide whether large frames are detected in slices, by the time that the first of them take."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.detect.detector import Detector
from facemask.detect.tiling import tile_side

LEAST_RATE = 5.0
"""The detections a second that slices have to leave. With fewer, the tracks of people who walk break."""

TRIALS = 3
"""Large frames that are detected in both ways before the choice. The first, which is slower, does not count."""


class SliceTrial:
    """A `Detector` that detects its first large frames both in slices and as a whole, and then chooses, once.

    The results of the trial are those in slices. Small frames have no slices, and do not count. Several threads may
    call it; the frames of the trial are detected one after the other.

    Attributes:
        chosen: Whether large frames are detected in slices; None before the choice.
    """

    def __init__(
        self,
        whole: Detector,
        sliced: Detector,
        choose: Callable[[float, float], bool],
        clock: Callable[[], float] = time.perf_counter,
        at_once: int = 1,
    ) -> None:
        """Try two detectors.

        Args:
            whole: Detects in the frames as a whole.
            sliced: The same, which tiles large frames.
            choose: Takes the shortest time of a frame in slices and that of one as a whole, in seconds, divided by
                `at_once`. Says whether frames are detected in slices from then on.
            clock: Returns the present time in seconds.
            at_once: The number of frames that are detected at the same time, each on its share of the cores.
        """
        self.chosen: bool | None = None
        self._whole, self._sliced, self._choose, self._clock = whole, sliced, choose, clock
        self._at_once, self._trial = at_once, threading.Lock()
        self._times: list[tuple[float, float]] = []

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        return self._whole.name

    @property
    def label_map(self) -> LabelMap:
        """See `Detector.label_map`."""
        return self._whole.label_map

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        if self.chosen is None and tile_side(image.shape[1], image.shape[0]) is not None:
            with self._trial:
                if self.chosen is None:
                    return self._try(image)
        [found] = (self._sliced if self.chosen else self._whole).detect([image])
        return found

    def _try(self, image: np.ndarray) -> sv.Detections:
        begun = self._clock()
        [found] = self._sliced.detect([image])
        between = self._clock()
        self._whole.detect([image])
        self._times.append((between - begun, self._clock() - between))
        if len(self._times) == TRIALS:
            sliced, whole = (min(times) / self._at_once for times in zip(*self._times[1:], strict=True))
            self.chosen = self._choose(sliced, whole)
        return found
