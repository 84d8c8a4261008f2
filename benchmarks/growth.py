"""Measure how the cost of the steps grows with the number of pictures.

    python -m benchmarks.growth [--counts 1000,10000,50000] [--folder workspace/growth]

The pictures are 200 x 150 JPEG files of some 10 KB, cut out of 200 drawn ones (`make sample`), mirrored, and lit and
tinted differently, so that few of them look alike. The same number always gives the same picture.

Each step runs as a user runs it, in processes of its own. `make eval` measures a network that computes next to nothing
and answers 100 boxes a picture, which is what an SSD answers: what is seen is the cost of the step, not of the
detector. `make compare` compares the evaluation with a copy of itself.

"growth" is log(t2 / t1) / log(n2 / n1) of the CPU seconds, from the row above with fewer pictures: 1 is linear, 2 is
quadratic. The time to start Python and its libraries is included, which lowers it for the smaller numbers. Processor
time barely changes with what else the machine does; the seconds on the wall do.

A run that was stopped goes on where it stopped, with the same command: pictures and finished measurements are kept in
the folder. `--steps report,compare --again` measures these steps once more. Remove the folder when you are done.
"""

import functools
import io
import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from benchmarks.processes import Cost, measure
from facemask.core import command_line, files, hardware, worker_processes
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.label_map import LabelMap
from facemask.data import drawn_sample, voc
from facemask.data.voc import Annotation, Box

WIDTH, HEIGHT = 200, 150
DRAWN = 200
BOXES = 100
"""Boxes that the made network answers for each picture."""

TOLERATED = 1.1
"""A step whose CPU seconds grow faster is named below the table."""

MIN_SIDE = 8
"""Pixels. A face of which the cut leaves less is not labelled."""


@dataclass(frozen=True)
class Place:
    """The folders of one number of pictures."""

    folder: Path
    count: int
    processes: int

    @property
    def own(self) -> Path:
        return self.folder / str(self.count)

    @property
    def images(self) -> Path:
        return self.own / "images"

    @property
    def reports(self) -> Path:
        return self.own / "reports"


def records_step(place: Place) -> list[str]:
    shutil.rmtree(place.own / "annotations", ignore_errors=True)  # or they would be up to date
    annotations, processes = str(place.own / "annotations"), str(place.processes)
    return ["--images", str(place.images), "--annotations", annotations, "--processes", processes]


def check_step(place: Place) -> list[str]:
    options = ["--images", str(place.images), "--annotations", str(place.own / "annotations")]
    return [*options, "--page", str(place.reports / "data.html"), "--processes", str(place.processes)]


def eval_step(place: Place) -> list[str]:
    write_detector(place.folder / "exported" / "made")
    options = ["--run", "made", "--exported", str(place.folder / "exported"), "--images", str(place.images)]
    return [*options, "--reports", str(place.reports)]


def report_step(place: Place) -> list[str]:
    return ["--run", "made", "--reports", str(place.reports), "--models", str(place.folder / "models")]


def compare_step(place: Place) -> list[str]:
    shutil.copytree(place.reports / "made", place.reports / "copy", dirs_exist_ok=True)
    return ["--runs", "made,copy", "--reports", str(place.reports)]


STEPS: dict[str, Callable[[Place], list[str]]] = {
    "records": records_step,
    "check": check_step,
    "eval": eval_step,
    "report": report_step,
    "compare": compare_step,
}
"""The steps in their order; each function prepares its step and returns its options."""


def main(
    counts: Annotated[str, typer.Option(help="Numbers of pictures.")] = "1000,10000,50000",
    folder: Annotated[Path, typer.Option(help="Folder for the pictures, the steps' files, and results.json.")] = Path(
        "workspace/growth"
    ),
    steps: Annotated[str, typer.Option(help="The steps to measure.")] = ",".join(STEPS),
    again: Annotated[bool, typer.Option("--again", help="Measure them once more.")] = False,
    processes: Annotated[int, typer.Option(help="Processes of records and check; 0: one a core.", min=0)] = 0,
) -> None:
    """Measure, and print one table."""
    console = Console(highlight=False)
    sizes = sorted({int(count) for count in counts.split(",")})
    wanted = [step.strip() for step in steps.split(",")]
    if unknown := set(wanted) - STEPS.keys():
        raise UserError(f"--steps {', '.join(sorted(unknown))}: there are {', '.join(STEPS)}.")
    folder = folder.absolute()
    costs = read_costs(folder)
    for count in sizes:
        place = Place(folder, count, processes)
        make_pictures(place, console)
        for step in wanted:
            if (step, count) in costs and not again:
                continue
            command = [sys.executable, "-m", f"scripts.{step}", *STEPS[step](place)]
            with console.status(f"{step}: {count:,} pictures"):
                costs[step, count] = measure(command)
            write_costs(folder, costs)
            cost = costs[step, count]
            console.print(f"{step}, {count:,} pictures: {cost.cpu_seconds:.1f} CPU s, {cost.memory / 2**20:,.0f} MB")
    shown = {key: cost for key, cost in costs.items() if key[1] in sizes}
    wide = console if console.is_terminal else Console(highlight=False, width=120)
    wide.print(growth_table(shown))
    wide.print(verdict(shown), soft_wrap=True)
    wide.print(f"{hardware.cpu_name()}, {processes or hardware.usable_cores()} processes for records and check")


# ---- the table ----


def growth_table(costs: dict[tuple[str, int], Cost]) -> Table:
    """A row for each step and number of pictures."""
    table = Table("step", "pictures", "seconds", "CPU s", "CPU s per 1,000", "growth", "peak MB")
    for column in table.columns[1:]:
        column.justify = "right"
    exponents = growth_exponents(costs)
    for step in STEPS:
        for count in sorted(number for name, number in costs if name == step):
            cost = costs[step, count]
            table.add_row(
                step,
                f"{count:,}",
                f"{cost.seconds:.1f}",
                f"{cost.cpu_seconds:.1f}",
                f"{1000 * cost.cpu_seconds / count:.2f}",
                f"{exponents[step, count]:.2f}" if (step, count) in exponents else "",
                f"{cost.memory / 2**20:,.0f}",
            )
        table.add_section()
    return table


def growth_exponents(costs: dict[tuple[str, int], Cost]) -> dict[tuple[str, int], float]:
    """The exponent of the CPU seconds from the next smaller number of pictures, by step and number."""
    found = {}
    for step, count in costs:
        smaller = [number for name, number in costs if name == step and number < count]
        if smaller:
            before = max(smaller)
            times = costs[step, count].cpu_seconds / costs[step, before].cpu_seconds
            found[step, count] = math.log(times) / math.log(count / before)
    return found


def verdict(costs: dict[tuple[str, int], Cost]) -> str:
    """A sentence that names what grows faster than `TOLERATED`."""
    faster = [
        f"{step} at {count:,} ({exponent:.2f})"
        for (step, count), exponent in growth_exponents(costs).items()
        if exponent > TOLERATED
    ]
    return f"Worse than linear: {', '.join(faster)}." if faster else "Nothing grows worse than linearly."


def read_costs(folder: Path) -> dict[tuple[str, int], Cost]:
    """The finished measurements, by step and number of pictures."""
    path = folder / "results.json"
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {(row.pop("step"), row.pop("pictures")): Cost(**row) for row in rows}


def write_costs(folder: Path, costs: dict[tuple[str, int], Cost]) -> None:
    rows = [{"step": step, "pictures": count, **asdict(cost)} for (step, count), cost in costs.items()]
    files.write_json(folder / "results.json", rows)


# ---- the pictures ----


def make_pictures(place: Place, console: Console) -> None:
    """Write those pictures that are not there yet, each with its XML."""
    missing = [number for number in range(place.count) if not picture_path(place.images, number).is_file()]
    if not missing:
        return
    drawn = place.folder / "drawn"
    if not drawn.is_dir():
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("drawing", total=DRAWN)
            drawn_sample.write_sample(
                drawn, DRAWN, 0, place.processes, lambda done, _: progress.update(task, completed=done)
            )
    place.images.mkdir(parents=True, exist_ok=True)
    write = functools.partial(write_picture, drawn, place.images)
    written = worker_processes.ordered_results(write, missing, place.processes)
    for _ in track(written, f"making {place.count:,} pictures", len(missing), console=console, transient=True):
        pass


def picture_path(folder: Path, number: int) -> Path:
    return folder / f"picture{number:06}.jpg"


def write_picture(drawn: Path, folder: Path, number: int) -> None:
    """Write a picture and its XML. The picture is renamed to its name last, so that one that is there is complete."""
    path = picture_path(folder, number)
    image, boxes = vary(*read_drawn(drawn, number % DRAWN), np.random.default_rng(number))
    annotation = Annotation(path.with_suffix(".xml"), path.name, WIDTH, HEIGHT, boxes)
    voc.write_voc(annotation.path, annotation)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=80)
    files.write_bytes(path, jpeg.getvalue())


@functools.cache
def read_drawn(drawn: Path, number: int) -> tuple[Image.Image, tuple[Box, ...]]:
    path = drawn / f"sample_{number:03d}.jpg"
    with Image.open(path) as image:
        return image.convert("RGB"), voc.read_voc(path.with_suffix(".xml")).boxes


def vary(image: Image.Image, boxes: tuple[Box, ...], rng: np.random.Generator) -> tuple[Image.Image, tuple[Box, ...]]:
    """A part of the picture at WIDTH x HEIGHT, mirrored or not, lit and tinted at random, and its boxes."""
    scale = rng.uniform(0.65, 1.0)
    wide, high = image.width * scale, image.height * scale
    left, top = rng.uniform(0, image.width - wide), rng.uniform(0, image.height - high)
    mirrored = rng.random() < 0.5
    cut = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, (left, top, left + wide, top + high))
    pixels = np.asarray(cut, np.float32)
    # Light that differs from place to place changes the perceptual hash; a tint alone would not.
    light = Image.fromarray(rng.uniform(0.5, 1.4, (5, 6)).astype(np.float32)).resize((WIDTH, HEIGHT), Image.BICUBIC)
    pixels = pixels[:, ::-1] if mirrored else pixels
    pixels = pixels * np.asarray(light)[..., None] * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    kept = []
    for box in boxes:
        xmin, xmax = ((edge - left) * WIDTH / wide for edge in (box.xmin, box.xmax))
        if mirrored:
            xmin, xmax = WIDTH - xmax, WIDTH - xmin
        ymin, ymax = ((edge - top) * HEIGHT / high for edge in (box.ymin, box.ymax))
        x, y = np.clip([xmin, xmax], 0, WIDTH).round(), np.clip([ymin, ymax], 0, HEIGHT).round()
        if min(x[1] - x[0], y[1] - y[0]) >= MIN_SIDE:
            kept.append(Box(box.label, int(x[0]), int(y[0]), int(x[1]), int(y[1])))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), tuple(kept)


# ---- the detector ----


def write_detector(folder: Path) -> None:
    """Export a network for OpenVINO that answers the same boxes for every picture; their scores follow its brightness.

    Like those of an SSD, most scores are near 0: some four a picture are above 0.5.
    """
    import openvino as ov
    from openvino import opset13 as ops

    if (folder / "model.json").is_file():
        return
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.75, (BOXES, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.2, 0.4, (BOXES, 2)) * [1.2, 0.8]], axis=1).clip(0, 1)
    picture = ops.parameter([1, -1, -1, 3], np.uint8, name="input_tensor")
    picture.output(0).get_tensor().set_names({"input_tensor"})
    brightness = ops.divide(
        ops.reduce_mean(ops.convert(picture, np.float32), np.array([1, 2, 3]), False), np.float32(160)
    )
    scores = np.exp(-np.linspace(0, 9, BOXES, dtype=np.float32))[np.newaxis]
    outputs = {
        "detection_boxes": ops.constant(boxes[np.newaxis].astype(np.float32)),
        "detection_scores": ops.minimum(ops.multiply(brightness, ops.constant(scores)), np.float32(1)),
        "detection_classes": ops.constant(np.arange(BOXES, dtype=np.float32)[np.newaxis] % 3 + 1),
        "num_detections": ops.constant(np.array([BOXES], np.float32)),
    }
    results = []
    for name, value in outputs.items():
        results.append(ops.result(value))
        results[-1].output(0).get_tensor().set_names({name})
    (folder / "openvino").mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model(results, [picture]), folder / "openvino" / "model.xml", compress_to_fp16=False)
    ExportedModel(folder, "made", LabelMap(drawn_sample.CLASSES), HEIGHT, WIDTH, "made", 1, "none").write({})


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
