"""The two networks of a two-stage detector as ONNX files for browsers: YuNet, and an exported classifier.

The classifier is made of its OpenVINO format, which both the shipped one and every export have, so that the page runs
the very weights that the other steps run. No TensorFlow is needed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.classifier.face_crops import resize_crops
from facemask.core import openvino_model
from facemask.core.errors import UserError
from facemask.core.onnx_weights import halve_weights
from facemask.detect import tiling
from facemask.detect.faces import yunet
from facemask.detect.faces.face_boxes import SAME_FACE

OPSET, IR_VERSION = 17, 8
"""Versions that onnxruntime-web has read for years. From opset 18 on ReduceMean takes its axes in another way."""

MAX_DIFFERENCE = 0.01
"""The largest allowed difference between the outputs of the two formats. Half precision moves a probability by
some thousandths."""


FACES, CLASSIFIER = "faces.onnx", "classifier.onnx"
"""The files that `write_two_stage_networks` writes."""


def write_two_stage_networks(
    model: ExportedClassifier, yunet_file: Path, size: int, alignment: Mapping[str, Any] | None, folder: Path
) -> dict[str, Any]:
    """Write both networks.

    Args:
        model: The exported classifier.
        yunet_file: YuNet's network.
        size: The longer side in pixels to which pictures are scaled for YuNet.
        alignment: The `BoxAlignment` of YuNet's boxes as JSON values, or None.
        folder: The folder in which to write `FACES` and `CLASSIFIER`.

    Returns:
        `two_stage_settings`.

    Raises:
        UserError: See `write_classifier_network`.
        RuntimeError: See `write_classifier_network`.
    """
    write_face_network(yunet_file, folder / FACES)
    write_classifier_network(model, folder / CLASSIFIER)
    return two_stage_settings(model, size, alignment)


def two_stage_settings(model: ExportedClassifier, size: int, alignment: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the page has to know, as JSON values.

    Returns:
        `kind` (two_stage); of `faces` the `network`, the constants of `detect/faces/yunet.py`, and the `alignment` of
        its boxes or None; of the `classifier` `network`, `size` and `margin`.
    """
    faces = {
        "network": FACES,
        "sizes": yunet.sizes_of(size),
        "largeFrom": tiling.LARGE,
        "largeSizes": yunet.sizes_of(2 * size),
        "strides": yunet.STRIDES,
        "leastScore": yunet.MIN_SCORE,
        "sameFace": SAME_FACE,
        "alignment": None if alignment is None else dict(alignment),
    }
    classifier = {"network": CLASSIFIER, "size": model.size, "margin": model.margin}
    return {"kind": "two_stage", "faces": faces, "classifier": classifier}


def write_face_network(yunet_file: Path, path: Path) -> None:
    """Write YuNet for pictures of any size; the published file is for 640 x 640 pixels. Its landmarks are left out."""
    import onnx

    proto = onnx.load(yunet_file)
    for value in (*proto.graph.input, *proto.graph.output):
        for axis in list(value.type.tensor_type.shape.dim)[1:]:
            if axis.dim_value > 10:  # not the colours, nor the numbers of a box
                axis.dim_param = f"{value.name}_{axis.dim_value}"
    kept = [value for value in proto.graph.output if not value.name.startswith("kps")]
    del proto.graph.output[:], proto.graph.value_info[:]
    proto.graph.output.extend(kept)
    path.write_bytes(proto.SerializeToString())


def write_classifier_network(model: ExportedClassifier, path: Path) -> None:
    """Write a classifier, its large weights in half precision, and compare its outputs with OpenVINO's.

    Input and outputs have the names and shapes of the OpenVINO format, see `classifier_openvino`.

    Raises:
        UserError: It is not a MobileNetV2, OpenVINO is not installed, or the classifier was not exported for it.
        RuntimeError: The network has an operation that is not in `_OPERATIONS`, or the outputs differ.
    """
    if model.backbone != "mobilenet_v2":
        raise UserError(
            f"{model.folder}: is a {model.backbone}, too large for a page. Train one with BACKBONE=mobilenet_v2."
        )
    again = f"`make classifier RUN={model.folder.name}` exports it again."
    compiled = openvino_model.compile_openvino(model.openvino, False, again)
    proto = convert_network(openvino_model.read_network(model.openvino))
    halve_weights(proto)
    path.write_bytes(proto.SerializeToString())
    # Coarse and fine patterns.
    dice = np.random.default_rng(0)
    patterns = [dice.integers(0, 256, (side, side, 3), np.uint8) for side in (2, 4, 8, 16, model.size)]
    crops = resize_crops(patterns, model.size)
    found, wanted = run_onnx(path, {"crops": crops}), compiled(crops)
    for output in compiled.outputs:
        apart = float(np.abs(found[output.get_any_name()] - wanted[output]).max())
        if not apart <= MAX_DIFFERENCE:
            raise RuntimeError(f"{path}: {output.get_any_name()} differs by up to {apart:.4f} from OpenVINO's.")


def run_onnx(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a network once: its outputs by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are about how the file could be smaller
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


# What OpenVINO calls an operation, and the ONNX operation with its attributes.
_OPERATIONS: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]]]] = {
    "Add": lambda _: ("Add", {}),
    "Multiply": lambda _: ("Mul", {}),
    "MatMul": lambda _: ("MatMul", {}),
    "Relu": lambda _: ("Relu", {}),
    "Softmax": lambda given: ("Softmax", {"axis": given["axis"]}),
    "Clamp": lambda _: ("Clip", {}),
    "Convert": lambda _: ("Cast", {"to": 1}),  # TensorProto.FLOAT
    "Convolution": lambda given: ("Conv", _window(given)),
    "GroupConvolution": lambda given: ("Conv", _window(given)),
    "Transpose": lambda _: ("Transpose", {}),
    "ReduceMean": lambda given: ("ReduceMean", {"keepdims": int(given["keep_dims"])}),
}
"""The operations of the MobileNetV2 classifier."""


def _window(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "strides": list(given["strides"]),
        "dilations": list(given["dilations"]),
        "pads": [*given["pads_begin"], *given["pads_end"]],
    }


def convert_network(network: Any) -> Any:
    """An `openvino.Model` as `onnx.ModelProto`, in float32."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, inputs, outputs = [], [], [], []
    constants: dict[str, np.ndarray] = {}

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def described(value: Any) -> tuple[int, list[Any]]:
        kind = TensorProto.UINT8 if value.get_element_type().get_type_name() == "u8" else TensorProto.FLOAT
        return kind, ["n" if axis.is_dynamic else axis.get_length() for axis in value.get_partial_shape()]

    for operation in network.get_ordered_ops():
        kind, name, given = operation.get_type_name(), operation.get_friendly_name(), operation.get_attributes()
        sources = [
            operation.input_value(place).get_node().get_friendly_name() for place in range(len(operation.inputs()))
        ]
        if kind == "Constant":
            constants[name] = np.array(operation.data)
        elif kind == "Convert" and sources[0] in constants:
            constants[name] = constants[sources[0]].astype(np.float32)
        elif kind == "Multiply" and all(source in constants for source in sources):  # a kernel in 8 bits and its scale
            constants[name] = constants[sources[0]] * constants[sources[1]]
        elif kind == "Parameter":
            inputs.append(helper.make_tensor_value_info(name, *described(operation.output(0))))
        elif kind == "Result":
            output = operation.output(0).get_any_name()
            nodes.append(helper.make_node("Identity", sources, [output]))
            outputs.append(helper.make_tensor_value_info(output, *described(operation.output(0))))
        elif kind not in _OPERATIONS:
            raise RuntimeError(f"{name}: {kind} has no counterpart in browser_networks._OPERATIONS.")
        else:
            ours, attributes = _OPERATIONS[kind](given)
            read = {source: constants[source] for source in sources if source in constants}
            if kind in ("Transpose", "ReduceMean"):  # ONNX has these inputs as attributes
                attributes["perm" if kind == "Transpose" else "axes"] = read.pop(sources.pop()).ravel().tolist()
            elif kind == "Clamp":
                bounds = {f"{name}_{bound}": np.float32(given[bound]) for bound in ("min", "max")}
                sources += [constant(place, np.array(value)) for place, value in bounds.items()]
            elif kind == "GroupConvolution":  # (groups, out, in, h, w)
                kernel = read[sources[1]]
                attributes["group"] = kernel.shape[0]
                read[sources[1]] = kernel.reshape(-1, *kernel.shape[2:])
            elif kind == "MatMul" and given["transpose_b"]:
                read[sources[1]] = read[sources[1]].T
            sources = [constant(f"{name}_{source}", read[source]) if source in read else source for source in sources]
            nodes.append(helper.make_node(ours, sources, [name], **attributes))
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
