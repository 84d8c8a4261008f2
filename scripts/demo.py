"""`make demo`: the whole pipeline on the sample data set, from nothing to a picture with boxes."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command

STEPS, BATCH, SIZE = 1200, 4, 160
ENOUGH = 0.7
NOT_LEARNED = 1
"""Exit code of a demo that ran through and did not reach `ENOUGH`."""


def main(
    workspace: Annotated[Path, typer.Option(help="Folder of the demo; nothing outside it is touched.")] = Path(
        "workspace/demo"
    ),
    count: Annotated[int, typer.Option(help="Pictures to draw.", min=20)] = 400,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = STEPS,
    seed: Annotated[int, typer.Option(help="Seeds the pictures and the training.")] = 0,
) -> None:
    """Draw the sample, make records, train from scratch, export, and measure on pictures that were held out."""
    from scripts.tfod import estimate, training
    from scripts.tfod.progress import clock

    bf16 = training.choose_bf16("auto")
    seconds = estimate.training_seconds(SIZE, BATCH, steps, bf16)
    print(f"The demo takes about {clock(seconds + 120)} here, {clock(seconds)} of it for {steps} steps of training.")
    pictures, annotations, models = workspace / "images", workspace / "annotations", workspace / "models"
    exported, reports = workspace / "exported", workspace / "reports"
    began = time.monotonic()
    _step("sample", out=pictures, count=count, seed=seed)
    _step("records", images=pictures, annotations=annotations, split="80,5,15")
    _step(
        "train",
        run="demo",
        annotations=annotations,
        models=models,
        checkpoint="none",
        steps=steps,
        batch=BATCH,
        size=SIZE,
        optimizer="adam",
        learning_rate=0.0007,
        # The sample's faces are 30 to 65 px at this size: with 4 they meet the anchors of the finest level, whose
        # features learn soonest.
        anchor_scale=4,
        batch_norm_decay=0.97,
        augment="flip",
        eval_every=0,
        seed=seed,
    )
    _step("export", run="demo", annotations=annotations, models=models, exported=exported)
    _step("eval", run="demo", annotations=annotations, exported=exported, reports=reports)

    figures = json.loads((reports / "demo" / "metrics.json").read_text(encoding="utf-8"))["figures"]
    picture = workspace / "demo.jpg"
    _draw(annotations, exported / "demo", picture)
    score = figures["map50"]
    print(f"mAP@0.5 on the held-out pictures: {score:.3f}, after {clock(time.monotonic() - began)}")
    print(f"{picture}: one of them, prediction on the left, truth on the right")
    if score < ENOUGH:
        print(f"That is under {ENOUGH}: the detector has not learned what it should.", file=sys.stderr)
        raise typer.Exit(NOT_LEARNED)


def _step(name: str, **options: object) -> None:
    """Run a step as a user would; its options, its output, and its exit code where it fails."""
    print(f"\n--- {name}", flush=True)
    arguments = [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
    done = subprocess.run([sys.executable, "-m", f"scripts.{name}", *arguments], check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


def _draw(annotations: Path, model: Path, picture: Path) -> None:
    from scripts.dataset import truth
    from scripts.detect.detector import open_detector
    from scripts.media import pairs, writing

    detector = open_detector(model)
    image, labels = pairs.most_varied(truth.read_records(annotations, "test"))
    writing.write_image(picture, pairs.draw(image, labels, detector, threshold=0.5))


if __name__ == "__main__":
    command.run(main)
