"""OpenVINO: the same operations as the SavedModel's, non-maximum suppression too; in float32, or in 8 bits.

It is the fastest way to run the exported model on a processor. Running and writing it need no TensorFlow.

The int8 form is made by post-training quantisation with NNCF of parts of the network. Quantisation costs accuracy, in
some parts far more than in others. `INT8_PARTS` names the parts that can be quantised, from the most to the least, and
`facemask.export.quantisation_check` measures which of them is accurate enough. The operations after the last
convolutions are never quantised: the decoding of the boxes, where 8 bits are coarser than a pixel, and non-maximum
suppression.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.core import hardware, openvino_model, telemetry
from facemask.core.exported_model import ExportedModel
from facemask.core.label_map import LabelMap
from facemask.detect.model_outputs import NAMES, detections_from_outputs

REQUESTS = 2
"""Pictures in work at once: while one is computed, the next is prepared or the boxes of the last are read."""

INT8_PARTS = ("convolutions", "all but the last layers", "backbone and FPN")
"""All convolutions; all but those that give the scores and the boxes; only those that both the scores and the boxes are
computed from, without the heads."""

_LAYERS = frozenset({"Convolution", "GroupConvolution", "MatMul"})


@dataclass(frozen=True)
class OpenVinoDetector:
    """A `RawDetector` that runs a model converted to OpenVINO."""

    name: str
    label_map: LabelMap
    compiled: Any

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        # New requests for each call, so that threads can call this at the same time.
        requests = [self.compiled.create_infer_request() for _ in images[:REQUESTS]]
        found = []
        for request, image in zip(requests, images, strict=False):
            _start(request, image)
        for i, image in enumerate(images):
            request = requests[i % REQUESTS]
            request.wait()
            outputs = {name: request.get_tensor(name).data for name in NAMES}
            found.append(detections_from_outputs(outputs, image, self.label_map))
            if i + REQUESTS < len(images):
                _start(request, images[i + REQUESTS])
        return found


def _start(request: Any, image: np.ndarray) -> None:
    request.start_async({"input_tensor": np.ascontiguousarray(image[np.newaxis])})


def load_openvino_detector(model: ExportedModel, precision: str, folder: Path | None = None) -> OpenVinoDetector:
    """Load the OpenVINO form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`; `bf16`, which is slower on a processor without native bfloat16; or `int8`, a form of its own,
            whose other operations are computed in bf16 on a processor that has it.
        folder: Where `openvino_model.FILE` is, if it is not in the exported model's folder.

    Raises:
        UserError: OpenVINO is not installed, or the model was not exported for it.
    """
    form = "int8" if precision == "int8" else "openvino"
    in_bf16 = precision == "bf16" or (precision == "int8" and hardware.cpu_has_bf16())
    again = f"`make export RUN={model.folder.name} FORMATS={form}` writes it."
    compiled = openvino_model.compile_openvino(folder or model.folder / form, in_bf16, again)
    return OpenVinoDetector(f"openvino {precision}", model.label_map, compiled)


def export_openvino(model: ExportedModel, folder: Path) -> None:
    """Convert an exported model's SavedModel: write `model.xml` and `model.bin` into `folder`."""
    openvino_model.write_openvino(model.saved_model, folder)


def write_int8(model: ExportedModel, folder: Path, pictures: Sequence[np.ndarray], part: str) -> None:
    """Quantise an exported model's OpenVINO form: write `model.xml` and `model.bin` into `folder`.

    Args:
        model: An exported model that has an OpenVINO form.
        folder: The folder to write into.
        pictures: Calibration pictures from the training split: RGB uint8 arrays of shape (height, width, 3).
        part: One of `INT8_PARTS`.
    """
    telemetry.refuse_telemetry()
    import nncf
    import openvino as ov

    nncf.set_log_level(logging.ERROR)
    network = ov.Core().read_model(model.openvino / openvino_model.FILE)
    kept = nncf.IgnoredScope(names=operations_kept_in_float(network, part), validate=False)
    calibration = nncf.Dataset([picture[np.newaxis] for picture in pictures])
    quantised = nncf.quantize(
        network,
        calibration,
        # Symmetric weights, asymmetric activations: those of a ReLU6 are never negative.
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=kept,
    )
    ov.save_model(quantised, folder / openvino_model.FILE, compress_to_fp16=False)


def operations_kept_in_float(network: Any, part: str) -> list[str]:
    """The names of the operations of an OpenVINO network that are not quantised.

    OpenVINO's names of most layers are numbers, so the layers are recognised by their place in the graph. Both the raw
    boxes and the raw scores are computed from the backbone and the FPN. Only one of the two is computed from the layers
    of a head. The last layers of a head are followed by no other layer.

    Args:
        network: An `openvino.Model` of the API's SavedModel.
        part: One of `INT8_PARTS`.
    """
    boxes, scores = (_sources_of(network.output(f"raw_detection_{name}").get_node()) for name in ("boxes", "scores"))
    trunk = boxes.keys() & scores.keys()
    heads = {name: node for name, node in (boxes | scores).items() if name not in trunk}
    layers = {name for name, node in heads.items() if node.get_type_name() in _LAYERS}
    followed = {before for name in layers for before in _sources_of(heads[name]) if before in layers and before != name}
    quantised = {
        "convolutions": trunk | followed | layers,
        "all but the last layers": trunk | followed,
        "backbone and FPN": trunk,
    }[part]
    # The additions and clamps between a head's layers stay in float: quantising them gains nothing.
    return [node.get_friendly_name() for node in network.get_ordered_ops() if node.get_friendly_name() not in quantised]


def _sources_of(node: Any) -> dict[str, Any]:
    """The node and all nodes that it is computed from, by name."""
    found: dict[str, Any] = {}
    waiting = [node]
    while waiting:
        node = waiting.pop()
        name = node.get_friendly_name()
        if name not in found:
            found[name] = node
            waiting.extend(source.get_node() for source in (value.get_source_output() for value in node.inputs()))
    return found
