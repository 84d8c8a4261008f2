"""Measure how many small faces a detector finds in 1920x1080 frames: in the frame as a whole, in slices, in a region.

    python -m benchmarks.door_distance --run default --annotations annotations [--frames 25]

Each frame shows six photographs of a split on a blurred background. Each photograph is scaled so that its largest face
has a longer side of 24 to 60 pixels, as faces have that a camera sees from some metres away. Faces of 24 to 60 pixels
are measured. Smaller ones are ignored, found or not. Photographs whose faces are too small for that are left out.

The rows are:

- whole: the frame as it is; the network squeezes or scales it to its own input;
- padded: the frame with grey below that makes it a square, so that a square input keeps the aspect ratio;
- N slices of S px: the frame as a whole and N overlapping squares of S pixels of it;
- twice the size: the frame scaled to twice the size for the face detector, for YuNet;
- region: each sixth of the frame alone, as with a camera's `region` in configs/watch.yaml. Its time is that
  of one region.

The columns are:

- recall: the share of the faces that are found (IoU of 0.5 or more, any class), in three ranges of size and of all;
- right class: the share of the faces that are found with their class;
- false/frame: boxes in a frame that are on no face, small ones included;
- CPU ms: the mean processor time of a frame, of all threads. Other work on the machine changes it little.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import supervision as sv
import typer
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemask.cli import options
from facemask.core import command_line, hardware
from facemask.core.errors import UserError
from facemask.data import ground_truth
from facemask.data.labelled_picture import GroundTruth
from facemask.detect import detector_choice, tiling
from facemask.detect.detector import RawDetector
from facemask.detect.opened_detector import one_box_per_face

WIDTH, HEIGHT, COLUMNS, ROWS = 1920, 1080, 3, 2

SIZES = (24, 36, 48, 60)
"""The ranges of a face's longer side in pixels."""

LARGEST_ENLARGEMENT = 2.0
"""A photograph is enlarged by no more: the faces would be smoother than a camera's."""


Detect = Callable[[np.ndarray], sv.Detections]


@dataclass(frozen=True)
class Frame:
    """A composed frame.

    Attributes:
        image: uint8 of shape (1080, 1920, 3), RGB.
        boxes: The faces, (n, 4) in pixels.
        class_ids: Their classes, (n,).
        sizes: Their longer sides in pixels, (n,).
    """

    image: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    sizes: np.ndarray

    @property
    def measured(self) -> np.ndarray:
        """Which faces are measured: bool of shape (n,)."""
        return (self.sizes >= SIZES[0]) & (self.sizes <= SIZES[-1])


@options.expand_groups
def main(
    which: options.DetectorOptions = options.DETECTOR,
    annotations: options.Annotations = options.ANNOTATIONS,
    split: Annotated[str, typer.Option(help="Split of the records; one that was not trained on.")] = "test",
    frames: Annotated[int, typer.Option(min=1, help="Number of frames.")] = 25,
    thresholds: Annotated[str, typer.Option(help="Least scores of a box; a row for each.")] = "0.5,0.3",
    sides: Annotated[str, typer.Option(help="Sides of the slices in pixels.")] = "1080,800",
    save: Annotated[Path | None, typer.Option(help="Write the first frame to this PNG file.")] = None,
    seed: options.Seed = options.SEED,
) -> None:
    """Measure, and print one table."""
    chosen = detector_choice.choose_detector(which.choice())
    raw = chosen.load()
    composed = list(compose_frames(ground_truth.read_records(annotations, split), frames, np.random.default_rng(seed)))
    if save:
        Image.fromarray(composed[0].image).save(save)
    least = [float(text) for text in thresholds.split(",")]
    names = [f"recall {a}-{b}" for a, b in itertools.pairwise(SIZES)]
    table = Table("way", "score", *names, "recall", "right class", "false/frame", "CPU ms")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, detect, parts in ways_to_detect(raw, [int(side) for side in sides.split(",") if side]):
        detect(composed[0].image)  # the first run of a network is slower
        found, seconds = detect_in_frames(composed, detect, f"{name} ")
        for threshold in least:
            row = measure(composed, found, threshold)
            shares = [f"{share:.3f}" for share in (*row.recalls, row.recall, row.right_class)]
            milliseconds = f"{1000 * seconds / len(composed) / parts:.0f}"
            table.add_row(name, f"{threshold:g}", *shares, f"{row.false_boxes:.2f}", milliseconds)
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=120)
    console.print(table)
    faces = sum(int(frame.measured.sum()) for frame in composed)
    cores = hardware.usable_cores()
    console.print(
        f"{chosen.name}, {raw.name}; {len(composed)} frames, {faces} faces; {hardware.cpu_name()}, {cores} cores"
    )


def ways_to_detect(raw: RawDetector, sides: list[int]) -> Iterator[tuple[str, Detect, int]]:
    """Yield, for each way, its name, the function that detects in a frame, and the number of regions in a frame."""
    yield "whole", lambda image: raw.detect_all([image])[0], 1
    yield "padded", lambda image: detect_padded(raw, image), 1
    for side in sides:
        count = len(list(tiling.tiles_of(WIDTH, HEIGHT, side)))
        yield f"{count} slices of {side} px", partial(tiling.detect_whole_and_tiles, raw, side=side), 1
    other = raw.for_large_pictures if isinstance(raw, tiling.ScalingDetector) else None
    if other is not None:
        yield "twice the size", lambda image: other.detect_all([image])[0], 1
    yield "region", lambda image: detect_in_regions(raw, image), COLUMNS * ROWS


def compose_frames(
    pictures: Iterator[tuple[np.ndarray, GroundTruth]], count: int, draw: np.random.Generator
) -> Iterator[Frame]:
    """Compose so many frames. Each photograph is shown before any is shown again, and then at another size."""
    usable = [(image, truth) for image, truth in pictures if _scale_of(truth, SIZES[0]) <= LARGEST_ENLARGEMENT]
    each = COLUMNS * ROWS
    if len(usable) < each:
        raise UserError(f"a frame shows {each} photographs with faces; the split has {len(usable)}.")
    rounds = -(-count // (len(usable) // each))
    order = np.concatenate([draw.permutation(len(usable))[: len(usable) // each * each] for _ in range(rounds)])
    for start in range(0, count * each, each):
        yield compose_frame([usable[i] for i in order[start : start + each]], draw)


def compose_frame(pictures: list[tuple[np.ndarray, GroundTruth]], draw: np.random.Generator) -> Frame:
    """Put six photographs into the cells of a frame, each somewhere in its cell."""
    background = cv2.resize(pictures[0][0], (WIDTH // 20, HEIGHT // 20), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(background, (0, 0), WIDTH / 200)  # no face is left in it
    image = cv2.resize(blurred, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    cell_width, cell_height = WIDTH // COLUMNS, HEIGHT // ROWS
    boxes, class_ids = [], []
    for cell, (picture, truth) in enumerate(pictures):
        target = np.exp(draw.uniform(*np.log([SIZES[0], SIZES[-1]])))
        fits = min(cell_width / truth.width, cell_height / truth.height, LARGEST_ENLARGEMENT)
        scale = min(_scale_of(truth, target), fits)
        width, height = int(truth.width * scale), int(truth.height * scale)
        left = cell % COLUMNS * cell_width + int(draw.integers(0, cell_width - width + 1))
        top = cell // COLUMNS * cell_height + int(draw.integers(0, cell_height - height + 1))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=how)
        factors = np.tile([width / truth.width, height / truth.height], 2)
        boxes.append(truth.boxes * factors + [left, top, left, top])
        class_ids.append(truth.class_ids)
    xyxy = np.concatenate(boxes)
    return Frame(image, xyxy, np.concatenate(class_ids), (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1))


def _scale_of(truth: GroundTruth, target: float) -> float:
    """The scale at which the largest face of a picture has a longer side of `target` pixels."""
    if not len(truth.boxes):
        return float("inf")
    return float(target / (truth.boxes[:, 2:] - truth.boxes[:, :2]).max())


def detect_padded(raw: RawDetector, image: np.ndarray) -> sv.Detections:
    """Detect in a frame that grey below makes a square: a network with a square input then keeps its aspect ratio."""
    height, width = image.shape[:2]
    square = np.full((max(height, width), max(height, width), 3), 128, np.uint8)
    square[:height, :width] = image
    [found] = raw.detect_all([square])
    return found[found.xyxy[:, 1] < height]


def detect_in_regions(raw: RawDetector, image: np.ndarray) -> sv.Detections:
    """Detect in each of the six cells of a frame by itself."""
    width, height = WIDTH // COLUMNS, HEIGHT // ROWS
    parts = []
    for left, top in itertools.product(range(0, WIDTH, width), range(0, HEIGHT, height)):
        [found] = raw.detect_all([np.ascontiguousarray(image[top : top + height, left : left + width])])
        found.xyxy = found.xyxy + np.array([left, top, left, top], np.float32)
        parts.append(found)
    return sv.Detections.merge([part for part in parts if len(part)] or parts[:1])


def detect_in_frames(frames: list[Frame], detect: Detect, name: str) -> tuple[list[sv.Detections], float]:
    """The boxes of each frame, one for each face, and the processor seconds of all."""
    found, seconds = [], 0.0
    for frame in track(frames, name, transient=True):
        begun = time.process_time()
        found.append(one_box_per_face(detect(frame.image)))
        seconds += time.process_time() - begun
    return found, seconds


@dataclass(frozen=True)
class Measured:
    """The result of one way at one threshold.

    Attributes:
        recalls: The recall in each range of sizes.
        recall: The recall of all measured faces.
        right_class: The share of them that is found with its class.
        false_boxes: Boxes in a frame that are on no face.
    """

    recalls: list[float]
    recall: float
    right_class: float
    false_boxes: float


def measure(frames: list[Frame], found: list[sv.Detections], threshold: float) -> Measured:
    """Compare the boxes of each frame that score at least `threshold` with its faces."""
    sizes, hits, right, false = [], [], [], 0
    for frame, detections in zip(frames, found, strict=True):
        boxes = detections[np.asarray(detections.confidence) >= threshold]
        partner = match_faces(frame.boxes, boxes.xyxy)
        false += len(boxes) - int((partner >= 0).sum())
        ids = np.append(np.asarray(boxes.class_id, int), 0)  # 0, no class, is that of the partner -1
        sizes.append(frame.sizes[frame.measured])
        hits.append(partner[frame.measured] >= 0)
        right.append((ids[partner] == frame.class_ids)[frame.measured])
    all_hits = np.concatenate(hits)
    ranges = np.digitize(np.concatenate(sizes), SIZES[1:-1])
    recalls = [float(np.mean(all_hits[ranges == i])) for i in range(len(SIZES) - 1)]
    return Measured(recalls, float(all_hits.mean()), float(np.concatenate(right).mean()), false / len(frames))


def match_faces(faces: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The place in `boxes` of each face's partner, -1 where it has none. The best box chooses first."""
    partner = np.full(len(faces), -1)
    if len(faces) and len(boxes):
        iou = sv.box_iou_batch(faces.astype(np.float32), boxes)
        for place in range(len(boxes)):
            face = int(iou[:, place].argmax())
            if iou[face, place] >= 0.5:
                partner[face] = place
                iou[face] = 0
    return partner


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
