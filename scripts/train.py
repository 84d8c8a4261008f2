"""`make train`: fine-tune a detector of the model zoo on the records, through the API's own `model_main_tf2`."""

import functools
import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


class Precision(str, Enum):
    """What training computes in."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


class Freeze(str, Enum):
    """What training leaves as it is."""

    NONE = "none"
    BACKBONE = "backbone"


def main(
    run: Annotated[str, typer.Option(help="Name of the run; the same name again goes on with it.")] = "default",
    annotations: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("annotations"),
    models: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("workspace/models"),
    model: Annotated[str, typer.Option(help="A model of configs/models.yaml.")] = "ssd_resnet50_v1_fpn_640x640",
    checkpoint: Annotated[
        str, typer.Option(help='"zoo" downloads the model\'s; a folder or archive; "none" trains from scratch.')
    ] = "zoo",
    steps: Annotated[int, typer.Option(help="Steps in all; the schedule ends there.", min=1)] = 3000,
    batch: Annotated[int, typer.Option(help="Images a step.", min=1)] = 8,
    size: Annotated[int | None, typer.Option(help="Side of the input in pixels. Default: the model's own.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Default: the zoo's, for this batch size.")] = None,
    optimizer: Annotated[str, typer.Option(help="momentum or adam.")] = "momentum",
    warmup_steps: Annotated[int | None, typer.Option(help="Default: 4% of the steps.")] = None,
    anchor_scale: Annotated[float, typer.Option(help="2 covers small faces; the zoo's is 4.")] = 2.0,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 weight. Default: the zoo's 0.0004; adam 0.00001.")
    ] = None,
    batch_norm_decay: Annotated[float | None, typer.Option(help="Default: 0.997, less in short runs.")] = None,
    clip_gradients: Annotated[float, typer.Option(help="Largest norm of the gradients; 0 does not clip.")] = 10.0,
    augment: Annotated[
        str, typer.Option(help="A preset of configs/augmentations: none, flip, light, strong.")
    ] = "light",
    freeze: Annotated[Freeze, typer.Option(help='"backbone" leaves the ResNet as it is.')] = Freeze.NONE,
    precision: Annotated[
        Precision, typer.Option(help="auto: bf16 where the processor or GPU has it.")
    ] = Precision.AUTO,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints; 0: about every five minutes.", min=0)] = 0,
    eval_every: Annotated[int, typer.Option(help="Steps between validations on val; 0: none.", min=0)] = 500,
    patience: Annotated[
        int, typer.Option(help="End after so many validations without a better one; 0: never.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seeds weights, order and augmentation.")] = 0,
    fresh: Annotated[bool, typer.Option(help="Start over: removes the run's checkpoints.")] = False,
) -> None:
    """Train a run and leave its checkpoints in <models>/<run>/."""
    options = {name: value.value if isinstance(value, Enum) else value for name, value in locals().items()}
    from scripts.dataset import manifest
    from scripts.dataset.label_map import LabelMap
    from scripts.support.provenance import made_by
    from scripts.tfod import machines, runs, training, zoo

    cluster = machines.read(os.environ)
    folder = runs.folder_of(models, run)
    records = manifest.read(annotations)
    zoo_model = zoo.find_model(model)
    if cluster:
        machines.refuse(cluster, records.splits["train"], batch, folder if fresh else None)
    choices = runs.Choices(
        size=size or zoo_model.size,
        steps=steps,
        batch=batch,
        optimizer=optimizer,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        anchor_scale=anchor_scale,
        weight_decay=weight_decay,
        batch_norm_decay=batch_norm_decay,
        clip_gradients=clip_gradients,
        augment=augment,
    )
    this = runs.Run(folder, model, LabelMap(records.classes), records.digest)
    settings_from = functools.partial(runs.settings, choices, records, annotations, this.folder)
    runs.check(this, settings_from(None), zoo_model.template, fresh=fresh)  # before anything is fetched
    settings = settings_from(zoo.resolve(checkpoint, zoo_model))
    if cluster is None or cluster.is_chief:
        runs.prepare(this, settings, zoo_model.template, made_by("train", **options), fresh=fresh)
    outcome = training.train(
        this.config,
        this.folder,
        settings,
        training.Options(
            bf16=training.choose_bf16(precision.value),
            save_every=save_every,
            freeze_backbone=freeze is Freeze.BACKBONE,
            validate_every=eval_every if records.splits["val"].boxes else 0,
            patience=patience,
            seed=seed,
        ),
        cluster,
    )
    print(f"{this.folder}: trained to step {outcome.step} of {steps}")
    sys.exit(outcome.exit_code)


if __name__ == "__main__":
    command.run(main)
