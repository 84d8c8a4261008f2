"""Runs a detector on pictures. Reading, detecting and writing overlap."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import supervision as sv

from facemask.core import command_line, provenance, signals
from facemask.core.errors import UserError
from facemask.core.files import check_utf8, write_json
from facemask.data.images import read_image
from facemask.detect.detector import Detector
from facemask.detect.score_thresholds import above_thresholds
from facemask.media import annotating, media_progress, prefetch, writing
from facemask.media.picture_files import Picture
from facemask.media.writing import ResultPaths

BATCH = 8
"""The most pictures in a batch."""

BATCH_PIXELS = 32_000_000
"""The most pixels in a batch of several pictures, which bounds the memory. About four batches are in memory at a time:
read, queued, detected, written."""


@dataclass(frozen=True)
class PictureSummary:
    """The result of an inference on pictures.

    Attributes:
        folder: The folder of the results; None if none were wanted.
        counts: The number of boxes by class, every class included.
        done: The number of pictures with results.
        without_faces: The number of pictures in which no face was found.
        failed: Files that could not be read.
        milliseconds: The median time of the detector per picture, without the slow first picture; None for a single
            picture.
        runtime: The name of the runtime and the precision.
        signal: The number of the signal that ended the inference early, or None.
        kept: XML files that a person has changed, which are left as they are.
    """

    folder: Path | None
    counts: dict[str, int]
    done: int
    without_faces: int
    failed: tuple[Path, ...]
    milliseconds: float | None
    runtime: str
    signal: int | None = None
    kept: tuple[Path, ...] = ()

    def text(self) -> str:
        """The summary for people, a few lines."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        speed = "" if self.milliseconds is None else f", {self.milliseconds:.0f} ms a picture"
        lines = [f"{self.done} picture{'s' * (self.done != 1)}: {counts} ({self.runtime}{speed})"]
        if self.without_faces:
            where = "the picture" if self.done == 1 else f"{self.without_faces} of the pictures"
            lines.append(f"no face found in {where}; a lower THRESHOLD reports less certain ones")
        if self.done and self.folder is not None:
            lines.append(f"results in {self.folder}")
        if self.failed:
            lines.append(f"{len(self.failed)} could not be read and were left out; each is named above")
        if self.kept:
            names = ", ".join(map(str, self.kept[:3])) + (", ..." if len(self.kept) > 3 else "")
            lines.append(f"left as a person changed them: {len(self.kept)} XML ({names}). Move them away for new ones")
        if self.signal is not None:
            lines.append("stopped early: the other pictures have no results")
        return "\n".join(lines)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        if self.signal is not None:
            return signals.exit_code(self.signal)
        return command_line.USER_ERROR if self.failed else 0


@dataclass(frozen=True)
class _Loaded:
    """A picture with its pixels, or with the error that reading it raised."""

    picture: Picture
    target: ResultPaths
    image: np.ndarray | None
    error: UserError | None


def infer_pictures(
    detector: Detector,
    about: dict[str, Any],
    pictures: Sequence[Picture],
    folder: Path,
    thresholds: Sequence[float],
    kinds: frozenset[str] = frozenset(["image", "json"]),
    blur: bool = False,
) -> PictureSummary:
    """Detect faces in each picture, and write the results (see `writing`).

    A file that cannot be read is named on stderr and counted, and the other pictures are processed. Ctrl-C and SIGTERM
    end the inference after the current batch.

    Args:
        detector: The detector.
        about: The description of the model for the results (`detector_choice.ChosenDetector.model`).
        pictures: The pictures.
        folder: The folder for the results.
        thresholds: The least score of a box of each class, in the order of the ids.
        kinds: The kinds of results, of `writing.KINDS`.
        blur: Blur the faces in the drawn pictures.

    Raises:
        UserError: The only picture cannot be read, results cannot be written, or a video has results of the same name.
    """
    by_class = dict(zip(detector.label_map.names, map(float, thresholds), strict=True))
    counts = Counter(dict.fromkeys(detector.label_map.names, 0))
    failed: list[Path] = []
    kept: list[Path] = []
    times: list[float] = []
    without_faces = 0
    targets = writing.result_paths(pictures, folder)
    notes = [target.boxes for target in targets if "json" in kinds]
    # A video `boxes.mov` has a table of the same name, and `boxes.json`.
    for note in [*notes, (folder / writing.TABLE).with_suffix(".json")] if "csv" in kinds else notes:
        writing.refuse_other_results(note, "image")

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.listening_for_signals())
        stop.nothing_to_save = False
        add_rows = stack.enter_context(_table(folder, about, detector.name, by_class)) if "csv" in kinds else None

        def write(found: list[tuple[_Loaded, np.ndarray, sv.Detections]]) -> None:
            for loaded, image, detections in found:
                picture, target, size = loaded.picture, loaded.target, (image.shape[1], image.shape[0])
                with writing.naming_errors(target.image):
                    if "image" in kinds:
                        shown = annotating.blur_boxes(image, detections) if blur else image
                        writing.write_image(target.image, annotating.draw_boxes(shown, detections))
                    if "json" in kinds:
                        value = writing.boxes_as_json(picture, size, detections, about, detector.name, by_class)
                        write_json(target.boxes, value)
                    if "voc" in kinds and not writing.write_voc(target.voc, picture, size, detections):
                        kept.append(target.voc)
                    if add_rows is not None:
                        add_rows(writing.csv_rows(detections, picture.path, *size))

        put = stack.enter_context(prefetch.write_behind(write, size=1))
        move = stack.enter_context(media_progress.progress_bar(len(pictures), "pictures"))
        batches = prefetch.read_ahead(_batches(_read(pictures, targets)), 1, stopped=lambda: stop.signal is not None)
        for batch in stack.enter_context(contextlib.closing(batches)):  # type: ignore[type-var]
            for loaded in batch:
                if loaded.error is not None:
                    if len(pictures) == 1:
                        raise loaded.error
                    print(loaded.error, file=sys.stderr)
                    failed.append(loaded.picture.path)
            good = [(loaded, loaded.image) for loaded in batch if loaded.image is not None]
            if good:
                start = time.perf_counter()
                found = detector.detect([image for _, image in good])
                times += [(time.perf_counter() - start) / len(good)] * len(good)
                found = [above_thresholds(detections, thresholds) for detections in found]
                without_faces += sum(not len(detections) for detections in found)
                for detections in found:
                    counts.update(map(str, detections["class_name"]))
                put([(*pair, detections) for pair, detections in zip(good, found, strict=True)])
            move(len(batch), "")
    speed = median(times[1:]) * 1000 if len(times) > 1 else None
    results = folder if kinds else None
    return PictureSummary(
        results,
        dict(counts),
        len(times),
        without_faces,
        tuple(failed),
        speed,
        detector.name,
        stop.signal,
        tuple(kept),
    )


def _read(pictures: Iterable[Picture], targets: Iterable[ResultPaths]) -> Iterator[_Loaded]:
    for picture, target in zip(pictures, targets, strict=True):
        try:
            check_utf8(picture.path)  # the results hold it
            yield _Loaded(picture, target, read_image(picture.path), None)
        except UserError as error:
            yield _Loaded(picture, target, None, error)


def _batches(pictures: Iterable[_Loaded]) -> Iterator[list[_Loaded]]:
    """What the detector gets at once: at first a single picture, so that there is something to see soon."""
    batch: list[_Loaded] = []
    pixels, most = 0, 1
    for loaded in pictures:
        size = 0 if loaded.image is None else loaded.image.shape[0] * loaded.image.shape[1]
        if batch and (len(batch) >= most or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels, most = [], 0, BATCH
        batch.append(loaded)
        pixels += size
    if batch:
        yield batch


@contextlib.contextmanager
def _table(
    folder: Path, about: dict[str, Any], runtime: str, thresholds: dict[str, float]
) -> Iterator[Callable[[Sequence[Sequence[object]]], None]]:
    path = folder / writing.TABLE
    with writing.naming_errors(path):
        with writing.csv_table(path, writing.PICTURE_COLUMNS) as add:
            yield add
        made = provenance.made_by("infer", model=about, runtime=runtime, thresholds=thresholds)
        write_json(path.with_name(f"{path.name}.json"), made)
