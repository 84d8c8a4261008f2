"""Make an ONNX file smaller: half precision for its weights."""

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
