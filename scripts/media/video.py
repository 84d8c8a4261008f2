"""Videos, cameras and streams through a detector: boxes that follow faces, as an MP4, a table, or in a window.

`clip.mov` gives, in `workspace/predictions/<RUN>/`, `clip.mp4`, `clip.csv` (`writing.FRAME_COLUMNS`), and `clip.json`,
which says what made them:

    {
      "format": 1,
      "source": {"name": "clip.mov", "live": false, "width": 1280, "height": 720, "frames": 250, "seconds": 9.96,
                 "missed": 0, "stopped": false, "troubles": 0},
      "faces": {"with_mask": 3, "without_mask": 1, "mask_weared_incorrect": 0},
      "made": {provenance}
    }
"""

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from scripts.detect.detector import Detector
from scripts.detect.tiles import TilingDetector
from scripts.media import drawing, mp4, overlap, progress, writing
from scripts.media.footage import Footage, Frame
from scripts.media.tracking import Tracked, Tracking
from scripts.media.window import Window
from scripts.support import command, provenance
from scripts.support.errors import UserError
from scripts.support.files import replacing, write_json
from scripts.tfod import signals

FORMAT = 1

AHEAD = 4
"""Frames of a file that wait for the detector. Of a camera one does, the newest."""

BEHIND = 2
"""Frames that wait to be drawn and written."""

_RECENT = 500

_SMALL = 500
"""Frames whose longer side is below this many pixels are drawn enlarged. Fewer than with pictures: it takes time."""


@dataclass(frozen=True)
class Summary:
    """What came of it.

    Attributes:
        results: The files written.
        faces: Faces that were followed, by the class their track ended with, every class in it.
        frames: Frames looked at.
        seconds: From the first to the last of them.
        missed: Frames of a camera or stream that came while the detector was busy.
        troubles: How often something went wrong and was said.
        broken: Parts of a file could not be decoded.
        milliseconds: Median time of the detector for a frame, without the first; None if it is all.
        runtime: What ran the model.
        signal: Number of the signal that ended it, or None.
    """

    results: tuple[Path, ...]
    faces: dict[str, int]
    frames: int
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
        speed = "" if self.milliseconds is None else f", {self.milliseconds:.0f} ms a frame"
        missed = f", {self.missed} missed" if self.missed else ""
        lines = [
            f"{self.frames} frame{'s' * (self.frames != 1)} of {self.seconds:.1f} s{missed}; faces followed: {counts} "
            f"({self.runtime}{speed})"
        ]
        if self.results:
            lines.append(f"results in {', '.join(map(str, self.results))}")
        if self.broken:
            lines.append("parts of it could not be decoded and were left out; see above")
        if self.signal is not None:
            lines.append("stopped early: what was done until then is there")
        return "\n".join(lines)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        if self.signal is not None:
            return signals.exit_code(self.signal)
        return command.USER_ERROR if self.broken else 0


def on_footage(
    detector: Detector,
    about: dict[str, Any],
    footage: Footage,
    folder: Path,
    thresholds: Sequence[float],
    kinds: frozenset[str] = frozenset(["image", "csv"]),
    blur: bool = False,
    show: bool = False,
    seconds: float = 0.0,
) -> Summary:
    """Detect on each frame, follow the faces, and write what is wanted (see the module's words).

    Ctrl-C, SIGTERM, or closing the window ends it; what was written until then is whole.

    Args:
        detector: The detector.
        about: What results say of the model that it runs.
        footage: What to look at.
        folder: Where the results go.
        thresholds: The score from which a face is followed, for each class in the order of the ids.
        kinds: Of `writing.KINDS`: `image` is the MP4, `csv` the table; the JSON is there with either.
        blur: Blur the faces in what is drawn.
        show: Show what is drawn in a window.
        seconds: End after so many of the footage's; 0 does not.

    Raises:
        UserError: Nothing can be decoded, or results cannot be written.
    """
    tiling, tracking = TilingDetector(detector), Tracking(detector.label_map, list(thresholds))
    movie, table, note = (folder / f"{footage.stem}{suffix}" for suffix in (".mp4", ".csv", ".json"))
    if footage.path is not None and footage.path.resolve() in (movie.resolve(), table.resolve()):
        raise UserError(f"{footage.path}: would be overwritten by its own results. Move it elsewhere.")
    colors = {name: drawing.color_of(i) for i, name in enumerate(detector.label_map.names, start=1)}
    times: list[float] = []
    frames = missed = troubles = 0
    first: Frame | None = None
    last: Frame | None = None
    latest: list[np.ndarray] = []
    results = tuple(path for kind, path in (("image", movie), ("csv", table)) if kind in kinds)

    def say(words: str) -> None:
        nonlocal troubles
        troubles += 1
        print(words, file=sys.stderr)

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.listening())
        stopped = threading.Event()

        def halted() -> bool:
            return stopped.is_set() or stop.signal is not None

        stack.enter_context(writing.naming(folder))
        # Opened by the first frame: until then there is nothing to leave behind.
        files = stack.enter_context(contextlib.ExitStack())
        add_frame: Callable[[np.ndarray, float], None] | None = None
        add_rows: Callable[[Sequence[Sequence[object]]], None] | None = None

        def closed() -> bool:
            return window is not None and window.closed()

        def write(item: tuple[Frame, Tracked]) -> None:
            nonlocal latest
            frame, tracked = item
            if add_rows is not None:
                numbers = ["" if number < 0 else str(number) for number in tracked.found.tracker_id]
                rows = writing.rows(tracked.found)
                add_rows([(frame.number, f"{frame.time:.3f}", n, *row) for n, row in zip(numbers, rows, strict=True)])
            if add_frame is not None or window is not None:
                drawn = _drawn(frame.image, tracked, colors, blur)
                latest = [drawn]
                if add_frame is not None:
                    add_frame(drawn, frame.time)

        window = Window(footage.title) if show else None
        if window is not None:
            stack.callback(window.close)
        put = stack.enter_context(overlap.behind(write, BEHIND))
        move = stack.enter_context(progress.bar(footage.count, "frames"))
        source, size = footage.frames(halted, say), 1 if footage.live else AHEAD
        coming = overlap.ahead(source, size, newest=footage.live, stopped=lambda: halted() or closed())
        stack.enter_context(contextlib.closing(coming))  # type: ignore[type-var]
        stack.callback(stopped.set)
        for frame in coming:
            if seconds and frame.time >= seconds:
                break
            if first is None:
                first = frame
                stop.nothing_to_save = False
                if "image" in kinds:
                    beside = files.enter_context(replacing(movie))
                    add_frame = files.enter_context(mp4.writer(beside, footage.live))
                if "csv" in kinds:
                    add_rows = files.enter_context(writing.table(table, writing.FRAME_COLUMNS))
            missed += frame.number - (last.number if last else -1) - 1
            last = frame
            begun = time.perf_counter()
            [found] = tiling.detect([frame.image])
            times.append(time.perf_counter() - begun)
            del times[1:-_RECENT]
            tracked = tracking.update(found, frame.time)
            put((frame, tracked))
            frames += 1
            counts = Counter(map(str, tracked.all["class_name"]))
            move(1, " ".join(f"{counts[name]} {name}" for name in colors))
            if window is not None and latest:
                window.show(latest[0])
    if first is None or last is None:
        return Summary((), tracking.faces, 0, 0.0, missed, troubles, False, None, detector.name, stop.signal)
    value = {
        "format": FORMAT,
        "source": {
            "name": footage.title,
            "live": footage.live,
            "width": first.image.shape[1],
            "height": first.image.shape[0],
            "frames": frames,
            "seconds": round(last.time, 3),
            "missed": missed,
            "stopped": stop.signal is not None,
            "troubles": troubles,
        },
        "faces": tracking.faces,
        "made": provenance.made_by(
            "infer",
            model=about,
            runtime=detector.name,
            thresholds=dict(zip(detector.label_map.names, map(float, thresholds), strict=True)),
            blur=blur,
            seconds=seconds,
        ),
    }
    if results or "json" in kinds:
        with writing.naming(folder):
            write_json(note, value)
        results = (*results, note)
    speed = median(times[1:]) * 1000 if len(times) > 1 else None
    broken = bool(troubles) and not footage.live
    name = detector.name
    return Summary(results, tracking.faces, frames, last.time, missed, troubles, broken, speed, name, stop.signal)


def _drawn(image: np.ndarray, tracked: Tracked, colors: dict[str, str], blur: bool) -> np.ndarray:
    """The frame with boxes, the numbers of their tracks, and the counts. No score: it would change in every frame."""
    faces = tracked.all
    names = list(map(str, faces["class_name"]))
    labels = [name if number < 0 else f"{name} {number}" for name, number in zip(names, faces.tracker_id, strict=True)]
    small = max(image.shape[:2]) < _SMALL
    drawn = drawing.draw(drawing.blur(image, faces) if blur else image, faces, labels, enlarge=small)
    counts = Counter(names)
    return drawing.draw_counts(drawn, {name: counts[name] for name in colors}, colors)
