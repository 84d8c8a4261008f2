import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facemask.classifier import (
    classifier_curves,
    classifier_export,
    classifier_network,
    classifier_training,
    face_augmentation,
    labelled_faces,
)
from facemask.classifier.exported_classifier import read_exported_classifier
from facemask.classifier.face_classifier import open_classifier
from facemask.classifier.face_crops import cut_faces
from facemask.classifier.labelled_faces import Faces, FaceSet
from facemask.core import signals
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.tfod import compact_checkpoint

SETTINGS = classifier_training.Settings(size=32, epochs=14, batch=16, learning_rate=0.003, dropout=0.2, seed=3)


def drawn(count: int, seed: int) -> Faces:
    """Faces a child could tell apart: skin with dark eyes, and every second one blue from the nose down."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    crops = np.empty((count, 32, 32, 3), np.uint8)
    for crop, label in zip(crops, labels, strict=True):
        crop[:] = np.clip(np.array([200, 150, 120]) + rng.integers(-30, 30, 3), 0, 255)
        y = 10 + rng.integers(-2, 3)
        crop[y : y + 3, 7:12] = crop[y : y + 3, 20:25] = 30
        if label == 0:
            crop[y + 7 :] = np.clip(np.array([90, 140, 220]) + rng.integers(-30, 30, 3), 0, 255)
        crop[:] = np.clip(crop + rng.normal(0, 8, crop.shape), 0, 255)
    return Faces(crops, labels, tuple(f"{seed}-{i}.png" for i in range(count)))


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    return FaceSet(
        LabelMap(("with_mask", "without_mask")), {"train": drawn(96, 0), "val": drawn(24, 1), "test": drawn(24, 2)}, {}
    )


@contextlib.contextmanager
def small_backbone() -> Iterator[None]:
    """Have MobileNetV2's layers in a network that is traced in a second; the test of the step takes the real one."""
    import tf_keras
    from tf_keras import layers

    def build(input_shape: tuple[int, ...], pooling: str, **_: Any) -> Any:
        body = [
            layers.Conv2D(16, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6),
            layers.DepthwiseConv2D(3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6),
            layers.Conv2D(32, 1, use_bias=False),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
        ]
        return tf_keras.Sequential([layers.Input(input_shape), *body])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf_keras.applications, "MobileNetV2", build)
        yield


def run(
    folder: Path, settings: classifier_training.Settings, faces: FaceSet, weights: Path | None = None
) -> classifier_training.Outcome:
    classifier_training.prepare_classifier_run(folder, settings, faces, {}, fresh=False)
    with small_backbone():
        # The switch to determinism would hold for the other tests of this process too.
        return classifier_training.train_classifier(folder, settings, faces, weights, deterministic=False)


def export(
    run: Path, settings: classifier_training.Settings, margin: float, faces: FaceSet, target: Path, made: dict[str, Any]
) -> classifier_export.Exported:
    with small_backbone():
        return classifier_export.export_classifier(run, settings, margin, faces, target, made, openvino=True)


@pytest.fixture(scope="module")
def trained(faces: FaceSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, classifier_training.Outcome]:
    folder = tmp_path_factory.mktemp("models") / "easy"
    return folder, run(folder, SETTINGS, faces)


@pytest.fixture(scope="module")
def exported(
    faces: FaceSet, trained: tuple[Path, classifier_training.Outcome], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("exported") / "easy"
    result = export(trained[0], SETTINGS, 0.25, faces, target, {"step": "test"})
    assert result.difference is not None and result.difference < classifier_export.MAX_DIFFERENCE
    assert result.classifier.folder == target
    return target


def test_it_learns(trained: tuple[Path, classifier_training.Outcome]) -> None:
    folder, outcome = trained
    assert [one.epoch for one in outcome.history] == list(range(1, 15)) and outcome.signal is None
    assert outcome.best is not None and outcome.best.val_accuracy > 0.85  # one in two is chance
    assert classifier_training.read_history(folder) == outcome.history
    assert outcome.history[-1].loss < outcome.history[0].loss


def test_the_averaged_weights_are_kept_as_the_best(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    raw: list[np.ndarray] = []

    def advance(self: classifier_training._Run, epoch: int, at: int) -> tuple[float, float]:
        if not raw:
            raw.append(self.network.last.kernel.numpy())
        told = before(self, epoch, at)
        raw.append(self.network.last.kernel.numpy())
        return told

    before = classifier_training._Run.advance
    monkeypatch.setattr(classifier_training._Run, "advance", advance)
    run(tmp_path / "run", dataclasses.replace(SETTINGS, epochs=1, average=0.3), faces)
    average = raw[0]
    for step, weights in enumerate(raw[1:], 1):
        decay = min(0.3, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights
    assert len(raw) > 3 and not np.allclose(average, raw[-1], atol=1e-5)
    for folder in (tmp_path / "run" / "best", tmp_path / "run"):
        kept = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder)))
        prefix = "" if folder.name == "best" else "network/"
        np.testing.assert_allclose(
            kept.get_tensor(f"{prefix}last/kernel/.ATTRIBUTES/VARIABLE_VALUE"), average, atol=1e-6
        )


def test_boxes_without_a_labelled_face_lower_the_probability_of_every_class(faces: FaceSet, tmp_path: Path) -> None:
    """Grey squares are such boxes here."""
    random = np.random.default_rng(9)
    squares = np.repeat(random.integers(90, 110, (40, 32, 32, 1)), 3, axis=3).astype(np.uint8)
    more = drawn(40, 5)
    found = Faces(
        np.concatenate([squares, more.crops]),
        np.concatenate([np.full(40, 2), more.labels]),
        (*(f"square{i}" for i in range(40)), *more.names),
    )
    with_found = dataclasses.replace(faces, found=found)
    settings = dataclasses.replace(SETTINGS, found=0.4)
    outcome = run(tmp_path / "run", settings, with_found)
    assert outcome.best is not None and outcome.best.val_accuracy > 0.85
    target = tmp_path / "exported"
    export(tmp_path / "run", settings, 0.2, with_found, target, {})
    opened = open_classifier(target)
    of_faces, of_squares = opened.classify(list(drawn(24, 7).crops)), opened.classify(list(squares[:24] + 2))
    assert of_faces.shape == of_squares.shape == (24, 2)
    assert of_faces.sum(axis=1).mean() > 0.8 > 0.4 > of_squares.sum(axis=1).mean()
    assert read_exported_classifier(target).outputs == 3


def test_an_epoch_draws_other_found_boxes_than_the_one_before(faces: FaceSet) -> None:
    found = Faces(np.zeros((50, 32, 32, 3), np.uint8), np.repeat([0, 2], (10, 40)), ("",) * 50)
    learned = classifier_training._LearnedFaces(dataclasses.replace(faces, found=found), 0.25, seed=1)
    orders = [learned.order(epoch) for epoch in (0, 0, 1)]
    assert learned.an_epoch == 96 + 24 + 10  # a quarter of 96 without a face, and all ten faces
    for order in orders:
        counts = np.bincount(learned.labels[order], minlength=3)
        assert len(set(order)) == len(order) == learned.an_epoch and counts.tolist() == [48 + 10, 48, 24]
    assert np.array_equal(orders[0], orders[1]) and set(orders[0]) != set(orders[2])


def test_without_val_the_last_epoch_is_kept_and_exported(faces: FaceSet, tmp_path: Path) -> None:
    none = Faces(np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64), ())
    all_in_train = dataclasses.replace(faces, splits={"train": drawn(32, 0), "val": none, "test": none})
    settings = dataclasses.replace(SETTINGS, epochs=2)
    outcome = run(tmp_path / "run", settings, all_in_train)
    assert outcome.best is not None and outcome.best.epoch == 2
    assert outcome.best.val_loss is None
    assert classifier_training.read_history(tmp_path / "run") == outcome.history
    assert len(classifier_curves.history_panels(outcome.history, outcome.best)[0].lines) == 1
    target = tmp_path / "exported"
    result = export(tmp_path / "run", settings, 0.2, all_in_train, target, {})
    assert result.metrics == {}
    assert result.difference is not None
    assert result.classifier.metrics == {}
    assert open_classifier(target).classify(list(all_in_train.splits["train"].crops)).shape == (32, 2)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    faces: FaceSet, trained: tuple[Path, classifier_training.Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = signals.Stop()

    @contextlib.contextmanager
    def listening() -> Iterator[signals.Stop]:
        yield stop

    def advance(self: classifier_training._Run, epoch: int, at: int) -> tuple[float, float]:
        stop.signal = 2 if (epoch, at) == (1, 3) else None  # in the middle of the second epoch
        return before(self, epoch, at)

    before = classifier_training._Run.advance
    monkeypatch.setattr(classifier_training.signals, "listening_for_signals", listening)
    monkeypatch.setattr(classifier_training._Run, "advance", advance)
    stopped = run(tmp_path / "easy", SETTINGS, faces)
    assert (stopped.signal, stopped.exit_code, len(stopped.history)) == (2, 130, 1)
    monkeypatch.undo()
    ended = run(tmp_path / "easy", SETTINGS, faces)
    assert len(ended.history) == SETTINGS.epochs
    for one, two in zip(ended.history, trained[1].history, strict=True):
        assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(two), rel=1e-3, abs=1e-4)


def test_a_run_is_not_continued_with_other_settings_or_faces(
    faces: FaceSet, trained: tuple[Path, classifier_training.Outcome]
) -> None:
    folder = trained[0]
    with pytest.raises(UserError, match=r"DROPOUT: 0\.2 -> 0\.4"):
        classifier_training.prepare_classifier_run(
            folder, dataclasses.replace(SETTINGS, dropout=0.4), faces, {}, fresh=False
        )
    others = dataclasses.replace(faces, splits=faces.splits | {"val": drawn(24, 9)})
    with pytest.raises(UserError, match="faces"):
        classifier_training.prepare_classifier_run(folder, SETTINGS, others, {}, fresh=False)
    classifier_training.prepare_classifier_run(folder, SETTINGS, faces, {}, fresh=False)


@pytest.mark.parametrize("other", ["run.json", "faces.json"])
def test_another_run_or_export_is_left_alone(faces: FaceSet, tmp_path: Path, other: str) -> None:
    (tmp_path / other).write_text("{}")
    with pytest.raises(UserError, match="RUN="):
        classifier_training.prepare_classifier_run(tmp_path, SETTINGS, faces, {}, fresh=True)
    with pytest.raises(UserError, match="RUN="):
        classifier_export.export_classifier(tmp_path / "run", SETTINGS, 0.1, faces, tmp_path, {}, openvino=False)
    assert [path.name for path in tmp_path.iterdir()] == [other]


def test_the_export_says_what_it_is(exported: Path, faces: FaceSet) -> None:
    said = json.loads((exported / "classifier.json").read_text())
    assert (said["format"], said["backbone"], said["size"], said["margin"]) == (1, "mobilenet_v2", 32, 0.25)
    assert said["classes"] == ["with_mask", "without_mask"] and said["made"] == {"step": "test"}
    assert said["metrics"]["test"]["faces"] == 24 and said["metrics"]["test"]["accuracy"] > 0.85
    assert {path.name for path in exported.iterdir()} == {
        "saved_model",
        "openvino",
        "label_map.pbtxt",
        "classifier.json",
    }


@pytest.mark.parametrize("runtime", ["openvino", "tensorflow"])
def test_every_runtime_gives_the_measured_answers(exported: Path, faces: FaceSet, runtime: str) -> None:
    classifier = open_classifier(exported, runtime, "fp32")
    assert classifier.name == f"mobilenet_v2 {runtime} fp32"
    assert (classifier.size, classifier.margin, classifier.label_map) == (32, 0.25, faces.label_map)
    test = faces.splits["test"]
    # More than go through the network at once, so that a batch's seam is in it.
    found = classifier.classify([*test.crops, *test.crops, *test.crops])
    assert found.shape == (72, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found[:24], found[48:], atol=1e-5)
    said = json.loads((exported / "classifier.json").read_text())["metrics"]["test"]["accuracy"]
    assert (found[:24].argmax(axis=1) == test.labels).mean() == pytest.approx(said, abs=1e-3)
    assert classifier.classify([]).shape == (0, 2)
    picture = np.zeros((50, 70, 3), np.uint8)
    assert classifier.classify(cut_faces(picture, np.array([[5, 5, 9, 11], [0, 0, 70, 50]]), 0.25, 32)).shape == (2, 2)


def test_the_openvino_path_imports_no_tensorflow(exported: Path) -> None:
    code = (
        "import sys, numpy; from pathlib import Path; from facemask.classifier.face_classifier import open_classifier;"
        f"c = open_classifier(Path({str(exported)!r}), 'openvino');"
        "assert c.classify([numpy.zeros((40, 40, 3), numpy.uint8)]).shape == (1, 2);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'tf_keras', 'keras')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_names_what_cannot_be_opened(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make classifier RUN=nothing"):
        open_classifier(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"RUNTIME=onnx.* auto, openvino, tflite, tensorflow"):
        open_classifier(exported, "onnx")
    with pytest.raises(UserError, match=r"PRECISION=int8.* auto, fp32"):
        open_classifier(exported, "openvino", "int8")
    damaged = tmp_path / "damaged"
    shutil.copytree(exported, damaged)
    (damaged / "classifier.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match=r"classifier\.json"):
        open_classifier(damaged)
    shutil.copy(exported / "classifier.json", damaged)
    (damaged / "openvino" / "model.xml").write_text("<net>")
    with pytest.raises(UserError, match=r"model\.xml.*make classifier RUN=damaged"):
        open_classifier(damaged, "openvino")


def test_augmentation_moves_and_lights_faces_by_its_seed_alone() -> None:
    import tensorflow as tf

    flat = tf.fill((64, 32, 32, 3), 100.0)
    lit = face_augmentation.augment_faces(flat, tf.constant([0, 1])).numpy()
    # Wherever it was moved to, the edge goes on: each picture stays of one colour, brighter or darker.
    assert np.ptp(lit, axis=(1, 2, 3)).max() < 0.01
    assert 75 <= lit.min() < 85 and 115 < lit.max() <= 125
    right = np.zeros((64, 32, 32, 3), np.float32)
    right[:, 8:24, 20:28] = 200
    moved = face_augmentation.augment_faces(right, tf.constant([0, 1])).numpy()
    columns = (moved.sum(axis=(1, 3)) * np.arange(32)).sum(axis=1) / moved.sum(axis=(1, 2, 3))
    assert 16 < (columns < 15.5).sum() < 48  # about half of them are flipped to the left
    # At most shifted by a tenth of the side, and by what zoom and rotation make of 8 pixels off the centre.
    assert (np.abs(np.abs(columns - 15.5) - 8) < 3.2 + 3).all()
    assert np.array_equal(moved, face_augmentation.augment_faces(right, tf.constant([0, 1])))
    assert not np.array_equal(moved, face_augmentation.augment_faces(right, tf.constant([0, 2])))


def test_strong_augmentation_lowers_the_resolution_of_half_of_the_faces() -> None:
    import tensorflow as tf

    noise = np.random.default_rng(0).uniform(0, 255, (200, 48, 48, 3)).astype(np.float32)
    light = face_augmentation.augment_faces(noise, tf.constant([0, 1])).numpy()
    strong = face_augmentation.augment_faces_strongly(noise, tf.constant([0, 1])).numpy()
    assert strong.min() >= 0 and strong.max() < 255.01
    # Noise loses its contrast between neighbours where it is shrunk and enlarged again.
    detail = [np.abs(np.diff(pictures, axis=2)).mean(axis=(1, 2, 3)) for pictures in (light, strong)]
    assert 80 < (detail[1] < detail[0] * 0.6).sum() < 120
    grey = np.repeat(noise[:, :, :, :1], 3, axis=3)
    without_colour = face_augmentation.augment_faces_strongly(grey, tf.constant([0, 1])).numpy()
    assert np.ptp(without_colour, axis=3).max() < 0.01
    assert np.array_equal(strong, face_augmentation.augment_faces_strongly(noise, tf.constant([0, 1])))


def test_the_backbone_is_frozen_first_and_then_trained(
    faces: FaceSet, trained: tuple[Path, classifier_training.Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    with small_backbone():
        kept = classifier_network.build_network("mobilenet_v2", 32, 2)
    best = tf.train.latest_checkpoint(str(trained[0] / "best"))
    kept.as_checkpoint().restore(best).assert_existing_objects_matched().expect_partial()
    kept.backbone.save_weights(tmp_path / "weights.h5")
    start = [v.numpy() for v in kept.backbone.variables]
    seen: list[list[np.ndarray]] = []

    def end_epoch(self: classifier_training._Run, epoch: int) -> classifier_training.Epoch:
        seen.append([v.numpy() for v in self.network.backbone.variables])
        return before(self, epoch)

    before = classifier_training._Run.end_epoch
    monkeypatch.setattr(classifier_training._Run, "end_epoch", end_epoch)
    settings = dataclasses.replace(SETTINGS, weights="given", epochs=1, fine_tune_epochs=1, fine_tune_rate=0.001)
    outcome = run(tmp_path / "run", settings, faces, tmp_path / "weights.h5")
    assert [one.fine_tuning for one in outcome.history] == [False, True]
    assert all(np.array_equal(a, b) for a, b in zip(start, seen[0], strict=True))
    trainable = {id(v) for v in kept.backbone.trainable_variables}
    for variable, a, b in zip(kept.backbone.variables, start, seen[1], strict=True):
        # Batch normalisation's averages stay those of the weights that were given.
        if id(variable) not in trainable:
            assert np.array_equal(a, b), variable.name
    changed = [not np.array_equal(a, b) for a, b in zip(start, seen[1], strict=True)]
    assert sum(changed) > 0.9 * len(trainable)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"junk\.h5"):
        classifier_network.build_network("mobilenet_v2", 32, 2, weights=tmp_path / "junk.h5", alpha=0.35)
    with pytest.raises(UserError, match=r"gone\.h5.*WEIGHTS="):
        classifier_network.find_weights(str(tmp_path / "gone.h5"), "mobilenet_v2", 96)


def test_without_a_network_one_line_names_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_network, "_KERAS", "https://127.0.0.1:9/")  # nobody answers there
    for backbone in classifier_network.BACKBONES:
        with pytest.raises(UserError, match=r"WEIGHTS=<path>.*WEIGHTS=ready.*WEIGHTS=none") as caught:
            classifier_network.find_weights("imagenet", backbone, 96, tmp_path)
        assert "\n" not in str(caught.value)


def test_weights_put_there_by_hand_are_held_to_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_network, "_KERAS", "https://127.0.0.1:9/")
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n and more")
    assert classifier_network.find_weights("imagenet", "mobilenet_v2", 96, tmp_path) == tmp_path / name
    assert classifier_network.find_weights("imagenet", "mobilenet_v2", 96, tmp_path) == tmp_path / name
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n and something else")
    with pytest.raises(UserError, match=name):
        classifier_network.find_weights("imagenet", "mobilenet_v2", 96, tmp_path)
    (tmp_path / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"junk")
    with pytest.raises(UserError, match="4d473c1dd8becc155b73f8504c6f6626"):
        classifier_network.find_weights("imagenet", "resnet50", 96, tmp_path)


def test_the_step_goes_from_a_folder_of_pictures_to_an_export(faces: FaceSet, tmp_path: Path) -> None:
    for label, name in enumerate(faces.label_map.names):
        (tmp_path / "faces" / name).mkdir(parents=True)
        train = faces.splits["train"]
        for number, crop in enumerate(train.crops[train.labels == label][:16]):
            Image.fromarray(crop).save(tmp_path / "faces" / name / f"{number}.png")
    folders = [f"--{name}={tmp_path / name}" for name in ("models", "exported", "reports")]
    options = ["--size=32", "--epochs=1", "--weights=none", "--batch=8", "--formats=saved_model", "--run=first"]
    command = [sys.executable, "-m", "scripts.classifier", f"--dataset={tmp_path / 'faces'}", *options, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1: train loss" in done.stdout and "taken for: with_mask, without_mask" in done.stdout
    assert {path.name for path in (tmp_path / "reports" / "first").iterdir()} == {
        "curves.png",
        "confusion-val.png",
        "confusion-test.png",
    }
    said = json.loads((tmp_path / "exported" / "first" / "classifier.json").read_text())
    assert said["made"]["settings"]["seed"] == 0 and said["classes"] == ["with_mask", "without_mask"]
    refused = subprocess.run([*command, "--found=0.5"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "DATASET=" in refused.stderr and "Traceback" not in refused.stderr
    counted = labelled_faces.faces_from_folder(tmp_path / "faces", faces.label_map, labelled_faces.Proportions(), 32)
    assert said["metrics"]["test"]["faces"] == len(counted.splits["test"])


def test_a_network_starts_from_the_shipped_weights_with_as_much_as_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = classifier_network.build_network("mobilenet_v2", 32, 3, seed=1, alpha=0.35)
    file = tmp_path / "classifier.npz"
    prefix = Path(first.as_checkpoint().write(str(tmp_path / "ckpt-0")))
    compact_checkpoint.write_compact_checkpoint(prefix, file, {}, kernels_in_8_bits=True)
    total = len(first.backbone.weights) + 4
    for classes, held in ((3, total), (2, total - 2)):
        second = classifier_network.build_network("mobilenet_v2", 32, classes, weights=file, alpha=0.35)
        assert f"{held} of the network's {total} variables" in capsys.readouterr().out
        for one, other in zip(first.variables[:-2], second.variables[:-2], strict=True):
            np.testing.assert_allclose(other, one, atol=0.01)
