import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facemask.core import exported_model, hardware
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.files import write_json
from facemask.core.label_map import LabelMap
from facemask.detect.opened_detector import open_detector
from facemask.detect.runtimes import RUNTIMES, resolve_runtime
from facemask.export import conversion

FORMATS = ["openvino", "onnx", "tflite"]
FILES = {"openvino": "model.xml", "onnx": "model.onnx", "tflite": "model.tflite"}


def test_formats_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion.importlib.util, "find_spec", lambda name: name)
    assert conversion.choose_formats("saved_model") == []
    assert conversion.choose_formats("tflite, onnx,saved_model,onnx") == ["onnx", "tflite"]
    assert conversion.choose_formats("int8") == ["openvino", "int8"]
    with pytest.raises(UserError, match="tensorrt"):
        conversion.choose_formats("saved_model,tensorrt")


def test_a_format_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion.importlib.util, "find_spec", lambda name: None if name == "openvino" else name)
    assert conversion.choose_formats("") == []
    for wanted in ("openvino", "int8"):
        with pytest.raises(UserError, match=f"{wanted} needs openvino, not installed"):
            conversion.choose_formats(wanted)


def test_there_are_always_pictures_to_compare(tmp_path: Path) -> None:
    pictures = conversion.pictures_to_compare(tmp_path, count=3)
    assert len(pictures) == 3 and all(p.ndim == 3 and p.dtype == np.uint8 and p.std() > 10 for p in pictures)


@pytest.fixture(scope="module", params=FORMATS)
def exported_as(
    request: pytest.FixtureRequest, tiny_exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The tiny model's folder with one of the formats in it, and the format's name."""
    name = request.param
    for package in conversion.FORMATS[name]:
        pytest.importorskip(package, reason=f"needs the dependency group {name}")
    if (tiny_exported / name).is_dir():
        return tiny_exported, name
    folder = tmp_path_factory.mktemp(name) / "tiny"
    shutil.copytree(tiny_exported, folder, ignore=shutil.ignore_patterns("openvino"))
    pictures = conversion.pictures_to_compare(folder, count=2)
    model = exported_model.read_exported_model(folder)
    result = conversion.convert_model(model, name, pictures, conversion.found_by_saved_model(model, pictures))
    assert result.good and result.images == 2
    return folder, name


def test_a_format_finds_what_the_saved_model_finds(exported_as: tuple[Path, str]) -> None:
    folder, name = exported_as
    files = {"parity.json", FILES[name], *(["model.bin"] if name == "openvino" else [])}
    assert {path.name for path in (folder / name).iterdir()} - {"bf16.json"} == files
    pictures = [np.random.default_rng(i).integers(0, 256, (90 + i, 160, 3), np.uint8) for i in range(2)]
    expected = open_detector(folder, "tensorflow").detect_all(pictures)
    ours = open_detector(folder, name, "fp32")
    assert ours.name == f"{name} fp32"
    for one, two in zip(ours.detect_all(pictures), expected, strict=True):
        assert len(one) == len(two) > 0
        np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-4)
        np.testing.assert_allclose(np.sort(one.xyxy, axis=0), np.sort(two.xyxy, axis=0), atol=0.05)


def test_a_format_runs_without_tensorflow(exported_as: tuple[Path, str], tmp_path: Path) -> None:
    folder, name = exported_as
    code = (
        "import sys, numpy; from facemask import load;"
        "print(len(load(sys.argv[1], sys.argv[2]).detect([numpy.zeros((50, 60, 3), numpy.uint8)])[0]) > 0);"
        "print(sorted({'tensorflow', 'openvino', 'onnxruntime', 'ai_edge_litert'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(folder), name]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["True", f"['{RUNTIMES[name].package}']"]
    assert done.stderr == "" and not (tmp_path / "intel").exists()


def test_several_pictures_at_once_are_found_as_one_by_one(openvino_exported: Path) -> None:
    detector = open_detector(openvino_exported, "openvino", "fp32")
    pictures = [np.random.default_rng(i).integers(0, 256, (90, 120 + 7 * i, 3), np.uint8) for i in range(5)]
    assert detector.detect_all([]) == []
    for picture, together in zip(pictures, detector.detect_all(pictures), strict=True):
        (alone,) = detector.detect_all([picture])
        np.testing.assert_array_equal(alone.xyxy, together.xyxy)
        np.testing.assert_array_equal(alone.confidence, together.confidence)


@pytest.fixture
def openvino_exported(tiny_exported: Path) -> Path:
    """The tiny model's folder, with its OpenVINO form. Read-only."""
    if not (tiny_exported / "openvino").is_dir():
        pytest.skip("needs OpenVINO, which the base brings")
    return tiny_exported


def test_auto_takes_the_fastest_runtime_that_is_there_in_the_processors_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ExportedModel(tmp_path, "any", LabelMap(("face",)), 64, 64, "any", None, "0")
    for runtime in RUNTIMES.values():
        for file in runtime.files.values():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    for has_bf16, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(hardware, "cpu_has_bf16", lambda has_bf16=has_bf16: has_bf16)
        assert resolve_runtime(model) == ("openvino", precision)
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    write_json(tmp_path / "openvino" / "bf16.json", {"allowed": False})
    assert resolve_runtime(model) == ("openvino", "fp32")
    assert resolve_runtime(model, precision="bf16") == ("openvino", "bf16")
    shutil.rmtree(tmp_path / "openvino")
    assert resolve_runtime(model) == ("onnx", "fp32")
    assert resolve_runtime(model, precision="int8") == ("openvino", "int8")
    for runtime, precision in (("onnx", "int8"), ("warp", "auto")):
        with pytest.raises(UserError, match=f"{runtime}"):
            resolve_runtime(model, runtime, precision)


def test_a_format_that_finds_something_else_is_not_kept(
    openvino_exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(openvino_exported, folder, ignore=shutil.ignore_patterns("checkpoint", "saved_model"))
    copy = dataclasses.replace(
        RUNTIMES["openvino"],
        write=lambda _, into: shutil.copytree(openvino_exported / "openvino", into, dirs_exist_ok=True),
    )
    monkeypatch.setitem(RUNTIMES, "openvino", copy)
    before = (folder / "openvino" / "parity.json").read_bytes()
    pictures = conversion.pictures_to_compare(folder, count=1)
    expected = open_detector(folder, "openvino", "fp32").detect_all(pictures)
    for detections in expected:
        detections.confidence = detections.confidence + 0.05
    with pytest.raises(UserError, match="openvino"):
        conversion.convert_model(exported_model.read_exported_model(folder), "openvino", pictures, expected)
    assert (folder / "openvino" / "parity.json").read_bytes() == before
    assert len(list(folder.glob(".openvino*"))) == 0


@pytest.mark.parametrize("content", [None, b"<net/>"])
@pytest.mark.parametrize("name", FORMATS)
def test_files_that_are_missing_or_broken_are_named(
    tiny_exported: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    pytest.importorskip(conversion.FORMATS[name][-1], reason=f"needs the dependency group {name}")
    shutil.copy(tiny_exported / "model.json", tmp_path)
    if content is not None:
        (tmp_path / name).mkdir()
        (tmp_path / name / FILES[name]).write_bytes(content)
    with pytest.raises(UserError, match=FILES[name]):
        open_detector(tmp_path, name)


def test_nothing_is_told_about_the_use_of_openvino(tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs the dependency group int8")
    code = (
        "from facemask.core import telemetry; telemetry.refuse_telemetry();"
        "import sys, nncf, openvino.tools.ovc.utils;"
        "print([name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.stdout.split() == ["[]"] and not (tmp_path / "intel").exists()
