"""The cameras of a watch, each detected in its region: large frames in slices, if the machine is fast enough."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import supervision as sv

from facemask.detect.detector import Detector
from facemask.detect.slice_trial import LEAST_RATE, SliceTrial
from facemask.watch.watch_config import Camera


class SlicedCameras:
    """Detects in the region of each camera's frames, in slices or as a whole. Several threads may call it.

    With `slices: auto`, a camera is detected in slices if the time of a frame, multiplied by the number of cameras,
    leaves `LEAST_RATE` or more (see `SliceTrial`).
    """

    def __init__(
        self,
        whole: Detector,
        sliced: Detector,
        cameras: Sequence[Camera],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
        at_once: int = 1,
    ) -> None:
        """Detect with `sliced` where slices pay, and else with `whole`; `say` takes the choice, a line for people. That
        many frames are detected at the same time: `at_once`.
        """
        self._say = say
        self._cameras = {camera.name: camera for camera in cameras}
        self._detectors: dict[str, Detector] = {
            camera.name: SliceTrial(whole, sliced, partial(self._choose, camera.name), clock, at_once)
            if camera.slices == "auto"
            else (sliced if camera.slices else whole)
            for camera in cameras
        }

    def detect(self, name: str, image: np.ndarray) -> sv.Detections:
        """Detect in a frame of the camera of this name.

        Args:
            name: The camera's name.
            image: The frame, RGB uint8 of shape (height, width, 3).

        Returns:
            See `Detector.detect`; in pixels of the whole frame.
        """
        return detect_in_region(self._detectors[name], image, self._cameras[name])

    def _choose(self, name: str, sliced: float, whole: float) -> bool:
        count = len(self._cameras)
        if sliced * count <= 1 / LEAST_RATE:
            self._say(
                f"{name}: looks for small faces too, {sliced:.2f} s a frame instead of {whole:.2f} s "
                "(slices: false does not)"
            )
            return True
        cameras = f"{count} cameras" if count > 1 else "the camera"
        self._say(
            f"{name}: detects in the frame as a whole, {whole:.2f} s a frame; looking for small faces too takes "
            f"{sliced:.2f} s, which leaves {cameras} less than {LEAST_RATE:g} frames a second (slices: true does it). "
            "A region around the door finds them."
        )
        return False


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
