"""Pictures through a detector: read, detect, draw, write, each while the others go on, and what came of it."""

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

from scripts.detect.detector import Detector
from scripts.detect.tiles import TilingDetector
from scripts.media import drawing, images, overlap, progress, writing
from scripts.media.images import Picture
from scripts.media.writing import Targets
from scripts.support import command, provenance
from scripts.support.errors import UserError
from scripts.support.files import write_json
from scripts.tfod import signals

BATCH = 8
"""Most pictures that the detector gets at once."""

BATCH_PIXELS = 32_000_000
"""Most pixels that it gets at once, unless one picture has more: what bounds the memory. Some four batches are in work
at a time: read, waiting, looked at, written."""


@dataclass(frozen=True)
class Summary:
    """What came of it.

    Attributes:
        folder: Where the results are.
        counts: Boxes per class, every class in it.
        done: Pictures with results.
        failed: Files that could not be read.
        milliseconds: Median time of the detector for a picture, without the first, which is slower; None if it is all.
        runtime: What ran the model.
        signal: Number of the signal that ended it early, or None.
    """

    folder: Path
    counts: dict[str, int]
    done: int
    failed: tuple[Path, ...]
    milliseconds: float | None
    runtime: str
    signal: int | None = None

    def text(self) -> str:
        """The summary for people, a few lines."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        speed = "" if self.milliseconds is None else f", {self.milliseconds:.0f} ms a picture"
        lines = [f"{self.done} picture{'s' * (self.done != 1)}: {counts} ({self.runtime}{speed})"]
        if self.done:
            lines.append(f"results in {self.folder}")
        if self.failed:
            lines.append(f"{len(self.failed)} could not be read and were left out; each is named above")
        if self.signal is not None:
            lines.append("stopped early: the rest was not looked at")
        return "\n".join(lines)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        if self.signal is not None:
            return signals.exit_code(self.signal)
        return command.USER_ERROR if self.failed else 0


@dataclass(frozen=True)
class _Loaded:
    """A picture that was read, or why not."""

    picture: Picture
    target: Targets
    image: np.ndarray | None
    error: UserError | None


def kept(detections: sv.Detections, thresholds: Sequence[float]) -> sv.Detections:
    """Those that score at least the threshold of their class; `thresholds` are in the order of the ids."""
    return detections[
        np.asarray(detections.confidence) >= np.array(thresholds, float)[np.asarray(detections.class_id, int) - 1]
    ]


def on_pictures(
    detector: Detector,
    about: dict[str, Any],
    pictures: Sequence[Picture],
    folder: Path,
    thresholds: Sequence[float],
    kinds: frozenset[str] = frozenset(["image", "json"]),
    blur: bool = False,
) -> Summary:
    """Detect on each picture, and write what is wanted (see `writing`).

    A file that cannot be read is named on stderr and counted, and the rest goes on. Ctrl-C and SIGTERM end it after the
    pictures at hand.

    Args:
        detector: The detector.
        about: What results say of the model that it runs (`choosing.Chosen.model`).
        pictures: What to look at.
        folder: Where the results go.
        thresholds: The score from which a box is kept, for each class in the order of the ids.
        kinds: Of `writing.KINDS`.
        blur: Blur the faces in what is drawn.

    Raises:
        UserError: The only picture cannot be read, or results cannot be written.
    """
    by_class = dict(zip(detector.label_map.names, map(float, thresholds), strict=True))
    counts = Counter(dict.fromkeys(detector.label_map.names, 0))
    failed: list[Path] = []
    times: list[float] = []
    tiling = TilingDetector(detector)
    targets = writing.targets(pictures, folder)

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.listening())
        stop.nothing_to_save = False
        add_rows = stack.enter_context(_table(folder, about, detector.name, by_class)) if "csv" in kinds else None

        def write(found: list[tuple[_Loaded, np.ndarray, sv.Detections]]) -> None:
            for loaded, image, detections in found:
                picture, target, size = loaded.picture, loaded.target, (image.shape[1], image.shape[0])
                with writing.naming(target.image):
                    if "image" in kinds:
                        shown = drawing.blur(image, detections) if blur else image
                        writing.write_image(target.image, drawing.draw(shown, detections))
                    if "json" in kinds:
                        writing.write_boxes(target.boxes, picture, size, detections, about, detector.name, by_class)
                    if "voc" in kinds:
                        writing.write_voc(target.voc, picture, size, detections)
                    if add_rows is not None:
                        add_rows(writing.rows(detections, picture.path, *size))

        put = stack.enter_context(overlap.behind(write, size=1))
        move = stack.enter_context(progress.bar(len(pictures), "pictures"))
        batches = overlap.ahead(_batches(_read(pictures, targets)), 1, stopped=lambda: stop.signal is not None)
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
                found = tiling.detect([image for _, image in good])
                times += [(time.perf_counter() - start) / len(good)] * len(good)
                found = [kept(detections, thresholds) for detections in found]
                for detections in found:
                    counts.update(map(str, detections["class_name"]))
                put([(*pair, detections) for pair, detections in zip(good, found, strict=True)])
            move(len(batch), "")
    speed = median(times[1:]) * 1000 if len(times) > 1 else None
    return Summary(folder, dict(counts), len(times), tuple(failed), speed, detector.name, stop.signal)


def _read(pictures: Iterable[Picture], targets: Iterable[Targets]) -> Iterator[_Loaded]:
    for picture, target in zip(pictures, targets, strict=True):
        try:
            yield _Loaded(picture, target, images.read(picture.path), None)
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
    with writing.naming(path):
        with writing.table(path, writing.PICTURE_COLUMNS) as add:
            yield add
        made = provenance.made_by("infer", model=about, runtime=runtime, thresholds=thresholds)
        write_json(path.with_name(f"{path.name}.json"), made)
