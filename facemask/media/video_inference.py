"""Run a detector and a tracker on videos, cameras and streams. Results: an MP4, a table, a window.

Threads work on different frames at the same time: one decodes, one decides in which frames to detect, one or two
detect, the main thread tracks, one draws and writes the table, one encodes.

`clip.mov` gives, in `workspace/predictions/<RUN>/`, `clip.mp4`, `clip.csv` (`writing.FRAME_COLUMNS`), and `clip.json`
with the source and the provenance:

    {
      "format": 1,
      "source": {"name": "clip.mov", "live": false, "width": 1280, "height": 720, "frames": 250, "seconds": 9.96,
                 "detected": 250, "missed": 0, "stopped": false, "troubles": 0},
      "faces": {"with_mask": 3, "without_mask": 1, "mask_weared_incorrect": 0},
      "results": ["clip.mp4", "clip.csv"],
      "made": {provenance}
    }
"""

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import supervision as sv

from facemask.core import command_line, provenance, signals
from facemask.core.colours import picture_colour
from facemask.core.errors import UserError
from facemask.core.files import replacing_file, write_json
from facemask.detect.detector import Detector
from facemask.detect.slice_trial import LEAST_RATE, SliceTrial
from facemask.media import annotating, detection_pace, media_progress, mp4, prefetch, writing
from facemask.media.detection_pace import DetectionPace
from facemask.media.footage import Footage, Frame
from facemask.media.tracking import Tracked, Tracking
from facemask.media.window import Window

FORMAT = 1

AHEAD = 4
"""The most frames of a file that wait for the detector."""

LIVE_AHEAD = 12
"""The most frames of a camera or stream that wait while the detector runs, if it need not run in each frame. Otherwise
only the newest frame waits."""

IN_WORK = 4
"""The most frames that wait to be tracked, those in which the detector runs among them. With fewer, the second thread
would have none to detect in while the tracking waits for the first."""

BEHIND = 2
"""The most frames that wait to be drawn, and to be encoded."""

_RECENT = 500

_SMALL = 500
"""Frames whose longer side is shorter than this, in pixels, are drawn enlarged. The limit is lower than that of
pictures because enlarging takes time."""


@dataclass(frozen=True)
class FootageSummary:
    """The result of an inference on footage.

    Attributes:
        results: The files written.
        faces: The number of tracked faces by the latest class of their tracks, every class included.
        frames: The number of frames in the results.
        detected: The number of them in which the detector ran.
        seconds: The time from the first to the last of them.
        missed: The number of frames of a camera or stream that were dropped because they came too fast.
        troubles: The number of warnings.
        broken: Parts of a file could not be decoded.
        milliseconds: The median time of a detection, without the first; None if there was only one.
        runtime: The name of the runtime and the precision.
        signal: The number of the signal that ended the inference, or None.
    """

    results: tuple[Path, ...]
    faces: dict[str, int]
    frames: int
    detected: int
    seconds: float
    missed: int
    troubles: int
    broken: bool
    milliseconds: float | None
    runtime: str
    signal: int | None

    def text(self) -> str:
        """The summary for people, a few lines."""
        counts = ", ".join(f"{count} {name}" for name, count in self.faces.items())
        speed = "" if self.milliseconds is None else f", {self.milliseconds:.0f} ms a detection"
        missed = f", {self.missed} missed" if self.missed else ""
        detected = f", detected in {self.detected}" if self.detected < self.frames else ""
        lines = [
            f"{self.frames} frame{'s' * (self.frames != 1)} of {self.seconds:.1f} s{missed}{detected}; faces tracked: "
            f"{counts} ({self.runtime}{speed})"
        ]
        if self.results:
            lines.append(f"results in {', '.join(map(str, self.results))}")
        if self.broken:
            lines.append("parts of the file could not be decoded and were left out; see above")
        if self.signal is not None:
            lines.append("stopped early: the results hold the frames until then")
        return "\n".join(lines)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        if self.signal is not None:
            return signals.exit_code(self.signal)
        return command_line.USER_ERROR if self.broken else 0


def infer_footage(
    detector: Detector,
    about: dict[str, Any],
    footage: Footage,
    folder: Path,
    thresholds: Sequence[float],
    kinds: frozenset[str] = frozenset(["image", "csv"]),
    blur: bool = False,
    show: bool = False,
    seconds: float = 0.0,
    detect_every: int | None = 1,
    sliced: Detector | None = None,
    at_once: int = 1,
) -> FootageSummary:
    """Detect and track faces, and write the results (see the module's docstring).

    Ctrl-C, SIGTERM, or closing the window ends the inference; the results then hold the frames until there.

    Args:
        detector: The detector.
        about: The description of the model for the results (`detector_choice.ChosenDetector.model`).
        footage: The source of the frames.
        folder: The folder for the results.
        thresholds: The least score that begins a track, for each class in the order of the ids.
        kinds: Of `writing.KINDS`: `image` is the MP4, `csv` the table. The JSON is written with either.
        blur: Blur the faces in the drawn frames.
        show: Show the drawn frames in a window.
        seconds: End after this many seconds of footage; 0 for no limit.
        detect_every: Detect in every so many frames, or, with None, in as many as keep up with real time (see
            `DetectionPace`). In the other frames tracked faces are at their predicted places.
        sliced: The same detector, which looks at large frames in slices: it is taken where `choose_slices` says so.
            None takes `detector` for all frames.
        at_once: The number of frames that are detected at the same time (`detector_choice.ChosenDetector.at_once`).

    Raises:
        UserError: `blur` with frames in which the detector does not run: a face that appears in them would be visible.
            No frame can be decoded, the results cannot be written, or a picture has results of the same name.
    """
    if blur and detect_every != 1:
        raise UserError("BLUR=1: needs DETECT_EVERY=1. In a frame without a detection a new face would stay visible.")
    pace = DetectionPace(detect_every, ahead=not footage.live)
    tracking = Tracking(detector.label_map, list(thresholds))
    movie, table, note = (folder / f"{footage.stem}{suffix}" for suffix in (".mp4", ".csv", ".json"))
    if footage.path is not None and footage.path.resolve() in (movie.resolve(), table.resolve()):
        raise UserError(f"{footage.path}: its own results would overwrite it. Move it elsewhere.")
    colors = {name: picture_colour(i) for i, name in enumerate(detector.label_map.names, start=1)}
    times: list[float] = []
    frames = detected = missed = troubles = 0
    first: Frame | None = None
    last: Frame | None = None
    taken: list[Frame] = []  # the first and the latest frame that the detector was given
    latest: list[np.ndarray] = []
    results = tuple(path for kind, path in (("image", movie), ("csv", table)) if kind in kinds)
    if kinds:
        writing.refuse_other_results(note, "source")
    if table in results and table.name == writing.TABLE and table.with_name(f"{table.name}.json").exists():
        raise UserError(f"{table}: belongs to pictures. Rename the video, or move the table and its JSON away.")

    def warn(words: str) -> None:
        nonlocal troubles
        troubles += 1
        print(words, file=sys.stderr)

    def choose(seconds_sliced: float, seconds_whole: float) -> bool:
        limit = None
        if detect_every is None:
            limit = 1 / LEAST_RATE
        elif footage.live:
            limit = detect_every * (taken[-1].time - taken[0].time) / (taken[-1].number - taken[0].number)
        return detection_pace.choose_slices(
            footage.title, seconds_sliced, seconds_whole, limit, lambda words: print(words, file=sys.stderr)
        )

    trial = None if sliced is None else SliceTrial(detector, sliced, choose, at_once=at_once)

    def detect(frame: Frame) -> sv.Detections:
        begun = time.perf_counter()
        [found] = (trial or detector).detect([frame.image])
        times.append(time.perf_counter() - begun)
        del times[1:-_RECENT]
        return found

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.listening_for_signals())
        stopped = threading.Event()

        def halted() -> bool:
            return stopped.is_set() or stop.signal is not None

        stack.enter_context(writing.naming_errors(folder))
        # The files are opened by the first frame, so that a source without frames leaves none behind.
        files = stack.enter_context(contextlib.ExitStack())
        add_frame: Callable[[np.ndarray, float], None] | None = None
        add_rows: Callable[[Sequence[Sequence[object]]], None] | None = None

        def ended() -> bool:
            if window is not None and window.closed():
                stopped.set()
            return halted()

        def started() -> Iterator[tuple[Frame, Future[sv.Detections] | None]]:
            """The frames, each with its detection, which has begun; or None if the detector does not run in it."""
            source = footage.frames(halted, warn)
            size = AHEAD if not footage.live else 1 if newest else LIVE_AHEAD
            reading = prefetch.read_ahead(source, size, newest=footage.live, stopped=halted)
            with contextlib.closing(reading):  # type: ignore[type-var]
                while True:
                    if newest:
                        workers.wait()
                    frame = next(reading, None)
                    if frame is None or (seconds and frame.time >= seconds):
                        return
                    taken[1:] = [frame]
                    yield frame, workers.start(detect, frame) if pace.is_due(frame.time) else None

        def encode(item: tuple[np.ndarray, float]) -> None:
            if add_frame is not None:
                add_frame(*item)

        def draw(item: tuple[Frame, Tracked]) -> None:
            nonlocal latest
            frame, tracked = item
            if add_rows is not None:
                numbers = ["" if number < 0 else str(number) for number in tracked.found.tracker_id]
                rows = writing.csv_rows(tracked.found, with_score=tracked.detected)
                add_rows([(frame.number, f"{frame.time:.3f}", n, *row) for n, row in zip(numbers, rows, strict=True)])
            if add_frame is not None or window is not None:
                drawn = draw_tracked(frame.image, tracked, colors, blur)
                latest = [drawn]
                put_drawn((drawn, frame.time))

        window = Window(footage.title) if show else None
        if window is not None:
            stack.callback(window.close)
        put_drawn = stack.enter_context(prefetch.write_behind(encode, BEHIND))
        put = stack.enter_context(prefetch.write_behind(draw, BEHIND))
        move = stack.enter_context(media_progress.progress_bar(footage.count, "frames"))
        workers = stack.enter_context(prefetch.Workers(at_once))
        newest = footage.live and detect_every == 1
        coming = prefetch.read_ahead(started(), at_once if newest else IN_WORK, stopped=ended)
        stack.enter_context(contextlib.closing(coming))  # type: ignore[type-var]
        stack.callback(stopped.set)
        for frame, detection in coming:
            if first is None:
                first = frame
                stop.nothing_to_save = False
                if "image" in kinds:
                    beside = files.enter_context(replacing_file(movie))
                    add_frame = files.enter_context(mp4.mp4_writer(beside, footage.live))
                if "csv" in kinds:
                    add_rows = files.enter_context(writing.csv_table(table, writing.FRAME_COLUMNS))
            missed += frame.number - (last.number if last else -1) - 1
            last = frame
            if detection is None:
                tracked = tracking.predict(frame.time)
            else:
                tracked = tracking.update(detection.result(), frame.time)
                detected += 1
            put((frame, tracked))
            frames += 1
            counts = Counter(map(str, tracked.all["class_name"]))
            move(1, " ".join(f"{counts[name]} {name}" for name in colors))
            if window is not None and latest:
                window.show(latest[0])
    if first is None or last is None:
        return FootageSummary((), tracking.faces, 0, 0, 0.0, missed, troubles, False, None, detector.name, stop.signal)
    value = {
        "format": FORMAT,
        "source": {
            "name": footage.title,
            "live": footage.live,
            "width": first.image.shape[1],
            "height": first.image.shape[0],
            "frames": frames,
            "seconds": round(last.time, 3),
            "detected": detected,
            "missed": missed,
            "stopped": stop.signal is not None,
            "troubles": troubles,
        },
        "faces": tracking.faces,
        "results": [path.name for path in results],
        "made": provenance.made_by(
            "infer",
            model=about if trial is None else about | {"slices": bool(trial.chosen)},
            runtime=detector.name,
            thresholds=dict(zip(detector.label_map.names, map(float, thresholds), strict=True)),
            blur=blur,
            seconds=seconds,
            detect_every=detection_pace.AUTO if detect_every is None else detect_every,
        ),
    }
    if results or "json" in kinds:
        with writing.naming_errors(folder):
            write_json(note, value)
        for old in {movie, table}.difference(results):
            if old.exists():
                print(f"{old}: of an earlier run; {note} does not describe it", file=sys.stderr)
        results = (*results, note)
    speed = median(times[1:]) * 1000 if len(times) > 1 else None
    broken = bool(troubles) and not footage.live
    name = detector.name
    return FootageSummary(
        results, tracking.faces, frames, detected, last.time, missed, troubles, broken, speed, name, stop.signal
    )


def draw_tracked(image: np.ndarray, tracked: Tracked, colors: dict[str, str], blur: bool) -> np.ndarray:
    """Draw the boxes, the numbers of their tracks, and the counts. No score: it would change in every frame."""
    faces = tracked.all
    names = list(map(str, faces["class_name"]))
    labels = [name if number < 0 else f"{name} {number}" for name, number in zip(names, faces.tracker_id, strict=True)]
    small = max(image.shape[:2]) < _SMALL
    drawn = annotating.draw_boxes(annotating.blur_boxes(image, faces) if blur else image, faces, labels, enlarge=small)
    counts = Counter(names)
    return annotating.draw_counts(drawn, {name: counts[name] for name in colors}, colors)
