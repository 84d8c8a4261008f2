"""The OpenVINO form in 8 bits: post-training quantisation by NNCF of parts of the network.

What is quantised loses accuracy, some parts far more than others. `PARTS` names what can be, from the most to the
least; which of them is good enough is for a measurement to say. Never quantised is what comes after the last
convolutions: the decoding of the boxes, where 8 bits are coarser than a pixel, and non-maximum suppression.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.support import telemetry
from scripts.tfod.exported import ExportedModel

PARTS = ("convolutions", "all but the last layers", "backbone and FPN")
"""All convolutions; without those that give the scores and the boxes; only those that both the scores and the boxes
come from, without the heads."""

_LAYERS = frozenset({"Convolution", "GroupConvolution", "MatMul"})


def write(model: ExportedModel, folder: Path, pictures: Sequence[np.ndarray], part: str) -> None:
    """Write `model.xml` and `model.bin` into `folder`.

    Args:
        model: An exported model that has an OpenVINO form.
        folder: Where to.
        pictures: To calibrate on, from the training split: RGB uint8 arrays of shape (height, width, 3).
        part: One of `PARTS`.
    """
    telemetry.refuse()
    import nncf
    import openvino as ov

    nncf.set_log_level(logging.ERROR)
    network = ov.Core().read_model(model.openvino / "model.xml")
    kept = nncf.IgnoredScope(names=_kept(network, part), validate=False)
    calibration = nncf.Dataset([picture[np.newaxis] for picture in pictures])
    quantised = nncf.quantize(
        network,
        calibration,
        # Symmetric weights, asymmetric activations: those of a ReLU6 are never negative.
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=kept,
    )
    ov.save_model(quantised, folder / "model.xml", compress_to_fp16=False)


def _kept(network: Any, part: str) -> list[str]:
    """The names of the operations that are not to be quantised.

    OpenVINO's names of most layers are numbers, so they are told apart by where they are: what both the raw boxes and
    the raw scores come from is backbone and FPN, layers that only one of them comes from are a head's, and those of a
    head that no other layer follows are its last.
    """
    boxes, scores = (_before(network.output(f"raw_detection_{what}").get_node()) for what in ("boxes", "scores"))
    trunk = boxes.keys() & scores.keys()
    heads = {name: node for name, node in (boxes | scores).items() if name not in trunk}
    layers = {name for name, node in heads.items() if node.get_type_name() in _LAYERS}
    followed = {before for name in layers for before in _before(heads[name]) if before in layers and before != name}
    quantised = {
        "convolutions": trunk | followed | layers,
        "all but the last layers": trunk | followed,
        "backbone and FPN": trunk,
    }[part]
    # Between the layers of a head: quantised or not as they are, there is nothing to gain in adding and clamping.
    return [node.get_friendly_name() for node in network.get_ordered_ops() if node.get_friendly_name() not in quantised]


def _before(node: Any) -> dict[str, Any]:
    """The node and all that it is computed from, by name."""
    found: dict[str, Any] = {}
    waiting = [node]
    while waiting:
        node = waiting.pop()
        name = node.get_friendly_name()
        if name not in found:
            found[name] = node
            waiting.extend(source.get_node() for source in (value.get_source_output() for value in node.inputs()))
    return found
