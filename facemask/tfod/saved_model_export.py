"""Export a run's checkpoint to `workspace/exported/<RUN>/` with the API's exporter, and check the result."""

import contextlib
import dataclasses
import glob
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core import native_output
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.files import replacing_folder, sha256
from facemask.core.keras_saving import saving_without_layer_functions
from facemask.core.provenance import made_by, started_from
from facemask.tfod import best_checkpoint, detection_model, pipeline_config, training_runs
from facemask.tfod.training_runs import Run

LOGGED = re.compile(rb"^[IW]\d{4} |^WARNING: All log messages before absl::InitializeLog")
"""Matches the beginning of absl's informational and warning lines from C++."""

_STEP = "step/.ATTRIBUTES/VARIABLE_VALUE"
_INTERNAL = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/.ATTRIBUTES/VARIABLE_VALUE")


@dataclass(frozen=True)
class ExportSource:
    """A run and the prefix of the checkpoint to export (`.../ckpt-7`)."""

    run: Run
    checkpoint: Path


def find_run_checkpoint(folder: Path, which: str = "best") -> ExportSource:
    """Find a run's checkpoint.

    Args:
        folder: The run's folder, `workspace/models/<RUN>`.
        which: "best", "latest" or a checkpoint's name, see `best_checkpoint.find_checkpoint`.

    Raises:
        UserError: There is no such run, it has no checkpoint yet, or a validation is missing after its best one.
    """
    run = training_runs.read_run(folder)

    from facemask.tfod import compat

    compat.install()
    prefix = best_checkpoint.find_checkpoint(folder, which, run.records_digest)
    if prefix is None:
        raise UserError(f"{folder}: no checkpoint in it yet. `make train RUN={folder.name}` continues the run.")
    return ExportSource(run, prefix)


def export_run(source: ExportSource, target: Path, size: int | None = None) -> ExportedModel:
    """Write a checkpoint as an exported model (see `facemask.core.exported_model`), completely or not at all.

    The SavedModel is then loaded, and its outputs for a picture are compared with those of the checkpoint's model.

    Args:
        source: The run and its checkpoint.
        target: The folder to write, `workspace/exported/<RUN>`. An existing one is replaced.
        size: Side of its input in pixels; None for the run's.

    Raises:
        UserError: The checkpoint does not fit the run's configuration, training has diverged, or the model cannot have
            inputs of that size.
        RuntimeError: The SavedModel's outputs differ from those of the checkpoint's model.
    """
    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf
    from object_detection import exporter_lib_v2

    run = source.run
    config = pipeline_config.read_config(run.config)
    if size is not None:
        _set_input_size(config, size)
    height, width = input_size(config)
    picture = _picture(height, width)
    with replacing_folder(target) as beside, tempfile.TemporaryDirectory(dir=beside) as scratch:
        checkpoint = _copy(source.checkpoint, Path(scratch) / "checkpoint")
        model = detection_model.build_detection_model(config.model, is_training=False)
        if model.num_classes != len(run.label_map):
            raise UserError(f"{run.config}: {model.num_classes} classes, but run.json names {len(run.label_map)}.")
        untrained = tf.train.Checkpoint(model=model).write(str(Path(scratch) / "untrained"))
        _refuse_incomplete(source.checkpoint, _shapes(tf, checkpoint), _shapes(tf, untrained))
        tf.train.Checkpoint(model=model).restore(checkpoint).expect_partial()
        wanted = model.postprocess(*_predict(model, picture))
        _refuse_not_finite(source.checkpoint, wanted)

        with without_warnings(), saving_without_layer_functions():
            exporter_lib_v2.export_inference_graph("image_tensor", config, str(Path(checkpoint).parent), str(beside))
        _check(beside / "saved_model", picture, wanted)

        (beside / "label_map.pbtxt").write_text(run.label_map.to_pbtxt(), encoding="utf-8")
        model_json = ExportedModel(
            folder=beside,
            model=run.model,
            label_map=run.label_map,
            height=height,
            width=width,
            run=run.folder.name,
            steps=_steps(checkpoint),
            config_sha256=sha256(run.config),
        )
        made = made_by("export", checkpoint=source.checkpoint.name)
        model_json.write(made | {"started_from": started_from(run.folder)})
    return dataclasses.replace(model_json, folder=target)


def detection_function(model: ExportedModel, names: Sequence[str]) -> tuple[Any, Any]:
    """Build a TensorFlow function of an exported model, without the SavedModel's loop over the batch.

    Args:
        model: The exported model.
        names: The outputs to return, by the SavedModel's names.

    Returns:
        The concrete function, from `input_tensor`, uint8 of shape (1, height, width, 3) and any size, to the outputs by
        name; and the object that owns its variables, which must be kept as long as the function is used.

    Raises:
        UserError: The exported model has no checkpoint.
    """
    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf
    from object_detection.builders import model_builder

    config = pipeline_config.read_config(model.folder / "pipeline.config")
    owner = tf.Module()
    owner.model = model_builder.build(config.model, is_training=False)

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")])
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared, shapes = owner.model.preprocess(tf.cast(image, tf.float32))
        outputs = owner.model.postprocess(owner.model.predict(prepared, shapes), shapes)
        return {name: outputs[name] + int(name == "detection_classes") for name in names}

    function = detect.get_concrete_function()
    prefix = str(checkpoint_of(model))
    tf.train.Checkpoint(model=owner.model).restore(prefix).assert_existing_objects_matched().expect_partial()
    return function, owner


def checkpoint_of(model: ExportedModel) -> Path:
    """The prefix of an exported model's checkpoint. Raises UserError if there is none."""
    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf

    prefix = tf.train.latest_checkpoint(str(model.folder / "checkpoint"))
    if prefix is None:
        raise UserError(f"{model.folder / 'checkpoint'}: no checkpoint in it. Run `make export` again.")
    return Path(prefix)


def _copy(checkpoint: Path, folder: Path) -> str:
    """Copy a checkpoint to a folder of its own, and return its prefix there.

    A run that is still training may remove the checkpoint at any moment. The exporter takes the latest one in a folder.
    """
    folder.mkdir()
    for file in checkpoint.parent.glob(f"{glob.escape(checkpoint.name)}.*"):
        shutil.copy2(file, folder / file.name)
    state = f"model_checkpoint_path: {json.dumps(checkpoint.name)}\n"
    (folder / "checkpoint").write_text(state, encoding="utf-8")
    return str(folder / checkpoint.name)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress TensorFlow's warnings inside a block. Errors are still shown.

    While saving, TensorFlow warns for every layer that Keras could not rebuild it, which is not needed. While
    converting, it logs devices, sessions and passes from C++. The outputs are compared afterwards (`_check`, parity).
    """
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with native_output.without_lines(LOGGED):
            yield
    finally:
        logger.setLevel(level)


def input_size(config: Any) -> tuple[int, int]:
    """Height and width in pixels to which a `TrainEvalPipelineConfig`'s model resizes pictures.

    For a resizer that keeps the aspect ratio, both are its largest dimension, to which it pads.
    """
    resizer = getattr(config.model, config.model.WhichOneof("model")).image_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    if kind == "keep_aspect_ratio_resizer":
        return (resizer.keep_aspect_ratio_resizer.max_dimension,) * 2
    raise UserError(f"pipeline.config: the export does not support the image_resizer {kind}.")


def _set_input_size(config: Any, size: int) -> None:
    """Change the side of a config's input. Weights of all layers fit any size, since all are convolutions."""
    pipeline_config.refuse_input_size(size)
    resizer = getattr(config.model, config.model.WhichOneof("model")).image_resizer
    if resizer.WhichOneof("image_resizer_oneof") == "keep_aspect_ratio_resizer":
        resizer.keep_aspect_ratio_resizer.min_dimension = resizer.keep_aspect_ratio_resizer.max_dimension = size
    else:
        resizer.fixed_shape_resizer.height = resizer.fixed_shape_resizer.width = size


def _refuse_incomplete(checkpoint: Path, has: dict[str, list[int]], wants: dict[str, list[int]]) -> None:
    """Refuse a checkpoint in which a variable of the model is missing or has another shape. Raises UserError."""
    wrong = [name for name in sorted(wants) if has.get(name) != wants[name]]
    if wrong:
        names = "".join(
            f"\n  {name.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')}: "
            + (f"shape {has[name]}, the model's is {wants[name]}" if name in has else "missing")
            for name in wrong[:5]
        )
        raise UserError(
            f"{checkpoint}: lacks {len(wrong)} of the model's {len(wants)} variables, so the export would not be "
            f"trained. Choose a later checkpoint, or one of this pipeline.config.{names}"
            + ("\n  ..." if len(wrong) > 5 else "")
        )


def _shapes(tf: Any, prefix: str) -> dict[str, list[int]]:
    try:
        shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UserError(f"{prefix}: not a checkpoint that can be read ({error}).") from None
    return {name: shape for name, shape in shapes.items() if name not in _INTERNAL}


def _steps(checkpoint: str) -> int | None:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(checkpoint)
    return int(reader.get_tensor(_STEP)) if reader.has_tensor(_STEP) else None


def _picture(height: int, width: int) -> np.ndarray:
    """A picture of noise in patches of several sizes, larger than the input: (height * 4/3, width * 6/5, 3) uint8."""
    random = np.random.default_rng(0)
    shape = (height + height // 3, width + width // 5, 3)
    picture = np.zeros(shape)
    for side in (1, 8, 64):
        patches = random.random((-(-shape[0] // side), -(-shape[1] // side), 3))
        picture += patches.repeat(side, axis=0).repeat(side, axis=1)[: shape[0], : shape[1]]
    return (picture / 3 * 255).astype(np.uint8)


def _predict(model: Any, picture: np.ndarray) -> tuple[Any, Any]:
    import tensorflow as tf

    image, true_shape = model.preprocess(tf.cast(picture[np.newaxis], tf.float32))
    return model.predict(image, true_shape), true_shape


def _refuse_not_finite(checkpoint: Path, outputs: dict[str, Any]) -> None:
    if not all(np.isfinite(outputs[name]).all() for name in _COMPARED):
        raise UserError(
            f"{checkpoint}: the model's outputs are not finite, so training diverged. Choose an earlier checkpoint."
        )


_COMPARED = ("raw_detection_boxes", "raw_detection_scores", "detection_scores")
"""Outputs that depend on every variable: those of all anchors, and those that non-maximum suppression keeps."""


def _check(saved_model: Path, picture: np.ndarray, wanted: dict[str, Any]) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    outputs = loaded.signatures["serving_default"](input_tensor=tf.constant(picture[np.newaxis]))
    for name in _COMPARED:
        # TensorFlow folds batch normalisation into the convolutions of the SavedModel, so the last digits differ.
        if not np.allclose(outputs[name], wanted[name], rtol=1e-2, atol=1e-3):
            apart = float(np.abs(np.asarray(outputs[name]) - np.asarray(wanted[name])).max())
            raise RuntimeError(f"{saved_model}: {name} differs by up to {apart:.4f} from the checkpoint's model.")
