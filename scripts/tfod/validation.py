"""Validation inside a run: the API's COCO metrics on the val split, with the weights that training has just now.

`model_lib_v2.eager_eval_loop` does this for `eval_continuously` and traces the model anew at each call, which takes
longer than validating some hundred pictures; here it is traced once a run.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAP_50 = "DetectionBoxes_Precision/mAP@.50IOU"
"""The API's name (and TensorBoard's) of the mean average precision at IoU 0.5."""


def validator(model: Any, configs: dict[str, Any], folder: Path) -> Callable[[int], float]:
    """Give a function that validates a detection model as it is when called.

    Args:
        model: The API's DetectionModel, its variables built.
        configs: The configs as `config_util.get_configs_from_pipeline_file` gives them.
        folder: The run's folder; metrics are written to its `eval/` for TensorBoard, under the API's names.

    Returns:
        A function of the step that returns mAP@0.5 in 0..1, or -1 where val holds no box.
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
        # Each device detects the same; outside `run` every batch would average the statistics of all devices anew.
        return strategy.experimental_local_results(strategy.run(on_device, args=(features,)))[0]

    def validate(step: int) -> float:
        (evaluator,) = eval_util.get_evaluators(eval_config, categories, options)
        model._is_training = False  # what eager_eval_loop does; a train step sets it back when it is traced
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
    """Give each device the averages of batch normalisation's statistics, which it keeps for its own part of a batch.

    A checkpoint holds the averages; validation looks at the model on one device, which has them after this. All workers
    of a cluster must call it.
    """
    import tensorflow as tf

    if strategy.num_replicas_in_sync > 1:
        for variable in model.variables:
            if variable.synchronization == tf.VariableSynchronization.ON_READ:
                variable.assign(variable.read_value())
