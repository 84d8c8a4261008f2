"""Convert a SavedModel to OpenVINO's format, and compile the result for the processor."""

import contextlib
import io
import logging
import math
import re
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from facemask.core import hardware, telemetry
from facemask.core.errors import UserError

FILE = "model.xml"
"""The network's file; its weights are in `model.bin` beside it."""

_REQUESTS = ContextVar("requests", default=1)
"""Of the block of `sharing_cores`. As an option it would pass through the loaders of all other runtimes and face
detectors, which have no use for it."""


@contextlib.contextmanager
def sharing_cores(requests: int) -> Iterator[None]:
    """Networks that are compiled in the block compute so many requests at once, each on its share of the cores.

    A single request takes longer than on all cores, and all of them together less: the threads of one request wait for
    each other after each layer.
    """
    token = _REQUESTS.set(requests)
    try:
        yield
    finally:
        _REQUESTS.reset(token)


def write_openvino(saved_model: Path, folder: Path) -> None:
    """Convert a SavedModel: write `FILE` and its weights into `folder`, with the same operations, in float32."""
    telemetry.refuse_telemetry()
    import openvino as ov

    # The default would store float32 weights as float16.
    ov.save_model(ov.convert_model(str(saved_model)), folder / FILE, compress_to_fp16=False)


def write_small_weights(source: Path, folder: Path, least: int) -> None:
    """Write the network of a folder into another one with smaller weights. It still computes in float32.

    Kernels of at least so many values are in 8 bits, with a scale for each output channel, and all other weights in
    float16. What the conversion noted of the machine, such as the path of the SavedModel, is left out.

    Args:
        source: The folder that holds `FILE`.
        folder: The folder to write into.
        least: The number of values from which a kernel is in 8 bits.
    """
    telemetry.refuse_telemetry()
    import nncf
    import openvino as ov

    nncf.set_log_level(logging.ERROR)
    # The kernels of a network with weights in 8 bits stay in float32 if they are not in float16 before.
    with tempfile.TemporaryDirectory() as scratch:
        ov.save_model(read_network(source), Path(scratch) / FILE, compress_to_fp16=True)
        network = ov.Core().read_model(Path(scratch) / FILE, config={"ENABLE_MMAP": False})
    kept = [operation.get_friendly_name() for operation in network.get_ordered_ops() if _kernel_size(operation) < least]
    with contextlib.redirect_stdout(io.StringIO()):  # nncf prints progress bars
        network = nncf.compress_weights(
            network,
            mode=nncf.CompressWeightsMode.INT8_SYM,
            ignored_scope=nncf.IgnoredScope(names=kept, types=["Gather"], validate=False),
        )
    for note in ("conversion_parameters", "nncf"):
        if note in network.rt_info:
            del network.rt_info[note]
    ov.save_model(network, folder / FILE, compress_to_fp16=True)
    described = folder / FILE
    described.write_bytes(re.sub(rb"\n\t+", b"\n", described.read_bytes()))  # a fifth of the file is indentation


def _kernel_size(operation: Any) -> float:
    """The number of values in an operation's kernel; infinite for an operation that has none."""
    if operation.get_type_name() not in ("Convolution", "GroupConvolution", "MatMul"):
        return math.inf
    shape = operation.input_value(1).get_partial_shape()
    return math.prod(shape.to_shape()) if shape.is_static else 0


def read_network(folder: Path) -> Any:
    """The network of a folder as `openvino.Model`. Raises a RuntimeError if the file is missing or damaged."""
    telemetry.refuse_telemetry()
    import openvino as ov

    return ov.Core().read_model(folder / FILE)


def compile_openvino(folder: Path, in_bf16: bool, again: str) -> Any:
    """Load the network of a folder as OpenVINO's `CompiledModel`; see `compile_network`.

    Args:
        folder: The folder that holds `FILE`.
        in_bf16: Compute in bfloat16; slower on a processor without native bfloat16.
        again: What the user can do if the file is missing or damaged; a sentence.

    Raises:
        UserError: OpenVINO is not installed, or the file is missing or damaged.
    """
    telemetry.refuse_telemetry()
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        raise UserError(f"OpenVINO cannot be loaded ({error}). RUNTIME=tensorflow does not need it.") from None
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file. {again}")
    try:
        return compile_network(path, in_bf16)
    except RuntimeError as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[-1]}). {again}") from None


def compile_network(network: Any, in_bf16: bool) -> Any:
    """Compile a network for the processor, for the latency of a single request; or as `sharing_cores` says.

    OpenVINO uses all cores on which the process may run, according to their kind. It does not know every container's
    limit, so this function passes it on.

    Args:
        network: An `openvino.Model`, or the path of a file.
        in_bf16: Compute in bfloat16.

    Raises:
        RuntimeError: The file is missing or damaged.
    """
    import numpy as np
    import openvino as ov

    # The first `data` of a process loads NumPy's interface. Two threads that detect for the first time at once could
    # wait for each other for ever: one holds the interpreter's lock, the other that of the loading.
    _ = ov.Tensor(np.zeros(1, np.uint8)).data
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32", "PERFORMANCE_HINT": "LATENCY"}
    options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"  # else products with kernels in 8 bits are computed in 8 bits too
    requests = _REQUESTS.get()
    if requests > 1 or hardware.usable_cores() < hardware.available_cores():
        options["INFERENCE_NUM_THREADS"] = hardware.usable_cores()
    if requests > 1:
        # Pinned, a request of one network and one of another could wait for the same core while another is free.
        options |= {"NUM_STREAMS": requests, "ENABLE_CPU_PINNING": False}
        network = _with_kernels_in_float32(network)
    return ov.Core().compile_model(network, "CPU", options)


def _with_kernels_in_float32(network: Any) -> Any:
    """A network without the 8-bit kernels of `write_small_weights`, which computes the same.

    OpenVINO 2026.4.1 lets the streams of one network convert such kernels at the same time, into the same memory: the
    outputs are then wrong at random, by up to 0.8 of a probability, until the network is compiled again.

    Args:
        network: An `openvino.Model`, which is changed, or the path of a file.
    """
    import numpy as np
    import openvino as ov
    from openvino import opset13

    if not isinstance(network, ov.Model):
        network = ov.Core().read_model(network)
    for constant in network.get_ordered_ops():
        if constant.get_type_name() != "Constant" or constant.get_element_type() != ov.Type.i8:
            continue
        chain = [constant]  # kernel in 8 bits -> float16 -> times its scales -> float32
        while len(chain) < 4 and len(users := chain[-1].output(0).get_target_inputs()) == 1:
            chain.append(users.pop().get_node())
        if [one.get_type_name() for one in chain[1:]] == ["Convert", "Multiply", "Convert"]:
            scales = chain[2].input_value(1).get_node()
            kernel = constant.data.astype(np.float32) * scales.data.astype(np.float32)
            chain[3].output(0).replace(opset13.constant(kernel).output(0))
    return network
