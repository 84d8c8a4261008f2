"""Fine-tune a model of the zoo on the records, or continue a run."""

import contextlib
import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


class Freeze(str, Enum):
    """The part of the model that training does not change."""

    NONE = "none"
    EARLY = "early"
    BACKBONE = "backbone"


def main(
    run: options.TrainingRun = options.RUN,
    annotations: options.Annotations = options.ANNOTATIONS,
    models: options.Models = options.MODELS,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"Name of a model in configs/models.yaml. Default: {options.MODEL}, or that of CHECKPOINT=ready."
        ),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(
            help='Initial weights: "zoo" or "imagenet" (backbone only), both downloaded; "ready" (the detector that '
            "comes with facemask); a folder, archive or .h5 file; the folder of an exported classifier (backbone "
            'only); or "none" for random weights.'
        ),
    ] = "zoo",
    steps: Annotated[
        int | None,
        typer.Option(
            help="Total number of steps; the learning rate schedule ends there. Default: 3000; 200 with "
            "CHECKPOINT=ready.",
            min=1,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images in a step.", min=1)] = 8,
    size: options.InputSize = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Learning rate. Default: the optimizer's, for this batch size; 0.0002 with CHECKPOINT=ready and no "
            "OPTIMIZER."
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="Optimizer: momentum or adam. Default: momentum; adam with CHECKPOINT=ready."),
    ] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Steps of warm-up. Default: 4% of the steps.")] = None,
    anchor_scale: Annotated[
        float | None,
        typer.Option(
            help="The model's anchor scale. 2 covers small faces; the zoo uses 4. Default: that of the run that goes "
            "on, of CHECKPOINT=ready, or of the run or export that CHECKPOINT= names; else "
            f"{options.ANCHOR_SCALE}.",
            min=0.1,
            max=100,
        ),
    ] = None,
    head_depth: Annotated[
        int | None, typer.Option(help="Channels of the convolutions in the heads. Default: the model's own.", min=1)
    ] = None,
    head_layers: Annotated[
        int | None,
        typer.Option(help="Convolutions in each head before the one that predicts. Default: the model's own.", min=1),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 weight. Default: the zoo's 0.0004; adam 0.00001.")
    ] = None,
    batch_norm_decay: Annotated[
        float | None, typer.Option(help="Decay of batch normalisation. Default: 0.997, less in short runs.")
    ] = None,
    clip_gradients: Annotated[float, typer.Option(help="Largest norm of the gradients; 0 does not clip.")] = 10.0,
    augment: options.Augment = options.AUGMENT,
    freeze: Annotated[
        Freeze,
        typer.Option(
            help='"backbone" does not train the backbone; "early" not its layers up to stride 8, which take half of a '
            "step's time."
        ),
    ] = Freeze.NONE,
    precision: options.TrainingPrecision = options.TRAINING_PRECISION,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints; 0: about every five minutes.", min=0)] = 0,
    eval_every: Annotated[int, typer.Option(help="Steps between validations on val; 0: none.", min=0)] = 500,
    patience: Annotated[
        int, typer.Option(help="Stop after this many validations without a better one; 0: never.", min=0)
    ] = 0,
    average: Annotated[
        float, typer.Option(help="Decay of averaged weights, such as 0.998; 0: the last step's weights.")
    ] = 0.0,
    seed: options.Seed = options.SEED,
    fresh: options.Fresh = False,
    new_records: Annotated[
        bool, typer.Option("--new-records", help="Continue a run that was trained on other records.")
    ] = False,
) -> None:
    """Train a run and write its checkpoints to <models>/<run>/."""
    given = {name: value.value if isinstance(value, Enum) else value for name, value in locals().items()}
    from facemask.core.files import expand_home
    from facemask.core.label_map import LabelMap
    from facemask.core.provenance import READY, made_by, started_from
    from facemask.core.run_names import run_folder
    from facemask.data import manifest
    from facemask.evaluation import seen_pictures
    from facemask.ready import shipped_detector
    from facemask.tfod import detector_training, distributed, model_zoo, pipeline_config, ready_start, training_runs

    cluster = distributed.read_tf_config(os.environ)
    folder = run_folder(models, run)
    records = manifest.read_manifest(annotations)
    shipped = ready_start.read_ready_start() if checkpoint == READY else None
    if shipped:
        model, size, steps = model or shipped.model, size or shipped.size, steps or ready_start.STEPS
        if optimizer is None:
            optimizer = ready_start.OPTIMIZER
            learning_rate = ready_start.LEARNING_RATE if learning_rate is None else learning_rate
    model, steps, optimizer = model or options.MODEL, steps or 3000, optimizer or "momentum"
    zoo_model = model_zoo.find_model(model)
    if anchor_scale is None:
        own = None if fresh else training_runs.learned_anchor_scale(folder)
        begun_at = shipped.anchor_scale if shipped else training_runs.learned_anchor_scale(expand_home(checkpoint))
        anchor_scale = own or begun_at or options.ANCHOR_SCALE
    if cluster:
        distributed.refuse_cluster(cluster, records.splits["train"], batch, folder if fresh else None)
    settings = training_runs.make_settings(
        records,
        annotations,
        folder,
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
        head_depth=head_depth or zoo_model.head_depth,
        head_layers=head_layers or zoo_model.head_layers,
    )
    config = pipeline_config.make_config(zoo_model.template, settings)
    this = training_runs.Run(folder, model, LabelMap(records.classes), records.digest)
    training_runs.refuse_run(this, config, fresh=fresh, new_records=new_records)  # before anything is fetched
    if fresh:
        training_runs.refuse_to_remove(folder, Path(checkpoint))
    goes_on = training_runs.run_goes_on(this, fresh=fresh)
    start = None if goes_on else model_zoo.resolve_checkpoint(checkpoint, zoo_model)
    began = READY if start and checkpoint == READY else started_from(folder if goes_on else expand_home(checkpoint))
    is_chief = cluster is None or cluster.is_chief
    if is_chief and checkpoint == READY:
        learned = shipped_detector.open_shipped().training_pictures
        seen_pictures.warn_of_start(f"CHECKPOINT={checkpoint}", annotations, learned)
    with training_runs.locked_run(folder) if is_chief else contextlib.nullcontext():
        if is_chief:
            made = made_by("train", **given) | {"started_from": began}
            training_runs.prepare_run(this, config, start, made, fresh=fresh, new_records=new_records)
        outcome = detector_training.train(
            this.config,
            this.folder,
            settings,
            detector_training.Options(
                bf16=detector_training.choose_bf16(precision.value),
                save_every=save_every,
                freeze=freeze.value,
                validate_every=eval_every if records.splits["val"].boxes else 0,
                patience=patience,
                average=average,
                seed=seed,
            ),
            cluster,
        )
    print(f"{this.folder}: trained to step {outcome.step} of {steps}")
    sys.exit(outcome.exit_code)
