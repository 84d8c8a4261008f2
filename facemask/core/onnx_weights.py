"""Make an ONNX file smaller, by half precision for its weights, and make it whole again."""

from typing import Any

import numpy as np

SMALLEST_HALVED = 1024
"""Weights of fewer numbers stay in single precision: they take no room."""


def halve_weights(proto: Any) -> None:
    """Store the large weights of an `onnx.ModelProto` in half precision.

    The runtime casts them back while it loads, and computes as before. Weights that are too large for half precision
    stay as they are.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def restore_weights(proto: Any) -> None:
    """Undo `halve_weights`: store the weights in single precision again, under the names that they had."""
    from onnx import numpy_helper

    names = {node.input[0]: node.output[0] for node in proto.graph.node if node.op_type == "Cast"}
    halved = [tensor for tensor in proto.graph.initializer if tensor.name in names]
    for tensor in halved:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, names[tensor.name]))
    restored = {tensor.name for tensor in halved}
    nodes = [node for node in proto.graph.node if node.op_type != "Cast" or node.output[0] not in restored]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
