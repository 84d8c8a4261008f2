import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.detect import converting
from scripts.detect.detector import open_detector
from scripts.detect.formats import openvino
from scripts.support import hardware
from scripts.support.errors import UserError
from scripts.support.files import write_json
from scripts.tfod import exported

FORMATS = ["openvino", "onnx", "tflite"]
FILES = {"openvino": "model.xml", "onnx": "model.onnx", "tflite": "model.tflite"}


def test_formats_are_chosen_by_name() -> None:
    assert converting.choose("saved_model") == []
    assert converting.choose("tflite, onnx,saved_model,onnx") == ["onnx", "tflite"]
    assert converting.choose("int8") == ["openvino", "int8"]
    with pytest.raises(UserError, match="tensorrt must be one of saved_model, openvino, onnx, tflite, int8"):
        converting.choose("saved_model,tensorrt")


def test_a_format_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting.importlib.util, "find_spec", lambda name: None if name == "openvino" else name)
    assert converting.choose("") == []
    for wanted in ("openvino", "int8"):
        with pytest.raises(UserError, match=f"{wanted} needs openvino, not installed"):
            converting.choose(wanted)


def test_there_are_always_pictures_to_compare(tmp_path: Path) -> None:
    pictures = converting.pictures_to_compare(tmp_path, count=3)
    assert len(pictures) == 3 and all(p.ndim == 3 and p.dtype == np.uint8 and p.std() > 10 for p in pictures)


@pytest.fixture(scope="module")
def in_formats(tiny_exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for packages in converting.FORMATS.values():
        for package in packages:
            pytest.importorskip(
                package, reason=f"{package} is not installed (dependency groups openvino, onnx, tflite)"
            )
    folder = tmp_path_factory.mktemp("formats") / "tiny"
    shutil.copytree(tiny_exported, folder, ignore=shutil.ignore_patterns("openvino"))
    pictures = converting.pictures_to_compare(folder, count=3)
    expected = converting.found_by_saved_model(exported.read(folder), pictures)
    for name in FORMATS:
        result = converting.convert(exported.read(folder), name, pictures, expected)
        assert result.good and result.images == 3
        assert {path.name for path in (folder / name).iterdir()} == {
            "agreement.json",
            FILES[name],
            *(["model.bin"] if name == "openvino" else []),
        }
    return folder


def test_every_format_finds_what_the_saved_model_finds(in_formats: Path) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (90 + i, 160, 3), np.uint8) for i in range(3)]
    expected = open_detector(in_formats, "tensorflow").detect(pictures)
    for name in FORMATS:
        ours = open_detector(in_formats, name, "fp32")
        assert ours.name == f"{name} fp32"
        for one, two in zip(ours.detect(pictures), expected, strict=True):
            assert len(one) == len(two) > 0
            np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-4)
            np.testing.assert_allclose(np.sort(one.xyxy, axis=0), np.sort(two.xyxy, axis=0), atol=0.05)


def test_several_pictures_at_once_are_found_as_one_by_one(in_formats: Path) -> None:
    detector = open_detector(in_formats, "openvino", "fp32")
    pictures = [np.random.default_rng(i).integers(0, 256, (90, 120 + 7 * i, 3), np.uint8) for i in range(5)]
    assert detector.detect([]) == []
    for picture, together in zip(pictures, detector.detect(pictures), strict=True):
        (alone,) = detector.detect([picture])
        np.testing.assert_array_equal(alone.xyxy, together.xyxy)
        np.testing.assert_array_equal(alone.confidence, together.confidence)


def test_auto_takes_openvino_in_the_processors_precision(
    in_formats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for has_bf16, name in ((True, "openvino bf16"), (False, "openvino fp32")):
        monkeypatch.setattr(hardware, "cpu_has_bf16", lambda has_bf16=has_bf16: has_bf16)
        assert open_detector(in_formats).name == name
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    folder = tmp_path / "tiny"
    shutil.copytree(in_formats, folder)
    write_json(folder / "openvino" / "bf16.json", {"allowed": False})
    assert open_detector(folder).name == "openvino fp32"
    assert open_detector(folder, precision="bf16").name == "openvino bf16"
    shutil.rmtree(folder / "openvino")
    assert open_detector(folder).name == "onnx fp32"
    with pytest.raises(UserError, match=r"PRECISION=int8: with onnx it must be one of auto, fp32\."):
        open_detector(folder, "onnx", "int8")


@pytest.mark.parametrize("runtime", FORMATS)
def test_a_format_runs_without_tensorflow(in_formats: Path, tmp_path: Path, runtime: str) -> None:
    code = (
        "import sys, numpy; from pathlib import Path; from scripts.detect.detector import open_detector;"
        "d = open_detector(Path(sys.argv[1]), sys.argv[2]);"
        "print(len(d.detect([numpy.zeros((50, 60, 3), numpy.uint8)])) > 0);"
        "print(sorted({'tensorflow', 'openvino', 'onnxruntime', 'ai_edge_litert'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(in_formats), runtime],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    package = {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}.get(runtime, runtime)
    assert done.stdout.splitlines() == ["True", f"['{package}']"]
    assert not (tmp_path / "intel").exists()


def test_a_format_that_finds_something_else_is_not_kept(in_formats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = exported.read(in_formats)
    again = shutil.copytree(in_formats / "openvino", in_formats.parent / "again")
    monkeypatch.setattr(openvino, "write", lambda _, folder: shutil.copytree(again, folder, dirs_exist_ok=True))
    before = (in_formats / "openvino" / "agreement.json").read_bytes()
    pictures = converting.pictures_to_compare(in_formats, count=1)
    expected = open_detector(in_formats, "openvino", "fp32").detect(pictures)
    for detections in expected:
        detections.confidence = detections.confidence + 0.05
    with pytest.raises(UserError, match="finds something else than the SavedModel"):
        converting.convert(model, "openvino", pictures, expected)
    assert (in_formats / "openvino" / "agreement.json").read_bytes() == before
    assert len(list(in_formats.glob(".openvino*"))) == 0


@pytest.mark.parametrize("content", [None, b"<net/>"])
@pytest.mark.parametrize("name", FORMATS)
def test_files_that_are_missing_or_broken_are_named(
    tiny_exported: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    pytest.importorskip(converting.FORMATS[name][-1], reason=f"the runtime of {name} is not installed")
    shutil.copy(tiny_exported / "model.json", tmp_path)
    if content is not None:
        (tmp_path / name).mkdir()
        (tmp_path / name / FILES[name]).write_bytes(content)
    what = "no such file" if content is None else "cannot be loaded"
    with pytest.raises(UserError, match=rf"{FILES[name]}: {what}"):
        open_detector(tmp_path, name)


def test_nothing_is_told_about_the_use_of_openvino(tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="NNCF is not installed (dependency group int8)")
    code = (
        "from scripts.support import telemetry; telemetry.refuse();"
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
