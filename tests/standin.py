"""A stand-in for a model zoo's archive: the real architecture, names and shapes, with random values."""

import hashlib
import io
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[1] / "configs"
ARCHIVE_NAME = "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8.tar.gz"


@dataclass(frozen=True)
class StandIn:
    """An archive as the zoo packs them, and the digest of the ckpt-0.index in it."""

    archive: Path
    index_sha256: str


def settings(**changes: Any) -> Any:
    """A run's `Settings` of which a test wants only these to be its own."""
    from facemask.tfod import pipeline_config

    usual = {
        "num_classes": 3,
        "size": 160,
        "steps": 10,
        "batch": 2,
        "optimizer": "momentum",
        "learning_rate": 0.01,
        "warmup_learning_rate": 0.001,
        "warmup_steps": 1,
        "anchor_scale": 4.0,
        "weight_decay": 0.0004,
        "batch_norm_decay": 0.997,
        "clip_gradients": 0.0,
        "augment": "light",
        "max_boxes": 100,
        "max_detections": 100,
        "label_map": "label_map.pbtxt",
        "train_records": ("train.record",),
        "eval_records": ("val.record",),
        "records_digest": "digest",
    }
    return pipeline_config.Settings(**(usual | changes))


def config_text(num_classes: int, size: int) -> str:
    """The project's own template of ssd_resnet50_v1_fpn_640x640, filled for the model's shape only."""
    from facemask.tfod import pipeline_config

    template = CONFIGS / "ssd_resnet50_v1_fpn_640x640.config.j2"
    return pipeline_config.render_template(template, settings(num_classes=num_classes, size=size))


def detection_model(num_classes: int, size: int = 192) -> Any:
    """The API's model with its variables built. Their shapes do not depend on `size`."""
    from facemask.tfod import compat, pipeline_config
    from facemask.tfod import detection_model as detection_models

    compat.install()
    config = pipeline_config.parse_config(config_text(num_classes, size), CONFIGS)
    return detection_models.build_detection_model(config.model, is_training=True)


def write_archive(folder: Path) -> StandIn:
    """Write the stand-in archive to `folder`, saved as the zoo's checkpoints were: `Checkpoint(model=...).save()`.

    Every variable has values of its own, from a fixed seed, near those that it starts training with, so that training
    from the stand-in has finite losses.
    """
    model = detection_model(num_classes=90)
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    checkpoint = tf.train.Checkpoint(model=model)
    for variable in model.variables:
        if variable.shape.rank == 4:  # a kernel: variance 1 / inputs
            values = random.normal(0, np.prod(variable.shape[:3]) ** -0.5, variable.shape)
        else:
            values = variable.numpy() + np.abs(random.normal(0, 0.01, variable.shape))
        variable.assign(values.astype(np.float32))
    top = folder / ARCHIVE_NAME.removesuffix(".tar.gz")
    tf.train.CheckpointManager(checkpoint, str(top / "checkpoint"), max_to_keep=1).save(checkpoint_number=0)
    (top / "pipeline.config").write_text(config_text(90, 640), encoding="utf-8")
    return pack(top)


def pack(top: Path) -> StandIn:
    """Pack a folder that holds `checkpoint/ckpt-0.index` as the zoo does, and remove it."""
    archive = top.with_name(f"{top.name}.tar.gz")
    digest = hashlib.sha256((top / "checkpoint" / "ckpt-0.index").read_bytes()).hexdigest()
    # Random values do not compress: level 0 saves the seconds.
    with tarfile.open(archive, "w:gz", compresslevel=0) as tar:
        tar.add(top, arcname=top.name)
        saved_model = tarfile.TarInfo(f"{top.name}/saved_model/saved_model.pb")
        saved_model.size = 4
        tar.addfile(saved_model, io.BytesIO(b"none"))
    shutil.rmtree(top)
    return StandIn(archive, digest)
