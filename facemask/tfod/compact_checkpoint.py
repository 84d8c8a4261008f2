"""A checkpoint's weights in one small file: float32 values as half precision, or kernels in 8 bits.

    <name>.npz
        about       UTF-8 JSON: "format"; "about", what the weights are; "halves" and "kernels", the names and shapes of
                    the tensors, in order
        halves      float16, all tensors of "halves" one after the other
        kernels     int8, all tensors of "kernels" one after the other
        scales      float32, one per output channel of "kernels": the factor from an int8 value to the weight
        graph       bytes: TensorFlow's object graph, by which a checkpoint is restored

`unpack_checkpoint` writes it as a checkpoint again, in float32, without building a model.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core.errors import UserError
from facemask.core.files import replacing_file, replacing_folder, sha256

FORMAT = 1
_GRAPH, _COUNTER = "_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"
_LARGEST_INT8 = 127
_SMALLEST_SCALE = 1e-30
"""Avoids a division by 0 for an output channel that is 0 everywhere."""


def write_compact_checkpoint(prefix: Path, file: Path, about: Mapping[str, Any], *, kernels_in_8_bits: bool) -> None:
    """Write a checkpoint's float32 tensors to a compact file.

    Args:
        prefix: The checkpoint's prefix.
        file: The file to write (.npz).
        about: What the weights are, as JSON values.
        kernels_in_8_bits: Write the kernels, all tensors of two and more axes, in 8 bits with a scale for each output
            channel.

    Raises:
        UserError: A value is too large for half precision.
    """
    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name, kind in sorted(reader.get_variable_to_dtype_map().items()) if kind == tf.float32]
    tensors = {name: reader.get_tensor(name) for name in names}
    kernels = [name for name in names if kernels_in_8_bits and tensors[name].ndim > 1]
    halves = [name for name in names if name not in kernels]
    scales = [
        np.maximum(
            np.abs(tensors[name]).max(axis=_input_axes(tensors[name].shape), keepdims=True) / _LARGEST_INT8,
            _SMALLEST_SCALE,
        )
        for name in kernels
    ]
    quantised = [np.rint(tensors[name] / scale).astype(np.int8) for name, scale in zip(kernels, scales, strict=True)]
    flat = _flat([tensors[name] for name in halves], np.float32)
    if not np.abs(flat).max(initial=0) <= np.finfo(np.float16).max:
        raise UserError(f"{prefix}: a weight of {np.abs(flat).max():.3g} is too large for half precision.")
    described = {
        "format": FORMAT,
        "about": dict(about),
        "halves": [[name, list(tensors[name].shape)] for name in halves],
        "kernels": [[name, list(tensors[name].shape)] for name in kernels],
    }
    with replacing_file(file) as beside, beside.open("wb") as opened:
        np.savez_compressed(
            opened,
            about=np.frombuffer(json.dumps(described).encode(), np.uint8),
            halves=flat.astype(np.float16),
            kernels=_flat(quantised, np.int8),
            scales=_flat(scales, np.float32),
            graph=np.frombuffer(reader.get_tensor(_GRAPH), np.uint8),
        )


def read_about(file: Path) -> dict[str, Any]:
    """What the weights of a compact file are.

    Raises:
        UserError: The file is missing, damaged, or not one that `write_compact_checkpoint` wrote.
    """
    about: dict[str, Any] = _read(file)[0]["about"]
    return about


def unpack_checkpoint(file: Path, into: Path) -> Path:
    """Write a compact file as a checkpoint, unless that was done before.

    Args:
        file: The compact file.
        into: The folder in which to write it, in a folder named after the file and its digest.

    Returns:
        The checkpoint's prefix.

    Raises:
        UserError: See `read_about`.
    """
    folder = into / f"{file.parent.name}-{file.stem}-{sha256(file)[:12]}"
    prefix = folder / "checkpoint" / "ckpt-0"
    if prefix.with_name("ckpt-0.index").is_file():
        return prefix
    described, arrays = _read(file)
    tensors = dict(_split(described["halves"], arrays["halves"].astype(np.float32)))
    scales, place = arrays["scales"], 0
    for name, quantised in _split(described["kernels"], arrays["kernels"].astype(np.float32)):
        axes = _input_axes(quantised.shape)
        shape = [1 if axis in axes else side for axis, side in enumerate(quantised.shape)]
        tensors[name] = quantised * scales[place : place + int(np.prod(shape))].reshape(shape)
        place += int(np.prod(shape))

    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf

    with replacing_folder(folder) as beside:
        target = beside / "checkpoint" / "ckpt-0"
        target.parent.mkdir()
        values = [tf.constant(value) for value in tensors.values()]
        tf.raw_ops.SaveV2(
            prefix=str(target),
            tensor_names=[*tensors, _COUNTER, _GRAPH],
            shape_and_slices=[""] * (len(values) + 2),
            tensors=[*values, tf.constant(0, tf.int64), tf.constant(arrays["graph"].tobytes())],
        )
    return prefix


def _read(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(file, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in ("about", "halves", "kernels", "scales", "graph")}
        described = json.loads(arrays["about"].tobytes())
        if described["format"] != FORMAT:
            raise ValueError(f"format {described['format']}")
    except FileNotFoundError:
        raise UserError(f"{file}: no such file.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file}: not a file of weights that `make ready` writes ({error}).") from None
    return described, arrays


def _split(names: list[tuple[str, list[int]]], flat: np.ndarray) -> list[tuple[str, np.ndarray]]:
    ends = np.cumsum([int(np.prod(shape)) for _, shape in names], dtype=int)
    pieces = np.split(flat, ends[:-1]) if len(names) else []
    return [(name, piece.reshape(shape)) for (name, shape), piece in zip(names, pieces, strict=True)]


def _flat(arrays: list[np.ndarray], kind: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *(array.reshape(-1) for array in arrays)]).astype(kind)


def _input_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes over which an output channel of a kernel sums: all but the last; (0, 1) if depthwise, (h, w, c, 1)."""
    return (0, 1) if len(shape) == 4 and shape[-1] == 1 else tuple(range(len(shape) - 1))
