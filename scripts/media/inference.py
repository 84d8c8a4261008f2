"""Pictures through a detector: read, detect, draw, write, one after the other, and what came of it."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from scripts.detect.detector import Detector
from scripts.media import drawing, images, writing
from scripts.media.images import Picture
from scripts.support.errors import UserError
from scripts.tfod import exported


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
    """

    folder: Path
    counts: dict[str, int]
    done: int
    failed: tuple[Path, ...]
    milliseconds: float | None
    runtime: str

    def text(self) -> str:
        """The summary for people, a few lines."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        speed = "" if self.milliseconds is None else f", {self.milliseconds:.0f} ms a picture"
        lines = [f"{self.done} picture{'s' * (self.done != 1)}: {counts} ({self.runtime}{speed})"]
        if self.done:
            lines.append(f"results in {self.folder}")
        if self.failed:
            lines.append(f"{len(self.failed)} could not be read and were left out; each is named above")
        return "\n".join(lines)


def on_pictures(
    detector: Detector, model_folder: Path, pictures: Sequence[Picture], folder: Path, thresholds: Sequence[float]
) -> Summary:
    """Detect on each picture, and write the drawn picture and its boxes (see `writing`).

    A file that cannot be read is named on stderr and counted, and the rest goes on.

    Args:
        detector: The detector.
        model_folder: The exported model that it runs.
        pictures: What to look at.
        folder: Where the results go.
        thresholds: The score from which a box is kept, for each class in the order of the ids.

    Raises:
        UserError: The only picture cannot be read, or results cannot be written.
    """
    model = exported.read(model_folder)
    about = {"run": model.run, "model": model.model, "steps": model.steps, "config_sha256": model.config_sha256}
    counts = Counter(dict.fromkeys(detector.label_map.names, 0))
    failed: list[Path] = []
    times: list[float] = []
    least = np.array(thresholds, float)
    by_class = dict(zip(detector.label_map.names, map(float, thresholds), strict=True))
    for picture, target in zip(pictures, writing.targets(pictures, folder), strict=True):
        try:
            image = images.read(picture.path)
        except UserError as error:
            if len(pictures) == 1:
                raise
            print(error, file=sys.stderr)
            failed.append(picture.path)
            continue
        start = time.perf_counter()
        [detections] = detector.detect([image])
        times.append(time.perf_counter() - start)
        kept = detections[np.asarray(detections.confidence) >= least[np.asarray(detections.class_id, int) - 1]]
        counts.update(map(str, kept["class_name"]))
        try:
            writing.write_image(target.image, drawing.draw(image, kept))
            size = (image.shape[1], image.shape[0])
            writing.write_boxes(target.boxes, picture, size, kept, about, detector.name, by_class)
        except OSError as error:
            raise UserError(f"{target.image}: cannot be written ({error.strerror or error}).") from None
    speed = median(times[1:]) * 1000 if len(times) > 1 else None
    return Summary(folder, dict(counts), len(times), tuple(failed), speed, detector.name)
