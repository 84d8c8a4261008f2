import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.detect import converting
from scripts.detect.detector import open_detector
from scripts.detect.runtimes import tensorflow
from scripts.support import hardware
from scripts.support.errors import UserError
from scripts.tfod import exported


def test_formats_are_chosen_by_name() -> None:
    assert converting.choose("saved_model") == []
    with pytest.raises(UserError, match="tensorrt must be one of saved_model, openvino"):
        converting.choose("saved_model,tensorrt")


def test_a_format_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting.importlib.util, "find_spec", lambda name: None)
    assert converting.choose("") == []
    with pytest.raises(UserError, match="the package openvino is not installed"):
        converting.choose("openvino")


def test_there_are_always_pictures_to_compare(tmp_path: Path) -> None:
    pictures = converting.pictures_to_compare(tmp_path, count=3)
    assert len(pictures) == 3 and all(p.ndim == 3 and p.dtype == np.uint8 and p.std() > 10 for p in pictures)


@pytest.fixture(scope="module")
def in_openvino(tiny_exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (dependency group export)")
    folder = tmp_path_factory.mktemp("openvino") / "tiny"
    shutil.copytree(tiny_exported, folder, ignore=shutil.ignore_patterns("openvino"))
    result = converting.convert(exported.read(folder), "openvino", converting.pictures_to_compare(folder, count=3))
    assert result.good and result.images == 3
    return folder


def test_openvino_finds_what_the_saved_model_finds(in_openvino: Path) -> None:
    assert {path.name for path in (in_openvino / "openvino").iterdir()} == {"model.xml", "model.bin", "agreement.json"}
    pictures = [np.random.default_rng(i).integers(0, 256, (90 + i, 160, 3), np.uint8) for i in range(3)]
    ours = open_detector(in_openvino, "openvino", "fp32")
    assert ours.name == "openvino fp32"
    for one, two in zip(ours.detect(pictures), open_detector(in_openvino, "tensorflow").detect(pictures), strict=True):
        np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-4)
        assert len(one) > 0


def test_auto_takes_openvino_in_the_processors_precision(in_openvino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for has_bf16, name in ((True, "openvino bf16"), (False, "openvino fp32")):
        monkeypatch.setattr(hardware, "cpu_has_bf16", lambda has_bf16=has_bf16: has_bf16)
        assert open_detector(in_openvino).name == name


def test_openvino_needs_no_tensorflow(in_openvino: Path) -> None:
    code = (
        "import sys, numpy; from pathlib import Path; from scripts.detect.detector import open_detector;"
        "d = open_detector(Path(sys.argv[1])); print(len(d.detect([numpy.zeros((50, 60, 3), numpy.uint8)])));"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(in_openvino)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_a_format_that_finds_something_else_is_not_kept(in_openvino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = exported.read(in_openvino)
    before = (in_openvino / "openvino" / "agreement.json").read_bytes()
    shifted = dataclasses.replace(converting.FORMATS["openvino"], load=lambda *_: Shifted(model))
    monkeypatch.setitem(converting.FORMATS, "openvino", shifted)
    with pytest.raises(UserError, match="finds something else than the SavedModel"):
        converting.convert(model, "openvino", converting.pictures_to_compare(in_openvino, count=1))
    assert (in_openvino / "openvino" / "agreement.json").read_bytes() == before
    assert len(list(in_openvino.glob(".openvino*"))) == 0


class Shifted:
    """Scores everything a little lower."""

    def __init__(self, model: exported.ExportedModel) -> None:
        self.inner = tensorflow.load(model, "fp32")

    def detect(self, images: list[np.ndarray]) -> list:
        found = self.inner.detect(images)
        for detections in found:
            detections.confidence = detections.confidence - 0.05
        return found


@pytest.mark.parametrize("content", [None, b"<net/>"])
def test_openvino_files_that_are_missing_or_broken_are_named(
    in_openvino: Path, tmp_path: Path, content: bytes | None
) -> None:
    shutil.copy(in_openvino / "model.json", tmp_path)
    if content is not None:
        (tmp_path / "openvino").mkdir()
        (tmp_path / "openvino" / "model.xml").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.xml: (no such file|cannot be loaded)"):
        open_detector(tmp_path, "openvino")
