import json
from pathlib import Path

import numpy as np
import pytest

from facemask.core import exported_model, hardware
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.detect.backends import openvino_backend
from facemask.detect.backends.openvino_backend import INT8_PARTS
from facemask.detect.opened_detector import open_detector
from facemask.detect.precisions import LowerPrecision, is_refused
from facemask.export import quantisation_check

REFERENCE = (0.800, 100.0, 3)


@pytest.fixture
def model(tiny_exported: Path, tmp_path: Path) -> exported_model.ExportedModel:
    """The tiny model, in a folder of its own."""
    if not (tiny_exported / "openvino").is_dir():
        pytest.skip("OpenVINO is not installed (dependency group openvino)")
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("model.json", "openvino"):
        (folder / name).symlink_to(tiny_exported / name)
    return exported_model.read_exported_model(folder)


@pytest.mark.parametrize(("map50", "allowed"), [(0.801, True), (0.795, True), (0.7949, False)])
def test_half_a_point_may_be_lost(map50: float, allowed: bool, tmp_path: Path) -> None:
    lowered = LowerPrecision("bf16", 10, map50, 0.800, 10.0, 20.0)
    assert lowered.allowed is allowed and lowered.points == pytest.approx(100 * (map50 - 0.8))
    (tmp_path / "openvino").mkdir()
    assert not is_refused(tmp_path, "bf16")
    lowered.write(tmp_path / "openvino" / "bf16.json", {})
    assert is_refused(tmp_path, "bf16") is not allowed


def test_int8_without_records_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    labels = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))
    quantisation_check.refuse_early(["openvino"], tmp_path, labels)
    with pytest.raises(UserError):
        quantisation_check.refuse_early(["openvino", "int8"], tmp_path, labels)


def test_the_most_that_is_good_enough_and_faster_is_quantised(
    model: exported_model.ExportedModel, tiny_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = INT8_PARTS

    def quantise(
        *figures: tuple[float, float], known: LowerPrecision | None = None
    ) -> tuple[LowerPrecision | None, list[str]]:
        """With these figures (mAP@0.5, ms) of the parts, in their order."""
        tried: list[str] = []
        given = iter([*([] if known else [REFERENCE]), *((*figure, 3) for figure in figures)])

        def write(model: exported_model.ExportedModel, folder: Path, pictures: list, part: str) -> None:
            tried.append(part)
            (folder / "model.xml").write_text(part)

        monkeypatch.setattr(openvino_backend, "write_int8", write)
        monkeypatch.setattr(openvino_backend, "load_openvino_detector", lambda *_: None)
        monkeypatch.setattr(quantisation_check, "_map50", lambda *_: next(given))
        return quantisation_check.quantise_model(model, tiny_records, known), tried

    assert quantise((0.7, 10.0), (0.79, 20.0), (0.79, 30.0)) == (None, [first, second, third])
    assert not (model.folder / "int8").exists()
    kept, tried = quantise((0.7, 10.0), (0.798, 20.0))
    assert kept is not None and (kept.part, tried) == (second, [first, second])
    assert (model.folder / "int8" / "model.xml").read_text() == second
    said = json.loads((model.folder / "int8" / "int8.json").read_text())
    assert (said["map50"], said["map50_fp32"], said["latency_ms"], said["part"]) == (0.798, 0.8, 20.0, second)
    # Not faster than what auto would take.
    assert quantise((0.8, 100.0)) == (None, [first])
    bf16 = LowerPrecision("bf16", 3, 0.8, 0.8, 15.0, 100.0)
    assert quantise((0.8, 20.0), known=bf16) == (None, [first])
    assert not [path for path in model.folder.iterdir() if path.name not in ("model.json", "openvino", "int8")]


def test_what_is_quantised_shrinks_from_part_to_part_and_never_decodes(
    model: exported_model.ExportedModel, tmp_path: Path
) -> None:
    import openvino as ov

    network = ov.Core().read_model(model.openvino / "model.xml")
    layers = {
        node.get_friendly_name()
        for node in network.get_ordered_ops()
        if node.get_type_name() in openvino_backend._LAYERS
    }
    counts = []
    for part in INT8_PARTS:
        kept = set(openvino_backend.operations_kept_in_float(network, part))
        counts.append(len(layers - kept))
        assert all(
            name in kept for name in (n.get_friendly_name() for n in network.get_ordered_ops()) if "NonMax" in name
        )
        decoding = {n.get_friendly_name() for n in network.get_ordered_ops() if n.get_type_name() == "Exp"}
        assert decoding and decoding <= kept
    # Three levels, each with a last layer for the scores and one for the boxes.
    assert counts[0] == len(layers) and counts[0] - counts[1] >= 6 and counts[1] > counts[2] > 10


def test_a_real_int8_model_runs(
    model: exported_model.ExportedModel, tiny_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf", reason="needs the dependency group int8")
    monkeypatch.setattr(quantisation_check, "CALIBRATION", 3)
    pictures = quantisation_check.calibration_pictures(tiny_records, model.label_map)
    assert len(pictures) == 3
    folder = model.folder / "int8"
    folder.mkdir()
    openvino_backend.write_int8(model, folder, pictures, INT8_PARTS[0])
    assert "FakeQuantize" in (folder / "model.xml").read_text()
    found = open_detector(model.folder, precision="int8")
    assert found.name == "openvino int8"
    (ours,), (reference,) = (
        d.detect_all(pictures[:1]) for d in (found, open_detector(model.folder, "openvino", "fp32"))
    )
    # Random weights: only roughly the same.
    assert len(ours) == len(reference) and np.abs(ours.confidence - reference.confidence).max() < 0.3


def test_bf16_is_measured_on_val_where_the_processor_has_it(
    model: exported_model.ExportedModel, tiny_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "writable"
    folder.mkdir()
    (folder / "model.json").write_bytes((model.folder / "model.json").read_bytes())
    (folder / "openvino").mkdir()
    for file in ("model.xml", "model.bin"):
        (folder / "openvino" / file).symlink_to(model.openvino / file)
    lines: list[str] = []
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: False)
    quantisation_check.check_after_export(
        exported_model.read_exported_model(folder), ["openvino"], tiny_records, lines.append
    )
    assert lines == []
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    quantisation_check.check_after_export(
        exported_model.read_exported_model(folder), ["openvino"], tmp_path, lines.append
    )
    assert len(lines) == 1 and "not measured" in lines[0]
    quantisation_check.check_after_export(
        exported_model.read_exported_model(folder), ["openvino"], tiny_records, lines.append
    )
    said = json.loads((folder / "openvino" / "bf16.json").read_text())
    assert said["images"] > 0 and f"on {said['images']} pictures of val" in lines[1]
