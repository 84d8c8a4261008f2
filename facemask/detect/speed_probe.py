"""Measure how fast OpenVINO computes convolutions on this machine, with two small networks of random weights.

A ResNet and an SSD's heads consist of dense 3x3 convolutions, which are limited by arithmetic. A MobileNet consists of
1x1 and depthwise convolutions, which are limited by memory too. Their rates differ by several times, and AMX and AVX512
raise the first far more than the second, so each is measured.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from facemask.core import hardware, openvino_model, telemetry

SECONDS = 0.5
"""Seconds for each network."""

_DENSE = (256, 28, 8)
"""Channels, side of the feature map in pixels, and layers: stage 3 of a ResNet50 at 448 pixels, with a head's width."""
_SEPARABLE = (32, 192, 112, 6)
"""Channels, channels inside a block, side of the feature map in pixels, and blocks: MobileNetV2's at 448 pixels."""


@dataclass(frozen=True)
class ProcessorSpeed:
    """Billions of multiply-accumulate operations a second.

    Attributes:
        dense: In dense 3x3 convolutions, in `precision`.
        separable: In blocks of 1x1 and depthwise 3x3 convolutions, in `precision`.
        separable_fp32: In the same blocks, in float32.
        precision: What detecting with an SSD chooses on this machine: `fp32` or `bf16`.
    """

    dense: float
    separable: float
    separable_fp32: float
    precision: str


def measure_processor() -> ProcessorSpeed:
    """Measure this machine, which takes about two seconds. Other work on it lowers the result.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    in_bf16 = hardware.cpu_has_bf16()
    channels, side, layers = _DENSE
    dense = 9 * channels**2 * side**2 * layers
    narrow, wide, width, blocks = _SEPARABLE
    separable = (2 * narrow * wide + 9 * wide) * width**2 * blocks
    separable_fp32 = separable / 1e9 / _seconds(_separable_network(), in_bf16=False)
    return ProcessorSpeed(
        dense=dense / 1e9 / _seconds(_dense_network(), in_bf16),
        separable=separable / 1e9 / _seconds(_separable_network(), in_bf16) if in_bf16 else separable_fp32,
        separable_fp32=separable_fp32,
        precision="bf16" if in_bf16 else "fp32",
    )


def _seconds(network: Any, in_bf16: bool) -> float:
    """The median time of an inference, over as many as fit into `SECONDS`, at least three."""
    request = openvino_model.compile_network(network, in_bf16).create_infer_request()
    request.infer()
    times: list[float] = []
    while len(times) < 3 or sum(times) < SECONDS:
        begun = time.perf_counter()
        request.infer()
        times.append(time.perf_counter() - begun)
    return median(times)


def _dense_network() -> Any:
    ops, weights = _operations()
    channels, side, layers = _DENSE
    taken = ops.parameter([1, channels, side, side], np.float32)
    value = taken
    for _ in range(layers):
        value = ops.relu(ops.convolution(value, weights(channels, channels, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]))
    return _model(taken, value)


def _separable_network() -> Any:
    ops, weights = _operations()
    narrow, wide, side, blocks = _SEPARABLE
    taken = ops.parameter([1, narrow, side, side], np.float32)
    value = taken
    for _ in range(blocks):
        inside = ops.clamp(ops.convolution(value, weights(wide, narrow, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]), 0, 6)
        inside = ops.group_convolution(inside, weights(wide, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
        inside = ops.convolution(ops.clamp(inside, 0, 6), weights(narrow, wide, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
        value = ops.add(value, inside)
    return _model(taken, value)


def _operations() -> tuple[Any, Callable[..., Any]]:
    """OpenVINO's operations, and a function that makes a constant of random weights of a shape."""
    telemetry.refuse_telemetry()
    from openvino import opset13

    random = np.random.default_rng(0)
    return opset13, lambda *shape: opset13.constant((0.02 * random.standard_normal(shape)).astype(np.float32))


def _model(taken: Any, value: Any) -> Any:
    import openvino as ov
    from openvino import opset13

    return ov.Model([opset13.result(value)], [taken])
