"""A network with its weights in 8 bits and in half precision: smaller, and with nearly the same outputs."""

from pathlib import Path

import numpy as np
import pytest

from facemask.core import openvino_model


def write_network(folder: Path) -> None:
    """A convolution, a depthwise one and a product with a matrix, as in a MobileNet."""
    import openvino as ov
    from openvino import opset13 as ops

    random = np.random.default_rng(0)
    picture = ops.parameter([-1, 16, 8, 8], np.float32, name="picture")
    full = random.normal(0, 0.1, (64, 16, 3, 3)).astype(np.float32)
    depthwise = random.normal(0, 0.1, (64, 1, 1, 3, 3)).astype(np.float32)
    around = ([1, 1], [1, 1], [1, 1], [1, 1])
    value = ops.relu(ops.convolution(picture, ops.constant(full), *around))
    value = ops.relu(ops.group_convolution(value, ops.constant(depthwise), *around))
    value = ops.reduce_mean(value, np.array([2, 3]), False)
    value = ops.matmul(value, ops.constant(random.normal(0, 0.3, (64, 3)).astype(np.float32)), False, False)
    network = ov.Model([ops.softmax(value, 1)], [picture])
    network.set_rt_info("/home/somebody/saved_model", ["conversion_parameters", "input_model"])
    ov.save_model(network, folder / openvino_model.FILE, compress_to_fp16=False)


@pytest.mark.parametrize(("least", "share", "apart"), [(10**6, 0.55, 1e-3), (1000, 0.29, 1e-2), (0, 0.28, 1e-2)])
def test_small_weights_give_nearly_the_same_outputs(
    least: int, share: float, apart: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf", reason="needs the dependency group int8")
    whole, small = tmp_path / "whole", tmp_path / "small"
    whole.mkdir()
    small.mkdir()
    write_network(whole)
    openvino_model.write_small_weights(whole, small, least)
    assert capsys.readouterr().out == ""
    sizes = [(folder / "model.bin").stat().st_size for folder in (whole, small)]
    assert sizes[1] < share * sizes[0]
    assert "somebody" not in (small / openvino_model.FILE).read_text()
    pictures = np.random.default_rng(1).normal(0, 1, (5, 16, 8, 8)).astype(np.float32)
    wanted, found = (openvino_model.compile_openvino(folder, False, "")(pictures)[0] for folder in (whole, small))
    assert 0 < np.abs(found - wanted).max() < apart
