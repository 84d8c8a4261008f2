"""Compute an ONNX network in TensorFlow, node by node: YuNet's, and the classifier's as `browser_networks` writes it.

Pictures and features are (batch, height, width, channels) here, and (batch, channels, height, width) in the file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np


def read_constants(proto: Any) -> dict[str, np.ndarray]:
    """All constants of an `onnx.ModelProto` by their names, as they are in the file."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def compute_nodes(proto: Any, weights: Mapping[str, Any], pixels: Any) -> dict[str, Any]:
    """Compute all values of a network with one input.

    Args:
        proto: The `onnx.ModelProto`, whose graph is followed.
        weights: Arrays, tensors or variables by their names in the file, in the file's order of axes: the kernels
            (out, in, height, width), and the other constants of the operations that this function knows.
        pixels: (batch, height, width, 3).

    Returns:
        Tensors by the names of the file. What is a sigmoid there is the value before it here.

    Raises:
        RuntimeError: The network has an operation that this function does not know.
    """
    import tensorflow as tf

    values: dict[str, Any] = {proto.graph.input[0].name: pixels}
    for node in proto.graph.node:
        source: Any = values[node.input[0]]
        others = [values[name] if name in values else weights.get(name) for name in node.input[1:]]
        attributes = {attribute.name: attribute for attribute in node.attribute}
        kind = node.op_type
        if kind == "Conv":
            made = _convolve(source, others[0], attributes)
            made = made + others[1] if len(others) > 1 else made
        elif kind == "MatMul":
            made = tf.matmul(source, others[0])
        elif kind in ("Add", "Mul"):
            other = _channels_last(others[0])
            made = source + other if kind == "Add" else source * other
        elif kind == "Relu":
            made = tf.nn.relu(source)
        elif kind == "Clip":
            least, most = (float(weights[name].item()) for name in node.input[1:])
            made = tf.nn.relu6(source) if (least, most) == (0, 6) else tf.clip_by_value(source, least, most)
        elif kind == "Softmax":
            made = tf.nn.softmax(source)
        elif kind == "Cast":
            made = tf.cast(source, tf.float32)
        elif kind == "MaxPool":
            made = tf.nn.max_pool2d(source, 2, 2, "VALID")
        elif kind == "ReduceMean":  # of the rows and the columns
            made = tf.reduce_mean(source, (1, 2))
        elif kind == "Resize":  # to twice the size, by the nearest; a resize would need the size, which may be unknown
            made = tf.nn.depth_to_space(tf.concat([source] * 4, axis=-1), 2)
        elif kind == "Reshape":
            made = tf.reshape(source, (source.shape[0] or tf.shape(source)[0], -1, source.shape[-1]))
        elif kind in ("Transpose", "Sigmoid", "Identity"):  # Transpose to the order that the values have here already
            made = source
        else:
            raise RuntimeError(f"{node.name or node.output[0]}: {kind} is not known to onnx_in_tensorflow.")
        values[node.output[0]] = made
    return values


def _channels_last(value: Any) -> Any:
    """A constant (1, channels, 1, 1) as (1, 1, 1, channels). Tensors have the right order already."""
    return value.transpose(0, 2, 3, 1) if isinstance(value, np.ndarray) and value.ndim == 4 else value


def _convolve(source: Any, kernel: Any, attributes: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    stride = attributes["strides"].ints[0]
    top, left, bottom, right = attributes["pads"].ints
    around = "VALID"
    if stride == 1 and {top, left, bottom, right} == {(kernel.shape[2] - 1) // 2}:
        around = "SAME"
    elif any((top, left, bottom, right)):
        source = tf.pad(source, [[0, 0], [top, bottom], [left, right], [0, 0]])
    if "group" in attributes and attributes["group"].i > 1:
        return tf.nn.depthwise_conv2d(source, tf.transpose(kernel, (2, 3, 0, 1)), (1, stride, stride, 1), around)
    return tf.nn.conv2d(source, tf.transpose(kernel, (2, 3, 1, 0)), stride, around)
