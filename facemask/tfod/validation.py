"""Validate during training: the API's COCO metrics on the val split, with the present weights.

The API's `model_lib_v2.eager_eval_loop` traces the model at each call, which takes longer than validating some hundred
pictures. Here the model is traced once per run.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAP_50 = "DetectionBoxes_Precision/mAP@.50IOU"
"""The name of mAP at IoU 0.5 in the API and in TensorBoard."""


def make_validator(model: Any, configs: dict[str, Any], folder: Path) -> Callable[[int], float]:
    """Make a function that validates a detection model with the weights that it has when the function is called.

    Args:
        model: The API's DetectionModel with its variables.
        configs: The configs from `config_util.get_configs_from_pipeline_file`.
        folder: The run's folder. Metrics are written to its `eval/` for TensorBoard, with the API's names.

    Returns:
        A function of the step that returns mAP@0.5 in 0..1, or -1 if val contains no box.
    """
    import tensorflow as tf
    from object_detection import eval_util, inputs, model_lib_v2
    from object_detection.utils import label_map_util, ops

    eval_config, reader = configs["eval_config"], configs["eval_input_config"]
    eval_config.metrics_set[:] = ["coco_detection_metrics"]
    batches = inputs.eval_input(eval_config, reader, configs["model"], model=model)
    categories = list(label_map_util.create_category_index_from_labelmap(reader.label_map_path).values())
    options = eval_util.evaluator_options_from_eval_config(eval_config)
    writer = tf.summary.create_file_writer(str(folder / "eval"))

    strategy = tf.distribute.get_strategy()

    def on_device(features: Any) -> Any:
        shapes = features["true_image_shape"]
        predictions = model.predict(features["image"], shapes, **model.get_side_inputs(features))
        return model.postprocess(ops.bfloat16_to_float32_nested(predictions), shapes)

    @tf.function
    def detect(features: Any) -> Any:
        # Every device computes the same. Outside `run`, each batch would average the statistics of all devices again.
        return strategy.experimental_local_results(strategy.run(on_device, args=(features,)))[0]

    def validate(step: int) -> float:
        (evaluator,) = eval_util.get_evaluators(eval_config, categories, options)
        model._is_training = False  # as in eager_eval_loop; tracing a train step sets it back
        tf.keras.backend.set_learning_phase(False)
        for features, labels in batches:
            evaluator.add_eval_dict(model_lib_v2.prepare_eval_dict(detect(features), labels, features)[0])
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its table
            metrics = evaluator.evaluate()
        with writer.as_default():
            for name, value in metrics.items():
                tf.summary.scalar(name, value, step=step)
        writer.flush()
        return float(metrics[MAP_50])

    return validate


def average_statistics(model: Any, strategy: Any) -> None:
    """Set batch normalisation's statistics on each device to the averages over all devices.

    Each device has statistics of its own part of the batches, while a checkpoint contains the averages. Validation runs
    on one device, and must use the same values as the checkpoint. All workers of a cluster must call this function.
    """
    import tensorflow as tf

    if strategy.num_replicas_in_sync > 1:
        for variable in model.variables:
            if variable.synchronization == tf.VariableSynchronization.ON_READ:
                variable.assign(variable.read_value())
