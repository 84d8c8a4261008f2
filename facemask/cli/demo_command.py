"""Run every step on the sample data set, in a folder of its own."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options, step_process

STEPS, BATCH, SIZE = 220, 8, 160
ENOUGH = 0.85
"""The least mAP@0.5. The detector that comes with facemask has 0.52 on the sample before it is trained."""
NOT_LEARNED = 1
"""Exit code of a complete demo that did not reach `ENOUGH`."""


def main(
    workspace: Annotated[
        Path,
        typer.Option(
            help="Folder of the demo. Only the shipped weights are unpacked elsewhere: to workspace/pretrained."
        ),
    ] = Path("workspace/demo"),
    count: Annotated[int, typer.Option(help="Pictures to draw.", min=20)] = 400,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = STEPS,
    seed: options.Seed = options.SEED,
) -> None:
    """Draw the sample, make records, fine-tune on it what comes with facemask, export, and measure before and after."""
    from facemask.core.progress import format_duration

    print(f"The demo trains for {steps} steps. This takes minutes; an estimate follows after twenty steps.")
    pictures, annotations, models = workspace / "images", workspace / "annotations", workspace / "models"
    exported, reports = workspace / "exported", workspace / "reports"
    began = time.monotonic()
    _step("sample", out=pictures, count=count, seed=seed)
    _step("records", images=pictures, annotations=annotations, split="80,5,15")
    _step("eval", run="ready-ssd", annotations=annotations, reports=reports, report="before")
    _step(
        "train",
        run="demo",
        annotations=annotations,
        models=models,
        checkpoint="ready",
        steps=steps,
        batch=BATCH,
        size=SIZE,
        learning_rate=0.001,
        augment="flip",
        eval_every=0,
        seed=seed,
    )
    _step("export", run="demo", annotations=annotations, models=models, exported=exported)
    _step("eval", run="demo", annotations=annotations, exported=exported, reports=reports)

    picture = workspace / "demo.jpg"
    _draw(annotations, exported / "demo", picture)
    before, score = _map50(reports / "before"), _map50(reports / "demo")
    took = format_duration(time.monotonic() - began)
    print(f"mAP@0.5 on the held-out pictures: {before:.3f} before training, {score:.3f} after it; {took} in all")
    print(f"{picture}: one of them, prediction on the left, ground truth on the right")
    if score < ENOUGH:
        print(f"The mAP is under {ENOUGH}: training did not work as expected.", file=sys.stderr)
        raise typer.Exit(NOT_LEARNED)


def _step(name: str, **options: object) -> None:
    print(f"\n--- {name}", flush=True)
    step_process.run_step_process(name, options)


def _map50(report: Path) -> float:
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    return float(metrics["figures"]["map50"])


def _draw(annotations: Path, model: Path, picture: Path) -> None:
    from facemask.data import ground_truth
    from facemask.detect.opened_detector import open_detector
    from facemask.detect.score_thresholds import thresholds_by_class
    from facemask.media import side_by_side, writing

    detector = open_detector(model)
    image, labels = side_by_side.most_varied(ground_truth.read_records(annotations, "test"))
    thresholds = thresholds_by_class(detector.thresholds, detector.label_map)
    writing.write_image(picture, side_by_side.draw_side_by_side(image, labels, detector, thresholds))
