"""YuNet's network in TensorFlow: read its weights from the ONNX file, compute its outputs, write changed weights back.

The file's graph holds convolutions with their batch normalisation folded in, and a few operations without weights, so
the graph itself is followed here, node by node, and the written file differs from the read one in its weights alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core.errors import UserError
from facemask.core.files import write_bytes
from facemask.core.onnx_weights import restore_weights
from facemask.detect.faces.yunet import STRIDES
from facemask.face_training import onnx_in_tensorflow

GRIDS = ("cls", "obj", "bbox")
"""The outputs of each grid that are trained: the two factors of the score, and the box. The landmarks are not."""


def read_onnx(path: Path) -> Any:
    """Read a file of YuNet's network as an `onnx.ModelProto`, its weights in single precision.

    Raises:
        UserError: The file is not YuNet's network, or onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError(f"onnx cannot be loaded ({error}). `make faces` installs it, or: pip install onnx") from None
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(str(path))
    except (OSError, DecodeError) as error:
        raise UserError(f"{path}: cannot be read as YuNet's network ({error}).") from None
    outputs = {output.name for output in proto.graph.output}
    missing = [f"{grid}_{stride}" for stride in STRIDES for grid in GRIDS if f"{grid}_{stride}" not in outputs]
    if missing:
        raise UserError(f"{path}: is not YuNet's network: it has no output {missing[0]}.")
    restore_weights(proto)
    return proto


def read_weights(proto: Any) -> dict[str, np.ndarray]:
    """The weights of the convolutions by their names, float32: kernels (out, in, height, width) and biases (out,)."""
    from onnx import numpy_helper

    used = {name for node in proto.graph.node if node.op_type == "Conv" for name in node.input[1:]}
    return {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in proto.graph.initializer
        if tensor.name in used
    }


def trained_weights(proto: Any, *, freeze: bool) -> list[str]:
    """The names of the weights that training changes: all but those of the landmarks.

    Args:
        proto: The network.
        freeze: Leave out those before the first pooling too. They work on the largest maps, which takes a third of a
            step's time.
    """
    names: list[str] = []
    for node in proto.graph.node:
        if node.op_type == "MaxPool" and freeze:
            names, freeze = [], False
        elif node.op_type == "Conv":
            names.extend(name for name in node.input[1:] if "kps" not in name)
    return sorted(names)


def write_weights(path: Path, proto: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Write the network with other weights.

    Args:
        path: The .onnx file.
        proto: The network, which is changed.
        weights: As `read_weights` gives them.
    """
    from onnx import numpy_helper

    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            values = np.ascontiguousarray(weights[tensor.name], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    write_bytes(path, proto.SerializeToString())


def yunet_logits(proto: Any, weights: Mapping[str, Any], pixels: Any) -> dict[str, Any]:
    """Compute the outputs of the three grids, before the sigmoid.

    Args:
        proto: The network, whose graph is followed.
        weights: Tensors or variables as `read_weights` names and shapes them.
        pixels: (batch, height, width, 3) float32, BGR, 0..255; the sides are multiples of the largest stride.

    Returns:
        Tensors (batch, cells, 1 or 4) by the name of the output, such as `cls_8`. The cells are in rows.
    """
    values = onnx_in_tensorflow.compute_nodes(proto, weights, pixels)
    return {f"{grid}_{stride}": values[f"{grid}_{stride}"] for stride in STRIDES for grid in GRIDS}


def join_grids(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Join the outputs of the three grids, in the order of `face_assignment.grid_cells`.

    Args:
        outputs: As `yunet_logits` gives them.

    Returns:
        `cls` and `obj`, (batch, cells), and `bbox`, (batch, cells, 4).
    """
    import tensorflow as tf

    joined = {grid: tf.concat([outputs[f"{grid}_{stride}"] for stride in STRIDES], axis=1) for grid in GRIDS}
    return {grid: value if grid == "bbox" else value[..., 0] for grid, value in joined.items()}
