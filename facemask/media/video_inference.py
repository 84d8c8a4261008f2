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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
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

_SUFFIXES = {"image": ".mp4", "csv": ".csv"}

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
    files, note = _result_files(footage, folder, kinds), folder / f"{footage.stem}.json"
    colors = {name: picture_colour(i) for i, name in enumerate(detector.label_map.names, start=1)}
    tracking = Tracking(detector.label_map, list(thresholds))
    pace = DetectionPace(detect_every, ahead=not footage.live)
    newest = footage.live and detect_every == 1
    tally = _Tally()
    taken: list[Frame] = []  # the first and the latest frame that the detector was given
    drawn: list[np.ndarray] = []  # the latest frame that was drawn, for the window
    trial = None
    if sliced is not None:
        trial = SliceTrial(detector, sliced, partial(_choose_slices, footage, detect_every, taken), at_once=at_once)

    def detect(frame: Frame) -> sv.Detections:
        begun = time.perf_counter()
        [found] = (trial or detector).detect([frame.image])
        tally.add_time(time.perf_counter() - begun)
        return found

    def draw(frame: Frame, tracked: Tracked) -> np.ndarray:
        drawn[:] = [draw_tracked(frame.image, tracked, colors, blur)]
        return drawn[0]

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.listening_for_signals())
        stopped = threading.Event()
        window = Window(footage.title) if show else None
        if window is not None:
            stack.callback(window.close)

        def halted() -> bool:
            return stopped.is_set() or stop.signal is not None

        def ended() -> bool:
            if window is not None and window.closed():
                stopped.set()
            return halted()

        stack.enter_context(writing.naming_errors(folder))
        put = stack.enter_context(_writing_behind(files, footage.live, draw, always=show))
        move = stack.enter_context(media_progress.progress_bar(footage.count, "frames"))
        workers = stack.enter_context(prefetch.Workers(at_once))
        size = AHEAD if not footage.live else 1 if newest else LIVE_AHEAD
        reading = prefetch.read_ahead(footage.frames(halted, tally.warn), size, newest=footage.live, stopped=halted)
        begun = _begin_detections(reading, workers, detect, pace, taken, seconds, newest)
        coming = prefetch.read_ahead(begun, at_once if newest else IN_WORK, stopped=ended)
        stack.enter_context(contextlib.closing(coming))  # type: ignore[type-var]
        stack.callback(stopped.set)
        for frame, detection in coming:
            stop.nothing_to_save = False
            if detection is None:
                tracked = tracking.predict(frame.time)
            else:
                tracked = tracking.update(detection.result(), frame.time)
            tally.add_frame(frame, detected=detection is not None)
            put(frame, tracked)
            counts = Counter(map(str, tracked.all["class_name"]))
            move(1, " ".join(f"{counts[name]} {name}" for name in colors))
            if window is not None and drawn:
                window.show(drawn[0])
    results: tuple[Path, ...] = ()
    if tally.frames and kinds & {"image", "csv", "json"}:
        results = (*files.values(), note)
        made = provenance.made_by(
            "infer",
            model=about if trial is None else about | {"slices": bool(trial.chosen)},
            runtime=detector.name,
            thresholds=dict(zip(detector.label_map.names, map(float, thresholds), strict=True)),
            blur=blur,
            seconds=seconds,
            detect_every=detection_pace.AUTO if detect_every is None else detect_every,
        )
        value = {
            "format": FORMAT,
            "source": tally.describe(footage) | {"stopped": stop.signal is not None, "troubles": tally.troubles},
            "faces": tracking.faces,
            "results": [path.name for path in files.values()],
            "made": made,
        }
        with writing.naming_errors(folder):
            write_json(note, value)
        for old in {folder / f"{footage.stem}{suffix}" for suffix in _SUFFIXES.values()}.difference(files.values()):
            if old.exists():
                print(f"{old}: of an earlier run; {note} does not describe it", file=sys.stderr)
    return FootageSummary(
        results=results,
        faces=tracking.faces,
        frames=tally.frames,
        detected=tally.detected,
        seconds=tally.last.time if tally.last else 0.0,
        missed=tally.missed,
        troubles=tally.troubles,
        broken=bool(tally.troubles and tally.frames) and not footage.live,
        milliseconds=tally.milliseconds,
        runtime=detector.name,
        signal=stop.signal,
    )


@dataclass
class _Tally:
    """What an inference on footage counts while it runs."""

    first: Frame | None = None
    last: Frame | None = None
    frames: int = 0
    detected: int = 0
    missed: int = 0
    troubles: int = 0
    times: list[float] = field(default_factory=list)

    def warn(self, words: str) -> None:
        self.troubles += 1
        print(words, file=sys.stderr)

    def add_time(self, seconds: float) -> None:
        """Add the time of a detection. The first one, which may be slow, and the latest are kept."""
        self.times.append(seconds)
        del self.times[1:-_RECENT]

    def add_frame(self, frame: Frame, detected: bool) -> None:
        self.missed += frame.number - (self.last.number if self.last else -1) - 1
        self.first, self.last = self.first or frame, frame
        self.frames += 1
        self.detected += detected

    @property
    def milliseconds(self) -> float | None:
        return median(self.times[1:]) * 1000 if len(self.times) > 1 else None

    def describe(self, footage: Footage) -> dict[str, Any]:
        """The `source` of the JSON, if there was a frame."""
        assert self.first is not None and self.last is not None
        return {
            "name": footage.title,
            "live": footage.live,
            "width": self.first.image.shape[1],
            "height": self.first.image.shape[0],
            "frames": self.frames,
            "seconds": round(self.last.time, 3),
            "detected": self.detected,
            "missed": self.missed,
        }


def _result_files(footage: Footage, folder: Path, kinds: frozenset[str]) -> dict[str, Path]:
    """The MP4 and the table to write, by their kinds. Raises UserError where they would overwrite something."""
    paths = {kind: folder / f"{footage.stem}{suffix}" for kind, suffix in _SUFFIXES.items()}
    if footage.path is not None and footage.path.resolve() in {path.resolve() for path in paths.values()}:
        raise UserError(f"{footage.path}: its own results would overwrite it. Move it elsewhere.")
    if kinds:
        writing.refuse_other_results(folder / f"{footage.stem}.json", "source")
    table = paths["csv"]
    if "csv" in kinds and table.name == writing.TABLE and table.with_name(f"{table.name}.json").exists():
        raise UserError(f"{table}: belongs to pictures. Rename the video, or move the table and its JSON away.")
    return {kind: path for kind, path in paths.items() if kind in kinds}


def _choose_slices(
    footage: Footage, detect_every: int | None, taken: Sequence[Frame], seconds_sliced: float, seconds_whole: float
) -> bool:
    """Whether to look at frames in slices, by the seconds of a detection and those that it may take."""
    limit = None
    if detect_every is None:
        limit = 1 / LEAST_RATE
    elif footage.live:
        limit = detect_every * (taken[-1].time - taken[0].time) / (taken[-1].number - taken[0].number)
    return detection_pace.choose_slices(
        footage.title, seconds_sliced, seconds_whole, limit, lambda words: print(words, file=sys.stderr)
    )


def _begin_detections(
    reading: Iterator[Frame],
    workers: prefetch.Workers,
    detect: Callable[[Frame], sv.Detections],
    pace: DetectionPace,
    taken: list[Frame],
    seconds: float,
    newest: bool,
) -> Iterator[tuple[Frame, "Future[sv.Detections] | None"]]:
    """The frames, each with its detection, which has begun; or None if the detector does not run in it.

    Args:
        reading: The frames. It is closed at the end.
        workers: Run `detect`.
        detect: Detects in a frame.
        pace: Says in which frames.
        taken: Gets the first and the latest frame.
        seconds: See `infer_footage`.
        newest: Read a frame only when a worker is free for it.
    """
    with contextlib.closing(reading):  # type: ignore[type-var]
        while True:
            if newest:
                workers.wait()
            frame = next(reading, None)
            if frame is None or (seconds and frame.time >= seconds):
                return
            taken[1:] = [frame]
            yield frame, workers.start(detect, frame) if pace.is_due(frame.time) else None


@contextlib.contextmanager
def _writing_behind(
    files: Mapping[str, Path], live: bool, draw: Callable[[Frame, Tracked], np.ndarray], always: bool
) -> Iterator[Callable[[Frame, Tracked], None]]:
    """Draw frames, and write the MP4 and the table, in two threads behind the caller.

    The first frame opens the files, so that a source without frames leaves none behind.

    Args:
        files: The files to write, see `_result_files`.
        live: The frames are those of a camera or stream.
        draw: Draws a frame.
        always: Draw also without an MP4.
    """
    add_frame: Callable[[np.ndarray, float], None] | None = None
    add_rows: Callable[[Sequence[Sequence[object]]], None] | None = None
    first = True

    def encode(item: tuple[np.ndarray, float]) -> None:
        if add_frame is not None:
            add_frame(*item)

    def write(item: tuple[Frame, Tracked]) -> None:
        frame, tracked = item
        if add_rows is not None:
            numbers = ["" if number < 0 else str(number) for number in tracked.found.tracker_id]
            rows = writing.csv_rows(tracked.found, with_score=tracked.detected)
            add_rows([(frame.number, f"{frame.time:.3f}", n, *row) for n, row in zip(numbers, rows, strict=True)])
        if add_frame is not None or always:
            put_drawn((draw(frame, tracked), frame.time))

    with (
        contextlib.ExitStack() as opened,
        prefetch.write_behind(encode, BEHIND) as put_drawn,
        prefetch.write_behind(write, BEHIND) as put,
    ):

        def add(frame: Frame, tracked: Tracked) -> None:
            nonlocal add_frame, add_rows, first
            if first and "image" in files:
                beside = opened.enter_context(replacing_file(files["image"]))
                add_frame = opened.enter_context(mp4.mp4_writer(beside, live))
            if first and "csv" in files:
                add_rows = opened.enter_context(writing.csv_table(files["csv"], writing.FRAME_COLUMNS))
            first = False
            put((frame, tracked))

        yield add


def draw_tracked(image: np.ndarray, tracked: Tracked, colors: dict[str, str], blur: bool) -> np.ndarray:
    """Draw the boxes, the numbers of their tracks, and the counts. No score: it would change in every frame."""
    faces = tracked.all
    names = list(map(str, faces["class_name"]))
    labels = [name if number < 0 else f"{name} {number}" for name, number in zip(names, faces.tracker_id, strict=True)]
    small = max(image.shape[:2]) < _SMALL
    drawn = annotating.draw_boxes(annotating.blur_boxes(image, faces) if blur else image, faces, labels, enlarge=small)
    counts = Counter(names)
    return annotating.draw_counts(drawn, {name: counts[name] for name in colors}, colors)
