"""Whether the frames of a camera are detected in slices: where they are large, and the machine is fast enough."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import supervision as sv

from facemask.detect.detector import Detector
from facemask.detect.tiling import tile_side
from facemask.watch.watch_config import Camera

LEAST_RATE = 5.0
"""The frames per second of each camera that slices have to leave. With fewer, the tracks of people who walk break."""

TRIALS = 3
"""Frames of each camera that are detected in slices before the choice. The first, which is slower, does not count."""


class SlicedCameras:
    """Detects in the region of each camera's frames, in slices or as a whole. One thread calls it.

    With `slices: auto`, the first frames of a camera are detected in slices. If their shortest time, multiplied by the
    number of cameras, leaves less than `LEAST_RATE`, the frames are detected as a whole from then on.
    """

    def __init__(
        self,
        whole: Detector,
        sliced: Detector,
        cameras: Sequence[Camera],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Detect with `sliced` where slices pay, and else with `whole`; `say` takes the choice, a line for people."""
        self._whole, self._sliced, self._say, self._clock = whole, sliced, say, clock
        self._cameras = {camera.name: camera for camera in cameras}
        self._times: dict[str, list[float]] = {camera.name: [] for camera in cameras}
        self._chosen = {camera.name: camera.slices for camera in cameras if isinstance(camera.slices, bool)}

    def detect(self, name: str, image: np.ndarray) -> sv.Detections:
        """Detect in a frame of the camera of this name.

        Args:
            name: The camera's name.
            image: The frame, RGB uint8 of shape (height, width, 3).

        Returns:
            See `Detector.detect`; in pixels of the whole frame.
        """
        camera = self._cameras[name]
        chosen = self._chosen.get(name)
        if chosen is not None:
            return detect_in_region(self._sliced if chosen else self._whole, image, camera)
        left, top, right, bottom = region_pixels(image, camera)
        if tile_side(right - left, bottom - top) is None:
            return detect_in_region(self._whole, image, camera)
        begun = self._clock()
        found = detect_in_region(self._sliced, image, camera)
        self._times[name].append(self._clock() - begun)
        if len(self._times[name]) == TRIALS:
            self._choose(name, min(self._times[name][1:]))
        return found

    def _choose(self, name: str, seconds: float) -> None:
        count = len(self._cameras)
        self._chosen[name] = seconds * count <= 1 / LEAST_RATE
        if self._chosen[name]:
            self._say(f"{name}: looks for small faces too, {seconds:.2f} s a frame (slices: false is faster)")
        else:
            cameras = f"{count} cameras" if count > 1 else "the camera"
            self._say(
                f"{name}: detects in the frame as a whole; looking for small faces too takes {seconds:.2f} s a frame, "
                f"which leaves {cameras} less than {LEAST_RATE:g} frames a second. A region around the door finds them."
            )


def region_pixels(image: np.ndarray, camera: Camera) -> tuple[int, int, int, int]:
    """The camera's region of a frame: left, top, right, bottom in pixels, at least one pixel wide and high."""
    height, width = image.shape[:2]
    left, top, right, bottom = (np.array(camera.region) * (width, height, width, height)).round().astype(int).tolist()
    return left, top, max(right, left + 1), max(bottom, top + 1)


def detect_in_region(detector: Detector, image: np.ndarray, camera: Camera) -> sv.Detections:
    """Detect in the camera's region of a frame.

    Args:
        detector: The detector.
        image: The frame, RGB uint8 of shape (height, width, 3).
        camera: Its configuration.

    Returns:
        See `Detector.detect`; in pixels of the whole frame.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = region_pixels(image, camera)
    if (left, top, right, bottom) == (0, 0, width, height):
        [found] = detector.detect([image])
        return found
    [found] = detector.detect([np.ascontiguousarray(image[top:bottom, left:right])])
    found.xyxy = found.xyxy + np.array([left, top, left, top], np.float32)
    return found
