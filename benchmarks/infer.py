"""Measure the exported model in each runtime and precision, and compare it with the plain script of the API's tutorial.

    python -m benchmarks.infer --run default [--split test] [--count 50] [--yolo yolo11n.pt]

The candidates run one after the other, each in a process of its own, on the same pictures. The columns are:

- ms: the time from the array in memory to the boxes of a picture, without the first picture, which is slower;
- times: how many times as fast as the first row;
- images/s: for pictures in memory, with several given at once;
- memory: the largest resident size;
- first box: the whole run of a process that detects in one picture. For this project's runtimes that is
  `python -m scripts.infer`, with drawing and writing;
- mAP@0.5: on the same pictures, so that a fast model that finds nothing is noticed.

The plain script does the same as the API's tutorial: it calls tf.saved_model.load and detects one picture at a time.
"""

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from facemask.core import command_line, hardware
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap

ROOT = Path(__file__).parents[1]
PLAIN, YOLO, SHIPPED = "plain TensorFlow script", "yolo", "shipped"
"""Candidates besides the runtimes. `SHIPPED` is the form of the shipped detector that the run names, for `tiers`."""


def main(
    run: Annotated[str, typer.Option(help="Name of the exported run.")] = "default",
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
    annotations: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("annotations"),
    split: Annotated[str, typer.Option(help="Split of the records to measure on.")] = "test",
    images: Annotated[Path | None, typer.Option(help="Or a folder of images with Pascal VOC XML.")] = None,
    count: Annotated[int, typer.Option(min=2, help="Pictures at most.")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="Pictures given at once for images/s.")] = 8,
    yolo: Annotated[str, typer.Option(help="Weights for ultralytics, such as yolo11n.pt; empty: none.")] = "",
    candidate: Annotated[str, typer.Option(help="Measure this one in this process, and print JSON.")] = "",
    first: Annotated[bool, typer.Option("--first", help="With --candidate: detect in one picture only.")] = False,
) -> None:
    """Measure, and print one table."""
    given = Settings(exported / run, annotations, split, images, count, batch, yolo)
    if candidate:
        print(json.dumps(measure(candidate, given, first)))
        return
    if yolo:
        refuse_missing_ultralytics()
    console = Console(highlight=False)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        infer = [sys.executable, "-m", "scripts.infer", "--run", run, "--exported", str(exported)]
        infer += ["--img", str(write_one(given, Path(scratch))), "--predictions", scratch]
        ours = ours_of(given)
        for name in [PLAIN, "auto", *ours, *([YOLO] if yolo else [])]:
            if name in (row["name"] for row in rows):
                continue  # auto selects this one
            with console.status(name):
                child = [sys.executable, "-m", "benchmarks.infer", *sys.argv[1:], "--candidate", name]
                row = json.loads(lives(child)[1].splitlines()[-1])
                if name in ours:
                    runtime, precision = name.split()
                    seconds, _ = lives([*infer, "--runtime", runtime, "--precision", precision])
                else:
                    seconds, _ = lives(infer if name == "auto" else [*child, "--first"])
            rows.append(row | {"seconds": seconds, "how": " (auto)" * (name == "auto")})
    table = Table("what", "ms", "p95 ms", "times", "images/s", "peak MB", "first box, s", "mAP@0.5")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row["name"] + row["how"],
            f"{row['ms']:.0f}",
            f"{row['p95']:.0f}",
            f"{rows[0]['ms'] / row['ms']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['bytes'] / 2**20:,.0f}",
            f"{row['seconds']:.1f}",
            "" if row["map50"] is None else f"{row['map50']:.3f}",
        )
    console.print(table)
    console.print(
        f"{rows[0]['images']} pictures; {hardware.cpu_name()}, {hardware.usable_cores()} cores; "
        f"load {os.getloadavg()[1]:.1f} over the last 5 minutes. Other work on the machine makes the times unreliable."
    )


@dataclass(frozen=True)
class Settings:
    """The model and the pictures of the benchmark."""

    exported: Path
    annotations: Path
    split: str
    images: Path | None
    count: int
    batch: int
    yolo: str


def ours_of(given: Settings) -> list[str]:
    """Every runtime and precision that can run on this machine."""
    from facemask.core import exported_model
    from facemask.detect.runtimes import PRECISIONS, ready_runtimes

    model = exported_model.read_exported_model(given.exported)
    return [f"{name} {precision}" for precision in PRECISIONS for name in ready_runtimes(model, precision)]


def pictures(given: Settings, label_map: LabelMap) -> Any:
    from facemask.evaluation import evaluated_pictures

    where = (
        evaluated_pictures.PictureSource(given.images)
        if given.images
        else evaluated_pictures.records_source(given.annotations, given.split, label_map)
    )
    return itertools.islice(evaluated_pictures.read_pictures(where, label_map), given.count)


def write_one(given: Settings, folder: Path) -> Path:
    from PIL import Image

    from facemask.core import exported_model

    image, _ = next(pictures(given, exported_model.read_exported_model(given.exported).label_map))
    path = folder / "one.png"
    Image.fromarray(image).save(path)
    return path


def lives(command: Sequence[str]) -> tuple[float, str]:
    """Run a process. Returns its seconds and its output."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with code {done.returncode}")
    return time.perf_counter() - start, done.stdout


def measure(candidate: str, given: Settings, first: bool) -> dict[str, Any]:
    """Measure the times, the memory and the accuracy of one candidate, in a process of its own."""
    from facemask.evaluation import coco
    from facemask.evaluation.measurement import measure_detector as run

    detector = open_candidate(candidate, given)
    label_map = detector.label_map
    if first:
        image, _ = next(pictures(given, label_map))
        return {"boxes": len(detector.detect_all([image])[0])}
    measured = run(detector, pictures(given, label_map))
    held = [image for image, _ in itertools.islice(pictures(given, label_map), 4 * given.batch)]
    start = time.perf_counter()
    for place in range(0, len(held), given.batch):
        detector.detect_all(held[place : place + given.batch])
    rate = len(held) / (time.perf_counter() - start)
    known = getattr(detector, "knows_classes", True)
    return {
        "name": detector.name,
        "images": len(measured.truths),
        "ms": measured.speed.latency_ms,
        "p95": measured.speed.latency_p95_ms,
        "images_per_second": rate,
        "map50": coco.evaluate_detections(measured.truths, measured.detections, label_map).map50 if known else None,
        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def open_candidate(candidate: str, given: Settings) -> Any:
    from facemask.core import exported_model
    from facemask.detect import detector_choice
    from facemask.detect.opened_detector import open_detector

    if candidate == SHIPPED:
        choice = detector_choice.DetectorChoice(given.exported.parent, given.exported.name)
        return detector_choice.choose_detector(choice, report=lambda line: None).open()
    label_map = exported_model.read_exported_model(given.exported).label_map
    if candidate == PLAIN:
        return PlainScript(given.exported, label_map)
    if candidate == "auto":
        return open_detector(given.exported)
    if candidate == YOLO:
        return Ultralytics(given.yolo, label_map)
    return open_detector(given.exported, *candidate.split())


class PlainScript:
    """Run an exported model like the API's tutorial."""

    name = PLAIN

    def __init__(self, exported: Path, label_map: LabelMap) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf

        self.label_map = label_map
        self.detect_fn = tf.saved_model.load(str(exported / "saved_model"))

    def detect_all(self, images: Sequence[np.ndarray]) -> list[Any]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Any:
        import tensorflow as tf

        from facemask.detect.model_outputs import detections_from_outputs

        input_tensor = tf.convert_to_tensor(image)[tf.newaxis, ...]
        outputs = self.detect_fn(input_tensor)
        return detections_from_outputs({name: value.numpy() for name, value in outputs.items()}, image, self.label_map)


class Ultralytics:
    """Run a YOLO of ultralytics. Its mAP is meaningful only if it has the classes of the data."""

    def __init__(self, weights: str, label_map: LabelMap) -> None:
        if Path(weights).is_file():
            os.environ.setdefault("YOLO_OFFLINE", "true")  # without it, ultralytics reports its use
        import ultralytics

        self.name = f"ultralytics {Path(weights).name}"
        self.label_map = label_map
        self.model = ultralytics.YOLO(weights)
        names: dict[int, str] = self.model.names
        known = {name: i for i, name in enumerate(label_map.names, start=1)}
        self.ids = {index: known[name] for index, name in names.items() if name in known}
        self.knows_classes = len(self.ids) == len(label_map)

    def detect_all(self, images: Sequence[np.ndarray]) -> list[Any]:
        import supervision as sv

        found = []
        # ultralytics expects OpenCV's order of the channels.
        turned = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        for result in self.model.predict(turned, conf=0.001, verbose=False):
            boxes = sv.Detections.from_ultralytics(result)
            boxes = boxes[np.isin(boxes.class_id, list(self.ids))]
            boxes.class_id = np.array([self.ids[index] for index in boxes.class_id], int)
            found.append(boxes)
        return found


def refuse_missing_ultralytics() -> None:
    import importlib.util

    if importlib.util.find_spec("ultralytics") is None:
        raise UserError(
            "--yolo needs ultralytics, which is not installed here and not in the lock (it is AGPL-3.0, and brings "
            "PyTorch): install it into an environment of your own, or leave --yolo out."
        )


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
