import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from facemask.core.errors import UserError
from facemask.data import drawn_sample, voc
from facemask.data.drawing import people, portrait

IMAGES, TRAIN = 80, 60
LOGISTIC = LogisticRegression(C=10, max_iter=2000)
CLASSIFIERS = [
    pytest.param(LOGISTIC, id="logistic_regression"),
    pytest.param(RandomForestClassifier(300, random_state=0), id="random_forest", marks=pytest.mark.long),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of 80 pictures. Read-only."""
    folder = tmp_path_factory.mktemp("drawn") / "sample"
    drawn_sample.write_sample(folder, IMAGES, seed=0, processes=2)
    return folder


@pytest.fixture(scope="module")
def faces(folder: Path) -> list[tuple[int, str, np.ndarray]]:
    """Each face as it is written: its picture's number, its class, its crop as RGB uint8."""
    found = []
    for index, path in enumerate(sorted(folder.glob("*.xml"))):
        with Image.open(path.with_suffix(".jpg")) as image:
            pixels = np.asarray(image)
        for box in voc.read_voc(path).boxes:
            found.append((index, box.label, pixels[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]))
    return found


def colours(crop: np.ndarray) -> np.ndarray:
    """How often each colour (6 x 6 x 6 of them), and each of 24 levels of red, green and blue, occurs in a crop."""
    pixels = crop.reshape(-1, 3)
    levels = [np.histogram(channel, 24, (0, 256))[0] for channel in pixels.T]
    return np.concatenate([np.histogramdd(pixels, (6, 6, 6), [(0, 256)] * 3)[0].ravel(), *levels]) / len(pixels)


def shapes(crop: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients: edges and where they are, whatever their colour."""
    hog = cv2.HOGDescriptor((48, 56), (16, 16), (8, 8), (8, 8), 9)
    return np.ravel(hog.compute(cv2.resize(crop, (48, 56), interpolation=cv2.INTER_AREA)))


def held_out(
    classifier: ClassifierMixin, features: list[np.ndarray], faces: list[tuple[int, str, np.ndarray]]
) -> float:
    """Balanced accuracy on the faces of pictures that the classifier has not seen: 1/3 is chance."""
    train = np.array([index < TRAIN for index, _, _ in faces])
    labels, rows = np.array([label for _, label, _ in faces]), np.array(features)
    classifier.fit(rows[train], labels[train])
    return balanced_accuracy_score(labels[~train], classifier.predict(rows[~train]))


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_colours_do_not_give_the_class_away(classifier: ClassifierMixin, faces: list[tuple[int, str, np.ndarray]]):
    assert held_out(classifier, [colours(crop) for _, _, crop in faces], faces) < 0.7


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_colours_would_be_found_if_they_did(classifier: ClassifierMixin, faces: list[tuple[int, str, np.ndarray]]):
    # The same measurement where the half of each face tells: it must notice.
    given_away = []
    for _, label, crop in faces:
        crop = crop.copy()
        crop[len(crop) // 2 :, :, drawn_sample.CLASSES.index(label)] = 200
        given_away.append(colours(crop))
    assert held_out(classifier, given_away, faces) > 0.9


def test_shapes_do(faces: list[tuple[int, str, np.ndarray]]):
    assert held_out(LOGISTIC, [shapes(crop) for _, _, crop in faces], faces) > 0.9


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path):
    again = tmp_path / "sample"
    drawn_sample.write_sample(again, images=6, seed=0)
    assert len(list(again.iterdir())) == 13
    for path in sorted(again.glob("sample_*")):
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    other = tmp_path / "other" / "sample"
    drawn_sample.write_sample(other, images=6, seed=1)
    for path in sorted(again.glob("sample_*")):
        assert path.read_bytes() != (other / path.name).read_bytes(), path.name


def test_the_same_seed_gives_the_same_picture_in_another_process():
    # Sets and hashes of strings differ from process to process.
    code = "import hashlib; from facemask.data import drawn_sample as sample; "
    code += "print(hashlib.sha256(sample.draw_picture(3, 5).image.tobytes()).hexdigest())"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == hashlib.sha256(drawn_sample.draw_picture(3, 5).image.tobytes()).hexdigest()


def test_pictures_and_labels_belong_together(folder: Path):
    annotations = [voc.read_voc(path) for path in sorted(folder.glob("*.xml"))]
    assert len(annotations) == IMAGES == len(list(folder.glob("*.jpg")))
    for annotation in annotations:
        assert annotation.filename == annotation.path.with_suffix(".jpg").name
        with Image.open(annotation.path.with_suffix(".jpg")) as image:
            assert (image.mode, image.size) == ("RGB", (annotation.width, annotation.height)) == ("RGB", (320, 240))
    assert "<folder>sample</folder>" in annotations[0].path.read_text(encoding="utf-8")


def test_faces_are_many_large_whole_and_apart(folder: Path):
    counts: dict[str, int] = dict.fromkeys(drawn_sample.CLASSES, 0)
    crowds, truncated = set(), 0
    for path in folder.glob("*.xml"):
        boxes = voc.read_voc(path).boxes
        crowds.add(len(boxes))
        for number, box in enumerate(boxes):
            counts[box.label] += 1
            truncated += box.truncated
            assert 0 <= box.xmin < box.xmax <= 320
            assert 0 <= box.ymin < box.ymax <= 240
            assert 45 <= box.height <= 150
            for other in boxes[:number]:
                width = min(box.xmax, other.xmax) - max(box.xmin, other.xmin)
                height = min(box.ymax, other.ymax) - max(box.ymin, other.ymin)
                assert max(0, width) * max(0, height) < 0.1 * min(box.width * box.height, other.width * other.height)
    assert crowds == {1, 2, 3, 4, 5, 6}
    assert 0 < truncated < 0.1 * sum(counts.values())
    assert all(0.27 < count / sum(counts.values()) < 0.4 for count in counts.values()), counts
    assert json.loads((folder / "sample.json").read_text())["faces"] == counts


@pytest.mark.parametrize("label", ["with_mask", "mask_weared_incorrect"])
def test_the_box_is_tight_around_face_and_mask(label: str):
    green, blue = (0, 255, 0), (0, 0, 255)
    for seed in range(20):
        person = people.some_person(random.Random(seed), label, x=160, y=120, size=50, light=1)
        assert person.mask is not None
        mask = replace(person.mask, style="cloth", colour=green, straps=blue, pattern="plain")
        plain = replace(person, mask=mask, hat="none", scarf=False, garment="crew", garment_colour=blue, roll=0.1)
        canvas = Image.new("RGB", (960, 720), blue)
        portrait.draw_portrait(canvas, plain, zoom=3)
        red, lime, azure = np.asarray(canvas, int).transpose(2, 0, 1)
        y, x = np.nonzero((lime > 2 * red + 60) & (lime > 2 * azure))
        xmin, ymin, xmax, ymax = (3 * edge for edge in plain.box())
        assert len(x) > 2000
        assert x.min() >= xmin - 6
        assert x.max() <= xmax + 6
        assert y.min() >= ymin
        assert ymax - 15 <= y.max() <= ymax + 6


def test_masks_leave_free_what_they_should():
    # From half a head above the middle of the face to half below: the nose ends at 0.34, the mouth lies at 0.57.
    tops: dict[str, list[float]] = {label: [] for label in drawn_sample.CLASSES}
    for seed in range(300):
        rng = random.Random(seed)
        person = people.some_person(rng, rng.choice(drawn_sample.CLASSES), 0, 0, 1, 1)
        if person.mask is not None:
            tops[person.label].append(person.mask.top)
    assert not tops["without_mask"]
    assert max(tops["with_mask"]) < 0.1
    assert min(tops["mask_weared_incorrect"]) > 0.36
    assert any(top < 0.5 for top in tops["mask_weared_incorrect"])
    assert any(top > 0.7 for top in tops["mask_weared_incorrect"])


def test_a_sample_replaces_a_sample(tmp_path: Path):
    drawn_sample.write_sample(tmp_path / "s", images=3, seed=0)
    made = drawn_sample.write_sample(tmp_path / "s", images=2, seed=4)
    names = ["sample.json", "sample_000.jpg", "sample_000.xml", "sample_001.jpg", "sample_001.xml"]
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == names
    about = json.loads((tmp_path / "s" / "sample.json").read_text())
    assert (about["images"], about["made"]["settings"]) == (2, {"images": 2, "seed": 4})
    assert made == drawn_sample.Sample(tmp_path / "s", 2, about["faces"])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_what_a_person_made_stays(tmp_path: Path):
    own = tmp_path / "images"
    own.mkdir()
    (own / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="images"):
        drawn_sample.write_sample(own, images=1, seed=0)
    (own / "sample.json").write_text("{}")
    with pytest.raises(UserError, match=r"holiday\.jpg"):
        drawn_sample.write_sample(own, images=1, seed=0)
    assert (own / "holiday.jpg").read_bytes() == b"mine"
    with pytest.raises(UserError):
        drawn_sample.write_sample(own / "holiday.jpg", images=1, seed=0)
    with pytest.raises(UserError):
        drawn_sample.write_sample(own / "holiday.jpg" / "deeper", images=1, seed=0)
    (tmp_path / "link").symlink_to(own, target_is_directory=True)
    with pytest.raises(UserError):
        drawn_sample.write_sample(tmp_path / "link", images=1, seed=0)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["holiday.jpg", "images", "link", "sample.json"]


def test_nothing_half_written_stays(tmp_path: Path):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn_sample.write_sample(tmp_path / "s", images=3, seed=0, progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("images", "seed"), [(0, 0), (10**9, 0), (1, -1)])
def test_numbers_that_make_no_sample(images: int, seed: int, tmp_path: Path):
    with pytest.raises(UserError):
        drawn_sample.write_sample(tmp_path / "s", images, seed)
    assert not list(tmp_path.iterdir())


def test_the_step(tmp_path: Path):
    command = [sys.executable, "-m", "scripts.sample", "--count", "2", "--seed", "5", "--out"]
    done = subprocess.run([*command, str(tmp_path / "a b")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 pictures, ")
    assert len(list((tmp_path / "a b").iterdir())) == 5
