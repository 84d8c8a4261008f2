"""A training run's folder, `workspace/models/<RUN>`: write it, read it, and refuse what would damage it.

pipeline.config       the run's configuration, as the API reads it
label_map.pbtxt       a copy of its classes, so that new records do not change the run
run.json              the run's description (`Run`) and provenance
checkpoint, ckpt-N.*  the latest checkpoints; N is the step
best/                 the best checkpoint by validation mAP, if the run was validated
.lock                 held by the process that trains the run
train/, eval/         TensorBoard's events
"""

import contextlib
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core import json_files
from facemask.core.errors import UserError
from facemask.core.files import holding_lock as file_locked
from facemask.core.files import replacing_file, write_json
from facemask.core.label_map import LabelMap
from facemask.core.run_names import no_detector, refuse_another_kind
from facemask.data import manifest
from facemask.data.manifest import Manifest
from facemask.tfod import pipeline_config, restoring
from facemask.tfod.pipeline_config import Settings

FORMAT = 1
NAME = "run.json"
LABEL_MAP = "label_map.pbtxt"
LOCK = ".lock"

_ZOO_BATCH_NORM_DECAY = 0.997
_WEIGHT_DECAY = {"momentum": 0.0004, "adam": 0.00001}
"""The usual L2 weight by optimizer: the zoo's, and a smaller one for Adam. Adam divides gradients by their magnitude,
so the zoo's L2 weight would shrink kernels with small gradients by the full learning rate at each step (Loshchilov and
Hutter 2019, arXiv:1711.05101)."""
_COCO_DETECTIONS = 100
"""The most detections per picture that COCO's metrics count and the zoo's models return."""


@dataclass(frozen=True)
class Run:
    """The contents of `run.json`.

    Attributes:
        folder: The run's folder.
        model: The architecture, as the model zoo names it.
        label_map: The classes.
        records_digest: Digest of the records that the run trains on.
    """

    folder: Path
    model: str
    label_map: LabelMap
    records_digest: str

    @property
    def config(self) -> Path:
        """The run's pipeline config."""
        return self.folder / "pipeline.config"


def make_settings(  # noqa: D417
    records: Manifest,
    annotations: Path,
    folder: Path,
    *,
    size: int,
    steps: int,
    batch: int,
    optimizer: str = "momentum",
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    anchor_scale: float = 2.0,
    weight_decay: float | None = None,
    batch_norm_decay: float | None = None,
    clip_gradients: float = 10.0,
    augment: str = "light",
    head_depth: int | None = None,
    head_layers: int | None = None,
) -> Settings:
    """Make a run's settings from the user's options and the records.

    The other arguments are fields of `Settings`. None means the usual value.

    Args:
        records: The contents of the records' `records.json`.
        annotations: The records' folder.
        folder: The run's folder.

    Raises:
        UserError: A value is invalid, a record file is missing, or the train split is empty.
    """
    if not records.splits["train"].images:
        raise UserError(f"{annotations}: no image in the train split. `make records` says which image went where.")
    rate = pipeline_config.base_learning_rate(batch, optimizer) if learning_rate is None else learning_rate
    usual_warmup_steps, warmup_rate = pipeline_config.usual_warm_up(steps, rate)
    most = max(split.max_boxes for split in records.splits.values())

    def files(split: str) -> tuple[str, ...]:
        paths = [annotations / name for name in records.splits[split].files]
        if missing := [path for path in paths if not path.is_file()]:
            raise UserError(f"{missing[0]}: is missing, but {manifest.NAME} lists it. `make records` writes it again.")
        return tuple(os.fspath(path) for path in paths)

    return Settings(
        num_classes=len(records.classes),
        size=size,
        steps=steps,
        batch=batch,
        optimizer=optimizer,
        learning_rate=rate,
        warmup_learning_rate=warmup_rate,
        warmup_steps=usual_warmup_steps if warmup_steps is None else warmup_steps,
        anchor_scale=anchor_scale,
        weight_decay=_WEIGHT_DECAY.get(optimizer, 0.0) if weight_decay is None else weight_decay,
        batch_norm_decay=usual_batch_norm_decay(steps) if batch_norm_decay is None else batch_norm_decay,
        clip_gradients=clip_gradients,
        augment=augment,
        # The reader silently drops boxes beyond its default of 100. A larger number than needed costs memory.
        max_boxes=max(most, 1),
        max_detections=max(most, _COCO_DETECTIONS),
        label_map=os.fspath(folder / LABEL_MAP),
        train_records=files("train"),
        eval_records=files("val"),
        records_digest=records.digest,
        head_depth=head_depth,
        head_layers=head_layers,
    )


def learned_anchor_scale(place: Path) -> float | None:
    """The anchor scale of a run or an exported model of ours, whose boxes were learned with it.

    Args:
        place: Its folder, or a checkpoint in it or in its `best/` or `checkpoint/`.

    Returns:
        None for another place, such as a checkpoint of the zoo, which has no label map beside it.
    """
    for folder in (place, *place.parents[:2]):
        config = folder / "pipeline.config"
        if config.is_file() and (folder / LABEL_MAP).is_file():
            return pipeline_config.anchor_scale_of(pipeline_config.read_config(config))
    return None


@contextlib.contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """Hold the run's lock inside a block, so that no other process trains the run in `folder`.

    Raises:
        UserError: Another process trains it.
    """
    refusal = f"{folder}: another process trains this run. Wait for it, or train under another name: RUN=<name>."
    with file_locked(folder / LOCK, refusal):
        yield


def run_goes_on(run: Run, *, fresh: bool) -> bool:
    """Whether training continues from a checkpoint of the run itself, and therefore starts from no other one."""
    return not fresh and (run.folder / "checkpoint").is_file()


def refuse_run(run: Run, config: Any, *, fresh: bool, new_records: bool = False) -> None:
    """Refuse options that the run in the folder cannot continue with. Changes nothing.

    Args:
        run: The run as it will be.
        config: Its `TrainEvalPipelineConfig`. The checkpoint that it names is ignored.
        fresh: Start over: `prepare_run` will remove the folder's content.
        new_records: Continue even if the run was trained on other records.

    Raises:
        UserError: The run's checkpoints belong to another model, it was trained on other records, or `fresh` is set and
            the folder does not contain a run.
    """
    # The lock alone, which `locked_run` puts there, is no content.
    foreign = run.folder.exists() and any(path.name != LOCK for path in run.folder.iterdir())
    if fresh and foreign and not (run.folder / NAME).is_file():
        raise UserError(f"{run.folder}: not a training run (no {NAME} in it), so FRESH=1 does not remove it.")
    if not run_goes_on(run, fresh=fresh):
        return
    refuse_another_kind(run.folder, NAME, "the detector another name: RUN=")
    before = read_run(run.folder)
    changes = pipeline_config.model_differences(pipeline_config.read_config(run.config), config)
    if before.label_map != run.label_map:
        changes.insert(0, f"classes: {', '.join(before.label_map.names)} -> {', '.join(run.label_map.names)}")
    if changes:
        raise UserError(
            f"{run.folder}: its checkpoints belong to another model, so the run cannot continue. FRESH=1 starts over, "
            "RUN=<another name> keeps both.\n  " + "\n  ".join(changes)
        )
    if not new_records and before.records_digest != run.records_digest:
        raise UserError(
            f"{run.folder}: was trained on other records, so pictures that it was trained on may now be in val or test."
            f" RUN=<another name> starts another run (CHECKPOINT={run.folder} from this run's weights), FRESH=1 starts "
            "this run over, and NEW_RECORDS=1 continues it with a new best/."
        )


def prepare_run(
    run: Run, config: Any, start: Path | None, made: dict[str, Any], *, fresh: bool, new_records: bool = False
) -> None:
    """Write a run's folder, or update an existing one. The caller must hold `locked_run`.

    Args:
        run: The run.
        config: Its `TrainEvalPipelineConfig`. This function sets the checkpoint to start from.
        start: Prefix of the checkpoint to start from; None for random weights. It is ignored if the run continues from
            its own checkpoint.
        made: The provenance, from `provenance.made_by`.
        fresh: Start over: remove the run's checkpoints and events.
        new_records: Continue even if the run was trained on other records.

    Raises:
        UserError: See `refuse_run`; or `fresh` would remove the checkpoint to start from. Nothing was changed.
    """
    refuse_run(run, config, fresh=fresh, new_records=new_records)
    training = config.train_config
    if run_goes_on(run, fresh=fresh):
        before = pipeline_config.read_config(run.config).train_config
        training.fine_tune_checkpoint = before.fine_tune_checkpoint
        training.fine_tune_checkpoint_type = before.fine_tune_checkpoint_type
    elif start is not None:
        training.fine_tune_checkpoint = os.fspath(start)
        training.fine_tune_checkpoint_type = restoring.checkpoint_type(
            start, len(run.label_map), pipeline_config.head_of(config)
        )
    if fresh and run.folder.exists():
        if start is not None:
            refuse_to_remove(run.folder, start)
        # run.json identifies a run, so it is removed last. The lock is held, so its file stays.
        for path in sorted(run.folder.iterdir(), key=lambda path: path.name == NAME):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
    with replacing_file(run.folder / LABEL_MAP) as beside:
        beside.write_text(run.label_map.to_pbtxt(), encoding="utf-8")
    with replacing_file(run.config) as beside:
        beside.write_text(pipeline_config.config_to_text(config), encoding="utf-8")
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


def refuse_to_remove(folder: Path, start: Path) -> None:
    """Refuse FRESH=1 if it would remove the checkpoint that training is to start from.

    Args:
        folder: The run's folder.
        start: A checkpoint's prefix, an archive or a folder. Symbolic links and relative paths are resolved.

    Raises:
        UserError: `start` is in the folder.
    """
    index = Path(f"{start}.index")
    places = (start.resolve(), index.resolve(), start.parent.resolve() / start.name)
    if any(place.is_relative_to(folder.resolve()) for place in places):
        raise UserError(
            f"CHECKPOINT={start}: is in {folder}, which FRESH=1 removes. Start another run from it: RUN=<another name>."
        )


def read_run(folder: Path) -> Run:
    """Read a run's `run.json`.

    Raises:
        UserError: There is no run in `folder`, or its `run.json` was not written by `make train`.
    """
    absent = no_detector(folder) or f"{folder}: no such run. `make train RUN={folder.name}` makes it."
    with json_files.reading_json(folder / NAME, FORMAT, step="train", absent=absent, again="Train it again.") as value:
        return Run(folder, str(value["model"]), LabelMap(tuple(value["classes"])), str(value["records_digest"]))


def usual_batch_norm_decay(steps: int) -> float:
    """The usual decay of batch normalisation's moving averages: the zoo's 0.997, less for a run of fewer steps.

    After n steps the averages still contain decay^n of their initial values: 0.01% for a decay of 1 - ln(10,000)/n. The
    initial variance is 1, and the right one of most prediction layers is 0.003 to 0.009, because their initial weights
    are small: 1% of the initial value would still be more than the right one. A MobileNetV2 FPNLite of 1,200 steps then
    scored every face below 0.03, although its loss in training was low.

    Example:
        >>> usual_batch_norm_decay(500)
        0.9816
    """
    return round(max(0.5, min(_ZOO_BATCH_NORM_DECAY, 1 - math.log(10_000) / steps)), 4)
