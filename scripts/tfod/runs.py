"""A training run's folder, `workspace/models/<RUN>`, and what may happen to it.

pipeline.config       the run's configuration, as the API reads it
label_map.pbtxt       its classes; a copy, so that new records do not change the run
run.json              what the run is (`Run`) and what made it
checkpoint, ckpt-N.*  the latest checkpoints; N is the step
best/                 the best checkpoint by validation mAP, where the run was validated
train/, eval/         TensorBoard's events
"""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.dataset.label_map import LabelMap
from scripts.dataset.manifest import Manifest
from scripts.support import written
from scripts.support.errors import UserError
from scripts.support.files import replacing, write_json
from scripts.tfod import pipeline_config, restoring

FORMAT = 1
NAME = "run.json"
LABEL_MAP = "label_map.pbtxt"

_ZOO_BATCH_NORM_DECAY = 0.997
_WEIGHT_DECAY = {"momentum": 0.0004, "adam": 0.00001}
"""The zoo's L2 weight, and one for Adam, which divides every gradient by its size: the zoo's would shrink kernels whose
own gradient is small by the whole learning rate at each step (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
_COCO_DETECTIONS = 100
"""Detections of one picture that COCO's metrics look at, and the zoo's models give."""


@dataclass(frozen=True)
class Choices:
    """What a user may choose about a run; None leaves the choice to `settings`. The fields are those of `Settings`."""

    size: int
    steps: int
    batch: int
    optimizer: str = "momentum"
    learning_rate: float | None = None
    warmup_steps: int | None = None
    anchor_scale: float = 2.0
    weight_decay: float | None = None
    batch_norm_decay: float | None = None
    clip_gradients: float = 10.0
    augment: str = "light"


@dataclass(frozen=True)
class Run:
    """What `run.json` says.

    Attributes:
        folder: The run's folder.
        model: The architecture, as the model zoo names it.
        label_map: The classes.
        records_digest: Digest of the records that it trains on.
    """

    folder: Path
    model: str
    label_map: LabelMap
    records_digest: str

    @property
    def config(self) -> Path:
        """The run's pipeline config."""
        return self.folder / "pipeline.config"


def folder_of(models: Path, name: str) -> Path:
    """The folder of the run that RUN= names. Raises UserError for a name that would be a place outside `models`."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UserError(f"RUN={name}: a run's name is the name of one folder, such as default or masks-2.")
    return models / name


def settings(
    choices: Choices, records: Manifest, annotations: Path, folder: Path, checkpoint: Path | None
) -> pipeline_config.Settings:
    """Complete a user's choices with what follows from them and from the records.

    Args:
        choices: What the user chose.
        records: The contents of the records' `records.json`.
        annotations: The records' folder.
        folder: The run's folder.
        checkpoint: Prefix of the checkpoint to start from, or None.

    Raises:
        UserError: A choice cannot be, or there is nothing to train on.
    """
    if not records.splits["train"].images:
        raise UserError(f"{annotations}: no image in the train split. `make records` says which image went where.")
    rate = choices.learning_rate
    if rate is None:
        rate = pipeline_config.base_learning_rate(choices.batch, choices.optimizer)
    warmup_steps, warmup_rate = pipeline_config.warm_up(choices.steps, rate)
    most = max(split.max_boxes for split in records.splits.values())
    decay = choices.batch_norm_decay
    full = checkpoint is not None and restoring.has_head_for(checkpoint, len(records.classes))

    def files(split: str) -> tuple[str, ...]:
        return tuple(os.fspath(annotations / name) for name in records.splits[split].files)

    return pipeline_config.Settings(
        num_classes=len(records.classes),
        size=choices.size,
        steps=choices.steps,
        batch=choices.batch,
        optimizer=choices.optimizer,
        learning_rate=rate,
        warmup_learning_rate=warmup_rate,
        warmup_steps=warmup_steps if choices.warmup_steps is None else choices.warmup_steps,
        anchor_scale=choices.anchor_scale,
        weight_decay=_WEIGHT_DECAY[choices.optimizer] if choices.weight_decay is None else choices.weight_decay,
        batch_norm_decay=batch_norm_decay(choices.steps) if decay is None else decay,
        clip_gradients=choices.clip_gradients,
        augment=choices.augment,
        # The reader's default of 100 drops the other boxes without a word; too many cost memory.
        max_boxes=max(most, 1),
        max_detections=max(most, _COCO_DETECTIONS),
        checkpoint=None if checkpoint is None else os.fspath(checkpoint),
        checkpoint_type="full" if full else "detection",
        label_map=os.fspath(folder / LABEL_MAP),
        train_records=files("train"),
        eval_records=files("val"),
    )


def prepare(run: Run, settings: pipeline_config.Settings, template: Path, made: dict[str, Any], *, fresh: bool) -> None:
    """Write a run's folder, or check that the run there can go on with these settings.

    Args:
        run: The run.
        settings: Its settings.
        template: The pipeline config's template.
        made: What `provenance.made_by` says of it.
        fresh: Start over: remove the checkpoints and events that are there.

    Raises:
        UserError: The template or a setting is wrong, or the run's checkpoints belong to another model.
    """
    text = check(run, settings, template, fresh=fresh)
    if fresh and run.folder.exists():
        shutil.rmtree(run.folder)
    with replacing(run.folder / LABEL_MAP) as beside:
        beside.write_text(run.label_map.to_pbtxt(), encoding="utf-8")
    with replacing(run.config) as beside:
        beside.write_text(text, encoding="utf-8")
    write_json(
        run.folder / NAME,
        {
            "format": FORMAT,
            "model": run.model,
            "classes": list(run.label_map.names),
            "records_digest": run.records_digest,
            "made": made,
        },
    )


def check(run: Run, settings: pipeline_config.Settings, template: Path, *, fresh: bool) -> str:
    """Refuse what `prepare` refuses, and write nothing; where training starts from does not matter to it.

    Returns:
        The text of the pipeline config.
    """
    text = pipeline_config.render(template, settings)
    config = pipeline_config.parse(text, template)
    if fresh and run.folder.exists():
        if not (run.folder / NAME).is_file():
            raise UserError(f"{run.folder}: not a training run (no {NAME} in it), so FRESH=1 does not remove it.")
    elif (run.folder / "checkpoint").is_file():
        _refuse_another_model(run, config)
    return text


def read(folder: Path) -> Run:
    """Read a run's `run.json`.

    Raises:
        UserError: There is no run in `folder`, or its `run.json` is not what `make train` writes.
    """
    absent = f"{folder}: no such run. `make train RUN={folder.name}` makes it."
    with written.reading(folder / NAME, FORMAT, step="train", absent=absent, again="Train it again.") as value:
        return Run(folder, str(value["model"]), LabelMap(tuple(value["classes"])), str(value["records_digest"]))


def batch_norm_decay(steps: int) -> float:
    """The decay of batch normalisation's moving averages for a number of steps: the zoo's 0.997, less for short runs.

    After n steps the averages still hold decay^n of where they started; 1 - ln(100)/n leaves 1% of it.

    Example:
        >>> batch_norm_decay(500)
        0.9908
    """
    return round(max(0.5, min(_ZOO_BATCH_NORM_DECAY, 1 - math.log(100) / steps)), 4)


def _refuse_another_model(run: Run, config: Any) -> None:
    told = pipeline_config.differences(pipeline_config.read(run.config), config)
    before = read(run.folder)
    if before.label_map != run.label_map:
        told.insert(0, f"classes: {', '.join(before.label_map.names)} -> {', '.join(run.label_map.names)}")
    if told:
        raise UserError(
            f"{run.folder}: its checkpoints are of another model, so the run cannot go on. FRESH=1 starts over, "
            f"RUN=<another name> keeps both.\n  " + "\n  ".join(told)
        )
