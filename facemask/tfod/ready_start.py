"""The weights to train on of the detector that comes with facemask. Needs no network.

`find_ready_start` starts training from them (CHECKPOINT=ready). `write_ready_export` writes them as an exported model
with a checkpoint, for conversions: OpenVINO's files, which are shipped, cannot be converted.

Its weights to train on are in the repository, `facemask/ready/training/`, and not in the installed package.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facemask.core import exported_model
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.ready import shipped_detector
from facemask.tfod import compact_checkpoint, pipeline_config
from facemask.tfod.pipeline_config import Settings

CHECKPOINT = "ready"
"""What CHECKPOINT= takes."""

STEPS, OPTIMIZER, LEARNING_RATE = 200, "adam", 0.0002
"""The defaults for training from the shipped detector, which takes minutes on a processor."""


@dataclass(frozen=True)
class ReadyStart:
    """The shipped weights to train on.

    Attributes:
        file: The file.
        model: The model, as MODEL= names it.
        size: Side of its input in pixels.
    """

    file: Path
    model: str
    size: int


def read_ready_start(folder: Path = shipped_detector.FOLDER) -> ReadyStart:
    """The weights, checked against their digest.

    Raises:
        UserError: They are missing or damaged.
    """
    file = shipped_detector.training_weights(shipped_detector.DETECTOR, folder)
    about = compact_checkpoint.read_about(file)
    return ReadyStart(file, str(about["model"]), int(about["size"]))


def find_ready_start(
    model: str, into: Path, *, folder: Path = shipped_detector.FOLDER, report: Callable[[str], None] = print
) -> Path:
    """The weights as a checkpoint of the API's.

    Args:
        model: The model to train.
        into: The folder of downloads, in which the checkpoint is written.
        folder: The folder of the shipped detector.
        report: Called with a line for the user.

    Returns:
        The checkpoint's prefix.

    Raises:
        UserError: The weights are missing, damaged, or of another model.
    """
    start = read_ready_start(folder)
    if start.model != model:
        raise UserError(f"CHECKPOINT={CHECKPOINT}: is a {start.model}, not MODEL={model}. Leave MODEL out.")
    prefix = compact_checkpoint.unpack_checkpoint(start.file, into)
    report(f"CHECKPOINT={CHECKPOINT}: {start.file}, unpacked to {prefix.parent}")
    return prefix


def write_ready_export(form: str, template: Path, into: Path, folder: Path = shipped_detector.FOLDER) -> ExportedModel:
    """Write the shipped SSD as an exported model: `checkpoint/`, `pipeline.config` and `model.json`, no SavedModel.

    Args:
        form: The form of the shipped detector whose thresholds it gets, one of `shipped_detector.FORMS`.
        template: The template of the model's pipeline config.
        into: The folder in which to write it.
        folder: The folder of the shipped detector.

    Raises:
        UserError: The weights are missing or damaged.
    """
    start = read_ready_start(folder)
    shipped = shipped_detector.open_shipped(folder)
    described = exported_model.read_exported_model(folder / shipped_detector.DETECTOR)
    prefix = compact_checkpoint.unpack_checkpoint(start.file, into)
    target = prefix.parent.parent
    (prefix.parent / "checkpoint").write_text(f'model_checkpoint_path: "{prefix.name}"\n', encoding="utf-8")
    config = pipeline_config.render_template(template, _settings(len(described.label_map), start.size))
    (target / "pipeline.config").write_text(config, encoding="utf-8")
    model = dataclasses.replace(described, folder=target, run=form, thresholds=shipped.forms[form].thresholds)
    model.write({})
    return model


def _settings(num_classes: int, size: int) -> Settings:
    """What the shipped SSD was trained with where the network depends on it, and anything that is valid elsewhere."""
    return Settings(
        num_classes=num_classes,
        size=size,
        anchor_scale=2.0,
        max_detections=100,
        steps=1,
        batch=1,
        optimizer="adam",
        learning_rate=LEARNING_RATE,
        warmup_learning_rate=LEARNING_RATE,
        warmup_steps=0,
        weight_decay=0.0,
        batch_norm_decay=0.9,
        clip_gradients=0.0,
        augment="none",
        max_boxes=100,
        label_map="label_map.pbtxt",
        train_records=(),
        eval_records=(),
        records_digest="",
    )
