"""YuNet's network in TensorFlow, and its training on the drawn sample."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from facemask.cli import faces_command
from facemask.core import openvino_model
from facemask.core.errors import UserError
from facemask.detect.detector_choice import DetectorChoice, choose_detector
from facemask.detect.faces import yunet
from facemask.detect.faces.yunet import load_yunet
from facemask.ready import shipped_detector

pytest.importorskip("onnx", reason="onnx is not installed (group onnx)")

from facemask.face_training import face_export, face_training, yunet_network

YUNET = shipped_detector.FOLDER / shipped_detector.YUNET
SETTINGS = face_training.Settings(
    steps=4, batch=2, side=96, smallest=100, largest=200, learning_rate=0.001, freeze="early", mirror=0.5, seed=5
)
SMALL = {
    "freeze": faces_command.Freeze.NONE,
    "steps": 3,
    "batch": 2,
    "side": 96,
    "smallest": 100,
    "largest": 200,
    "faces_size": 320,
}


def test_tensorflow_computes_what_openvino_computes() -> None:
    import openvino as ov

    proto = yunet_network.read_onnx(YUNET)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 96, 3)).astype(np.float32)
    outputs = yunet_network.yunet_logits(proto, yunet_network.read_weights(proto), pixels)
    network = ov.Core().read_model(YUNET)
    network.reshape([1, 3, -1, -1])
    compiled = openvino_model.compile_network(network, in_bf16=False)
    for number, picture in enumerate(pixels):
        request = compiled.create_infer_request()
        request.infer([picture.transpose(2, 0, 1)[np.newaxis]])
        for name, output in outputs.items():
            found = output.numpy()[number]
            found = found if name.startswith("bbox") else 1 / (1 + np.exp(-found))
            np.testing.assert_allclose(found, request.get_tensor(name).data[0], atol=1e-4)


def test_only_trained_weights_change_in_the_file(tmp_path: Path) -> None:
    before = yunet_network.read_weights(yunet_network.read_onnx(YUNET))
    trained = yunet_network.trained_weights(yunet_network.read_onnx(YUNET), freeze=True)
    assert not any("kps" in name or "model0" in name for name in trained)
    unfrozen = yunet_network.trained_weights(yunet_network.read_onnx(YUNET), freeze=False)
    assert len(unfrozen) == len(trained) + 6 and set(trained) < set(unfrozen)
    changed = {name: before[name] + 1 for name in trained}
    yunet_network.write_weights(tmp_path / "other.onnx", yunet_network.read_onnx(YUNET), changed)
    after = yunet_network.read_weights(yunet_network.read_onnx(tmp_path / "other.onnx"))
    assert {name for name in after if (after[name] != before[name]).any()} == set(trained)
    load_yunet([tmp_path / "other.onnx"], 320)


def test_weights_in_half_precision_are_read_as_others(tmp_path: Path) -> None:
    import onnx

    from facemask.core.onnx_weights import halve_weights

    proto = onnx.load(str(YUNET))
    halve_weights(proto)
    onnx.save(proto, str(tmp_path / "half.onnx"))
    assert (tmp_path / "half.onnx").stat().st_size < 0.8 * YUNET.stat().st_size
    load_yunet([tmp_path / "half.onnx"], 320)
    before = yunet_network.read_weights(yunet_network.read_onnx(YUNET))
    after = yunet_network.read_weights(yunet_network.read_onnx(tmp_path / "half.onnx"))
    assert after.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=2e-3, atol=1e-6)


@pytest.mark.timeout(240)
def test_a_resumed_run_ends_as_an_uninterrupted_one(tiny_records: Path, tmp_path: Path) -> None:
    pictures = face_training.read_face_pictures(tiny_records)

    def train(folder: Path, stop_after: int | None) -> dict[str, np.ndarray]:
        face_training.prepare_face_run(folder, SETTINGS, pictures, "start", {}, fresh=False)
        if stop_after is not None:
            run = face_training._Run(folder, SETTINGS, pictures, YUNET, deterministic=True)
            for step in range(stop_after):
                run.advance(run.views(step))
            run.save()
        return face_training.train_faces(folder, SETTINGS, pictures, YUNET).weights

    whole, resumed = train(tmp_path / "whole", None), train(tmp_path / "resumed", 2)
    start = yunet_network.read_weights(yunet_network.read_onnx(YUNET))
    assert any((whole[name] != start[name]).any() for name in whole)
    for name in whole:
        np.testing.assert_allclose(resumed[name], whole[name], atol=1e-6)

    other = face_training.Settings(**{**vars(SETTINGS), "batch": 3})
    with pytest.raises(UserError, match="BATCH: 2 -> 3"):
        face_training.prepare_face_run(tmp_path / "whole", other, pictures, "start", {}, fresh=False)
    with pytest.raises(UserError, match="start: changed"):
        face_training.prepare_face_run(tmp_path / "whole", SETTINGS, pictures, "another", {}, fresh=False)
    face_training.prepare_face_run(tmp_path / "whole", other, pictures, "start", {}, fresh=True)
    assert not (tmp_path / "whole" / "checkpoint").exists()


@pytest.mark.timeout(240)
def test_the_step_trains_exports_and_measures(tiny_records: Path, tmp_path: Path, capsys) -> None:
    own = {"annotations": tiny_records, "models": tmp_path / "models", "exported": tmp_path / "exported"}
    faces_command.main(**own, **SMALL)
    network = tmp_path / "exported" / "faces" / yunet.TRAINED
    said = capsys.readouterr().out
    assert f"FACES_MODEL={network}" in said and "test, after: AP@0.5" in said
    written = json.loads((network.parent / face_export.NAME).read_text())
    assert written["metrics"]["test"].keys() == {"before", "after"}
    assert written["made"]["started_from"] is None
    assert written["made"]["settings"]["steps"] == 3 and written["size"] == 320
    assert written["made"]["settings"]["freeze"] == "none"
    before, after = (yunet_network.read_weights(yunet_network.read_onnx(file)) for file in (YUNET, network))
    assert (before["420"] != after["420"]).any()  # the first convolution, which FREEZE=early would leave

    # Boxes of a network that was trained are not aligned as those of the published one are.
    shipped = DetectorChoice(tmp_path / "none", "ready")
    copy = tmp_path / "exported" / "classifier"
    shutil.copytree(shipped_detector.FOLDER / shipped_detector.CLASSIFIER, copy)
    described = json.loads((copy / "classifier.json").read_text())
    described["alignments"] = {"yunet": {"shift_x": 0.0, "shift_y": 0.1, "scale_x": 1.0, "scale_y": 0.9, "faces": 50}}
    (copy / "classifier.json").write_text(json.dumps(described))
    choice = DetectorChoice(tmp_path / "exported", detector="two_stage", run_was_named=False)
    assert choose_detector(choice).model["faces"]["alignment"]["faces"] == 50
    given = choose_detector(DetectorChoice(tmp_path / "exported", detector="two_stage", faces_model=network))
    assert given.model["faces"]["alignment"] is None
    copied = tmp_path / "copy.onnx"
    shutil.copy(YUNET, copied)
    published = choose_detector(DetectorChoice(tmp_path / "exported", detector="two_stage", faces_model=copied))
    assert published.model["faces"]["alignment"]["faces"] == 50
    assert shipped.run == "ready"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"side": 100}, "SIDE=100"),
        ({"smallest": 300}, "SMALLEST=300"),
        ({"weights": "text.onnx"}, r"text\.onnx"),
        ({"weights": "none.onnx"}, r"none\.onnx"),
        ({"annotations": "nothing"}, "nothing"),
        ({"run": "taken"}, "taken"),
        ({"run": "trained"}, "trained"),
    ],
)
def test_what_a_user_can_get_wrong(changes, named: str, tiny_records: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "exported" / "taken").mkdir(parents=True)
    (tmp_path / "exported" / "taken" / "model.json").write_text("{}")
    (tmp_path / "models" / "trained").mkdir(parents=True)
    (tmp_path / "models" / "trained" / "run.json").write_text("{}")
    own = {"annotations": tiny_records, "models": tmp_path / "models", "exported": tmp_path / "exported", **SMALL}
    paths = {name: tmp_path / value for name, value in changes.items() if name in ("weights", "annotations")}
    with pytest.raises(UserError, match=named):
        faces_command.main(**{**own, **changes, **paths})
    assert not (tmp_path / "exported" / "faces").exists()
    assert (tmp_path / "models" / "trained" / "run.json").exists()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_it_learns_faces_that_it_did_not_find(tmp_path: Path) -> None:
    """Drawn faces upside down: YuNet finds few of them before, and most of them after some training."""
    from PIL import Image

    from facemask.cli import records_command
    from facemask.data import drawn_sample

    drawn_sample.write_sample(tmp_path / "images", images=80, seed=1)
    for file in [*(tmp_path / "images").rglob("*.jpg"), *(tmp_path / "images").rglob("*.png")]:
        turned = Image.open(file).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        height = turned.height
        turned.save(file)
        turn_labels(file.with_suffix(".xml"), height)
    records_command.main(images=tmp_path / "images", annotations=tmp_path / "annotations")
    faces_command.main(
        annotations=tmp_path / "annotations",
        models=tmp_path / "models",
        exported=tmp_path / "exported",
        steps=150,
        batch=4,
        side=256,
        smallest=200,
        largest=500,
        faces_size=320,
    )
    written = json.loads((tmp_path / "exported" / "faces" / face_export.NAME).read_text())
    before, after = (written["metrics"]["test"][when]["ap50"] for when in ("before", "after"))
    assert after > before + 0.2 and after > 0.7


def turn_labels(file: Path, height: int) -> None:
    """Mirror the boxes of an XML file at the picture's horizontal middle."""
    from lxml import etree

    tree = etree.parse(str(file))
    for box in tree.iter("bndbox"):
        top, bottom = box.find("ymin"), box.find("ymax")
        top.text, bottom.text = str(height - int(bottom.text)), str(height - int(top.text))
    tree.write(str(file))
