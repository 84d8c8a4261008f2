"""Measure what narrower and shallower heads save: parameters, operations and OpenVINO's time for a picture.

    python -m benchmarks.heads [--rounds 20]

SSD ResNet50 V1 FPN at 448 and 640 pixels and MobileNetV2 FPNLite at 448, each with its own heads, with half of their
depth, with half of their layers, and with both. The weights are random: the time does not depend on them, except that
no box reaches the suppression. What a head costs in accuracy is not measured.

Each network is built by the API from the project's template, converted to OpenVINO with everything from the uint8
picture to the boxes, and compared with the API's own outputs for that picture. Networks of one model and size take
turns, one picture each a round, so that other work on the machine meets all of them. A multiplication with its addition
counts as two operations; only convolutions are counted.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from facemask.core import hardware, openvino_model

MODELS = (
    ("ssd_resnet50_v1_fpn_640x640", 448),
    ("ssd_resnet50_v1_fpn_640x640", 640),
    ("ssd_mobilenet_v2_fpnlite_640x640", 448),
)
OUTPUTS = ("detection_boxes", "detection_scores", "raw_detection_boxes", "raw_detection_scores")


@dataclass(frozen=True)
class Network:
    """A model with one kind of heads.

    Attributes:
        model: Its name in configs/models.yaml, and the side of its input in pixels.
        head: Depth and number of layers of its heads.
        parameters: Number of weights that training changes.
        operations: Multiplications and additions of the convolutions for one picture.
        compiled: OpenVINO's `CompiledModel`.
    """

    model: str
    head: tuple[int, int]
    parameters: int
    operations: int
    compiled: Any


def main(rounds: Annotated[int, typer.Option(help="Pictures of each network.", min=1)] = 20) -> None:
    """Measure, and print one table."""
    console = Console(highlight=False)
    table = Table("model", "heads", "parameters, M", "GFLOPs", "ms", "share of the time")
    for column in table.columns[2:]:
        column.justify = "right"
    began = time.monotonic()
    for name, size in MODELS:
        picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
        networks = []
        for head in heads_of(name):
            with console.status(f"{name}, {size} px, heads {head[0]}x{head[1]}"):
                networks.append(make_network(name, size, head, picture))
        with console.status(f"{name}, {size} px: {rounds} rounds"):
            times = measure([network.compiled for network in networks], picture, rounds)
        for network, seconds in zip(networks, times, strict=True):
            table.add_row(
                network.model,
                "{} x {}".format(*network.head),
                f"{network.parameters / 1e6:.1f}",
                f"{network.operations / 1e9:.1f}",
                f"{1000 * seconds:.0f}",
                f"{seconds / times[0]:.0%}",
            )
        table.add_section()
    console.print(table)
    console.print(
        f"Median of {rounds} pictures; {hardware.cpu_name()}, {hardware.usable_cores()} cores; load "
        f"{os.getloadavg()[1]:.1f} over the last 5 minutes; {time.monotonic() - began:.0f} s in all."
    )


def heads_of(name: str) -> list[tuple[int, int]]:
    """The model's own heads as depth and layers, and those with half of the depth, of the layers, and of both."""
    from facemask.tfod import pipeline_config

    own = pipeline_config.head_of(config_of(name, 640, None))
    assert own is not None
    depth, layers = own
    return list(itertools.product((depth, depth // 2), (layers, layers // 2)))


def config_of(name: str, size: int, head: tuple[int, int] | None) -> Any:
    """The pipeline config of a model, as `make train` renders it, but for records, which nothing here reads."""
    from facemask.tfod import model_zoo, pipeline_config

    depth, layers = head or (None, None)
    settings = pipeline_config.Settings(
        num_classes=3,
        size=size,
        steps=1,
        batch=1,
        optimizer="momentum",
        learning_rate=0.01,
        warmup_learning_rate=0.01,
        warmup_steps=0,
        anchor_scale=2.0,
        weight_decay=0.0004,
        batch_norm_decay=0.997,
        clip_gradients=0.0,
        augment="none",
        max_boxes=100,
        max_detections=100,
        label_map="",
        train_records=(),
        eval_records=(),
        records_digest="",
        head_depth=depth,
        head_layers=layers,
    )
    return pipeline_config.make_config(model_zoo.find_model(name).template, settings)


def make_network(name: str, size: int, head: tuple[int, int], picture: np.ndarray) -> Network:
    """Build a model with random weights, convert it, and compare it with the API's outputs for a picture."""
    config = config_of(name, size, head)
    import tensorflow as tf

    from facemask.tfod import detection_model

    # Random scores lie around the threshold: thousands of boxes would go through the suppression, not dozens.
    config.model.ssd.post_processing.batch_non_max_suppression.score_threshold = 0.5
    tf.keras.utils.set_random_seed(0)
    model = detection_model.build_detection_model(config.model, is_training=False)
    signature = [tf.TensorSpec((1, size, size, 3), tf.uint8, name="input_tensor")]

    @tf.function(input_signature=signature, autograph=False)  # the API's code needs none
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared, shapes = model.preprocess(tf.cast(image, tf.float32))
        outputs = model.postprocess(model.predict(prepared, shapes), shapes)
        return {name: tf.identity(outputs[name], name) for name in OUTPUTS}

    function = detect.get_concrete_function()
    wanted = {name: value.numpy() for name, value in function(tf.constant(picture)).items()}
    module = tf.Module()
    module.weights = model.variables  # all that saving needs of the model; its layers would be saved one by one
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(module, scratch, signatures=function)
        openvino_model.write_openvino(Path(scratch), Path(scratch))
        network = openvino_model.read_network(Path(scratch))
        compiled = openvino_model.compile_network(network, in_bf16=False)
    found = compiled(picture)
    for output in OUTPUTS:
        if found[output].shape != wanted[output].shape or not np.allclose(found[output], wanted[output], atol=1e-3):
            raise RuntimeError(f"{name}, {size} px, heads {head}: OpenVINO's {output} is not the API's.")
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    tf.keras.backend.clear_session()
    return Network(f"{name}, {size} px", head, parameters, count_operations(network), compiled)


def count_operations(network: Any) -> int:
    """Multiplications and additions of an OpenVINO network's convolutions: each weight is used once for each pixel."""
    total = 0
    for operation in network.get_ordered_ops():
        if operation.get_type_name() in ("Convolution", "GroupConvolution"):
            height, width = list(operation.output(0).get_shape())[2:]
            total += 2 * int(np.prod(operation.input(1).get_shape())) * height * width
    return total


def measure(compiled: Sequence[Any], picture: np.ndarray, rounds: int) -> list[float]:
    """The median seconds of each network for a picture. The networks take turns."""
    times: list[list[float]] = [[] for _ in compiled]
    for number in range(rounds + 1):
        for network, taken in zip(compiled, times, strict=True):
            begin = time.perf_counter()
            network(picture)
            if number:  # the first picture warms up
                taken.append(time.perf_counter() - begin)
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    typer.run(main)
