"""Measure the detectors from the smallest to the largest in each runtime and precision, and YOLO beside them.

    python -m venv yolo-env && yolo-env/bin/pip install ultralytics openvino
    python -m benchmarks.tiers --untrained --yolo-python yolo-env/bin/python [--tier "mine=default:crossval-ssd"]

The forms of the detector that comes with facemask are always measured, with the mAP of their model card. A tier is a
name, an exported run, and optionally the report of a cross-validation, whose mAP is shown. --untrained adds FPNLite at
320, 448 and 640 pixels and ResNet50 at 448 and 640 with random weights. Their times are those of trained models, except
that the suppression of boxes has less to do.

Each candidate runs in a process of its own, as in `benchmarks.infer`. The YOLOs have random weights too, run at 640
pixels, and are in an environment of their own, since ultralytics is AGPL-3.0. The column "times" is the time of YOLO11n
in PyTorch divided by the row's time.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.infer import ROOT, SHIPPED, Settings, lives, ours_of
from facemask.cli import options
from facemask.core import command_line, exported_model, hardware
from facemask.core.errors import UserError
from facemask.data import ground_truth
from facemask.ready import shipped_detector

YOLOS = "yolo11n,yolo11s,yolo26n"
UNTRAINED = (
    ("FPNLite 320", "ssd_mobilenet_v2_fpnlite_320x320", 320),
    ("FPNLite 448", "ssd_mobilenet_v2_fpnlite_640x640", 448),
    ("FPNLite 640", "ssd_mobilenet_v2_fpnlite_640x640", 640),
    ("ResNet50 448", "ssd_resnet50_v1_fpn_640x640", 448),
    ("ResNet50 640", "ssd_resnet50_v1_fpn_640x640", 640),
)


def main(
    tier: Annotated[list[str] | None, typer.Option(help="NAME=RUN or NAME=RUN:REPORT; may be repeated.")] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Add the models with random weights.")] = False,
    formats: Annotated[str, typer.Option(help="Formats of the untrained models.")] = "openvino",
    yolo_python: Annotated[str, typer.Option(help="The Python of an environment with ultralytics; empty: none.")] = "",
    yolos: Annotated[str, typer.Option(help="The YOLOs to measure.")] = YOLOS,
    annotations: options.Annotations = options.ANNOTATIONS,
    exported: options.Exported = options.EXPORTED,
    reports: options.Reports = options.REPORTS,
    count: Annotated[int, typer.Option(min=2, help="Pictures at most.")] = 50,
) -> None:
    """Measure, and print one table."""
    console = Console(highlight=False)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        tiers = [parse_tier(text, exported) for text in tier or []]
        for name, model, size in UNTRAINED if untrained else ():
            with console.status(f"{name}: making it"):
                folder = make_untrained(model, size, annotations, Path(scratch), formats)
            tiers.append((f"{name}, random weights", folder, ""))
        shipped = json.loads((shipped_detector.FOLDER / shipped_detector.NAME).read_text(encoding="utf-8"))["forms"]
        for form in shipped_detector.FORMS:
            with console.status(form):
                row = measure_candidate(exported / form, SHIPPED, annotations, count)
            rows.append(row | {"tier": form, "map": shipped[form]["figures"]["map50"]})
        for name, folder, report in tiers:
            for candidate in ours_of(Settings(folder, annotations, "test", None, count, 1, "")):
                with console.status(f"{name}: {candidate}"):
                    row = measure_candidate(folder, candidate, annotations, count)
                rows.append(row | {"tier": name, "map": read_map(reports / report) if report else None})
        if yolo_python:
            with console.status("YOLO"):
                rows += measure_yolos(yolo_python, yolos, annotations, count, Path(scratch))
    reference = next(
        (row["ms"] for row in rows if row["tier"].startswith("yolo11n") and row["name"] == "PyTorch"), None
    )
    table = Table("detector", "runtime", "ms", "p95 ms", "times", "peak MB", "first box, s", "mAP@0.5, folds")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row["tier"],
            row["name"],
            f"{row['ms']:.0f}",
            f"{row['p95']:.0f}",
            f"{reference / row['ms']:.1f}" if reference else "",
            f"{row['bytes'] / 2**20:,.0f}",
            f"{row['seconds']:.1f}" if "seconds" in row else "",
            f"{row['map']:.3f}" if row.get("map") is not None else "",
        )
    console.print(table)
    console.print(
        f"{count} pictures at most; {hardware.cpu_name()}, {hardware.usable_cores()} cores; "
        f"load {os.getloadavg()[1]:.1f} over the last 5 minutes. Other work on the machine makes the times unreliable."
    )


def parse_tier(text: str, exported: Path) -> tuple[str, Path, str]:
    """The name, the exported folder and the report of `NAME=RUN[:REPORT]`. Raises UserError."""
    found = re.fullmatch(r"([^=]+)=([^=:]+)(?::(.+))?", text)
    if not found:
        raise UserError(f"--tier {text}: must be NAME=RUN or NAME=RUN:REPORT.")
    folder = exported / found[2]
    exported_model.read_exported_model(folder)
    return found[1].strip(), folder, found[3] or ""


def make_untrained(model: str, size: int, annotations: Path, scratch: Path, formats: str) -> Path:
    """Train a model for one step from random weights, and export it. Returns the exported folder."""
    run = f"{model}-{size}"
    models, exported = scratch / "models", scratch / "exported"
    common = ["--run", run, "--annotations", str(annotations), "--models", str(models)]
    train = ["--model", model, "--size", str(size), "--steps", "1", "--batch", "1", "--checkpoint", "none"]
    lives([sys.executable, "-m", "scripts.train", *common, *train, "--eval-every", "0"])
    # Random scores lie around the threshold: thousands of boxes would go through the suppression, not dozens.
    config = models / run / "pipeline.config"
    config.write_text(re.sub(r"score_threshold: \S+", "score_threshold: 0.5", config.read_text()))
    lives([sys.executable, "-m", "scripts.export", *common, "--exported", str(exported), "--formats", formats])
    return exported / run


def measure_candidate(folder: Path, candidate: str, annotations: Path, count: int) -> dict[str, Any]:
    """The row of one runtime and precision, and the time of a whole process that detects in one picture."""
    child = [sys.executable, "-m", "benchmarks.infer", "--run", folder.name, "--exported", str(folder.parent)]
    child += ["--annotations", str(annotations), "--count", str(count), "--candidate", candidate]
    row: dict[str, Any] = json.loads(lives(child)[1].splitlines()[-1])
    return row | {"seconds": lives([*child, "--first"])[0]}


def measure_yolos(python: str, yolos: str, annotations: Path, count: int, scratch: Path) -> list[dict[str, Any]]:
    """The rows of the YOLOs, on the same pictures, cut to the size of the smallest."""
    images = [image for image, _ in itertools.islice(ground_truth.read_records(annotations, "test"), count)]
    height, width = (min(image.shape[side] for image in images) for side in (0, 1))
    # ultralytics expects OpenCV's order of the channels.
    np.save(scratch / "pictures.npy", np.stack([image[:height, :width, ::-1] for image in images]))
    command = [python, str(ROOT / "benchmarks" / "yolo_speed.py"), str(scratch), str(scratch / "pictures.npy"), yolos]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"{python}: benchmarks/yolo_speed.py ended with code {done.returncode}; see above.")
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def read_map(report: Path) -> float:
    """mAP@0.5 of an evaluation. Raises UserError."""
    from facemask.evaluation import evaluate

    return float(evaluate.read_evaluation(report).metrics["figures"]["map50"])


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
