"""An exported model as ONNX without its resizing and its suppression, for browsers.

Their runtimes stumble on the loops and dynamic shapes of both. The page does them there (`facemask/serving/page`).

Input `input`: float32 of shape (1, height, width, 3), a picture resized to the model's size, 0 to 255. Outputs
`raw_detection_boxes`, (1, anchors, 4), normalised ymin, xmin, ymax, xmax; and `raw_detection_scores`,
(1, anchors, classes), 0 to 1, with a column for the background before them if the model has one.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.onnx_weights import halve_weights
from facemask.tfod import pipeline_config, saved_model_export

FILE = "network.onnx"

OUTPUTS = ("raw_detection_boxes", "raw_detection_scores")

OPSET = 17


def write_raw_network(model: ExportedModel, folder: Path) -> dict[str, Any]:
    """Convert an exported model's checkpoint, with weights in half precision, and check what was written.

    Args:
        model: The exported model.
        folder: The folder in which to write `FILE`.

    Returns:
        What the page has to know, as JSON values: `kind` (ssd), `network` (`FILE`), `width` and `height` of its input,
        and `suppression`, the settings of the suppression that it lacks, the API's `batch_non_max_suppression`: `iou`
        (a box that a better one of its class overlaps by more is dropped), `leastScore` (boxes must score more),
        `mostPerClass`, `most`, and `background` (whether the scores have a column for it).

    Raises:
        UserError: The model keeps the aspect ratio of pictures, or its checkpoint is gone.
        RuntimeError: The file's outputs are not the model's.
    """
    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf
    from object_detection.builders import model_builder

    config = pipeline_config.read_config(model.folder / "pipeline.config")
    architecture = getattr(config.model, config.model.WhichOneof("model"))
    if architecture.image_resizer.WhichOneof("image_resizer_oneof") != "fixed_shape_resizer":
        raise UserError(f"{model.folder}: {model.model} keeps the aspect ratio of pictures, which the page does not.")
    network = model_builder.build(config.model, is_training=False)
    shape = (1, model.height, model.width, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="input")])
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared, shapes = network.preprocess(image)
        outputs = network.postprocess(network.predict(prepared, shapes), shapes)
        return {name: tf.identity(outputs[name], name) for name in OUTPUTS}

    function = detect.get_concrete_function()
    prefix = str(saved_model_export.checkpoint_of(model))
    tf.train.Checkpoint(model=network).restore(prefix).assert_existing_objects_matched().expect_partial()
    proto = convert_function(function, model.model, "input", OUTPUTS, OPSET)
    halve_weights(proto)
    path = folder / FILE
    path.write_bytes(proto.SerializeToString())
    picture = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    _check(path, picture, {name: np.asarray(value) for name, value in detect(tf.constant(picture)).items()})
    settings = architecture.post_processing.batch_non_max_suppression
    columns = next(output for output in proto.graph.output if output.name == OUTPUTS[1]).type.tensor_type.shape.dim[-1]
    suppression = {
        "iou": round(settings.iou_threshold, 6),
        "leastScore": round(settings.score_threshold, 9),
        "mostPerClass": settings.max_detections_per_class,
        "most": settings.max_total_detections,
        "background": columns.dim_value == len(model.label_map) + 1,
    }
    about = {"kind": "ssd", "network": FILE, "width": model.width, "height": model.height}
    return about | {"suppression": suppression}


def convert_function(function: Any, name: str, taken: str, given: Sequence[str], opset: int) -> Any:
    """A concrete function as `onnx.ModelProto` with the input `taken` and the outputs `given`.

    It does what `tf2onnx.convert.from_function` does, which would name the outputs Identity, Identity_1, ...

    The API makes some constants of its anchors outside the function. TensorFlow's freezing leaves them as inputs, so
    they become constants here.
    """
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)  # it logs every pass of its optimizer
    with saved_model_export.without_warnings():
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
        inside = dict(zip(sorted(function.structured_outputs), (one.name for one in frozen.outputs), strict=True))
        outside = {inner.op.name: outer for outer, inner in function.graph.captures if outer.dtype != tf.resource}
        graph = frozen.graph.as_graph_def()
        for node in graph.node:
            if node.name in outside:
                value = outside[node.name]
                node.op = "Const"
                node.ClearField("attr")
                node.attr["dtype"].type = value.dtype.as_datatype_enum
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy()))
        proto, _ = tf2onnx.convert.from_graph_def(
            graph,
            name=name,
            input_names=[frozen.inputs[0].name],
            output_names=[inside[output] for output in given],
            tensors_to_rename={frozen.inputs[0].name: taken} | {inside[output]: output for output in given},
            opset=opset,
        )
    return proto


def _check(path: Path, picture: np.ndarray, wanted: dict[str, np.ndarray]) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for name, found in zip(OUTPUTS, session.run(OUTPUTS, {"input": picture}), strict=True):
        apart = float(np.abs(found - wanted[name]).max())
        # Half precision moves a score by some thousandths, and a box by less than that.
        if found.shape != wanted[name].shape or not apart < 0.03:
            raise RuntimeError(f"{path}: {name} differs by up to {apart:.4f} from the checkpoint's model.")
