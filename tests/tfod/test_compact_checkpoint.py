"""Weights in half precision and in 8 bits, and the models that start from them."""

from pathlib import Path

import numpy as np
import pytest
import tiny_model

from facemask.core.errors import UserError
from facemask.tfod import compact_checkpoint, ready_start, restoring

ABOUT = {"model": "tiny", "size": 128, "anchor_scale": 4.0}


def checkpoint(folder: Path, values: dict[str, np.ndarray]) -> tuple[object, Path]:
    import tensorflow as tf

    holder = tf.train.Checkpoint(**{name: tf.Variable(value) for name, value in values.items()})
    return holder, Path(holder.write(str(folder / "ckpt-0")))


@pytest.mark.parametrize("kernels_in_8_bits", [False, True])
def test_the_values_come_back_as_precisely_as_they_were_written(tmp_path: Path, kernels_in_8_bits: bool) -> None:
    random = np.random.default_rng(0)
    shapes = {"conv": (3, 3, 4, 5), "depthwise": (3, 3, 4, 1), "dense": (7, 2), "bias": (5,)}
    values = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    values["conv"][..., 2] *= 1000  # each channel has a scale of its own
    values["dense"][:, 1] = 0
    holder, prefix = checkpoint(tmp_path, values)
    file = tmp_path / "weights.npz"
    compact_checkpoint.write_compact_checkpoint(prefix, file, ABOUT, kernels_in_8_bits=kernels_in_8_bits)
    assert compact_checkpoint.read_about(file) == ABOUT

    for name in values:
        getattr(holder, name).assign(np.full(shapes[name], 9, np.float32))
    unpacked = compact_checkpoint.unpack_checkpoint(file, tmp_path / "pretrained")
    assert compact_checkpoint.unpack_checkpoint(file, tmp_path / "pretrained") == unpacked
    holder.read(str(unpacked)).assert_existing_objects_matched()
    for name, value in values.items():
        axes = {4: (0, 1), 2: (0,)}.get(value.ndim, ()) if name != "conv" else (0, 1, 2)
        step = np.abs(value).max(axis=axes, keepdims=True) / 127 if kernels_in_8_bits and value.ndim > 1 else 0
        assert (np.abs(getattr(holder, name).numpy() - value) <= 0.51 * step + np.abs(value) / 1024 + 1e-7).all(), name


def test_a_value_that_half_precision_cannot_hold_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    _, prefix = checkpoint(tmp_path, {"bias": np.array([1e6], np.float32)})
    file = tmp_path / "weights.npz"
    with pytest.raises(UserError, match=r"ckpt-0: .*1e\+06"):
        compact_checkpoint.write_compact_checkpoint(prefix, file, {}, kernels_in_8_bits=False)
    assert not file.exists()
    for content in (b"", b"PK\x03\x04 cut short", b"text"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"weights\.npz"):
            compact_checkpoint.read_about(file)


def test_a_model_starts_from_them_whole(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "detector.npz"
    compact_checkpoint.write_compact_checkpoint(tiny_run / "ckpt-1", file, ABOUT, kernels_in_8_bits=False)
    monkeypatch.setattr(ready_start.shipped_detector, "training_weights", lambda part, folder: file)
    said: list[str] = []
    start = ready_start.read_ready_start()
    assert (start.model, start.size, start.anchor_scale) == ("tiny", 128, 4.0)
    prefix = ready_start.find_ready_start("tiny", tmp_path, report=said.append)
    assert restoring.checkpoint_type(prefix, num_classes=3) == "full"
    assert restoring.checkpoint_type(prefix, num_classes=2) == "detection"
    heads = {(16, 1): "full", (8, 1): "detection", (16, 2): "detection"}  # the tiny model's, and others
    assert {head: restoring.checkpoint_type(prefix, 3, head) for head in heads} == heads

    import tensorflow as tf

    model = tiny_model.build()
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    tf.train.Checkpoint(model=model).restore(str(prefix)).expect_partial()
    restored = restoring.compare_with_checkpoint(model, prefix)
    assert restored.matching == restored.total and restored.backbone_and_fpn_missing == ()
    assert len(said) == 1 and "CHECKPOINT=ready" in said[0]
    with pytest.raises(UserError, match="Leave MODEL out"):
        ready_start.find_ready_start("ssd_resnet50", tmp_path)
