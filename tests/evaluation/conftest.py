"""A detector that knows the truth, and the files of an exported model without the model."""

import json

import numpy as np
import pytest
from made_detections import CLASSES, found
from PIL import Image

from facemask.data import voc


class Painted:
    """Finds squares by their colour: red is class 1, green 2, blue 3; every third image it overlooks the green ones."""

    name = "painted"
    label_map = CLASSES

    def __init__(self):
        self.calls = 0

    def detect_all(self, images):
        self.calls += 1
        return [self.look(image) for image in images]

    def look(self, image):
        boxes = []
        for channel in range(3):
            ys, xs = np.nonzero(image[:, :, channel] > 200)
            if len(xs) and not (channel == 1 and image[0, 0, 0] % 3 == 0):
                score = 0.9 - 0.1 * channel
                boxes.append((score, channel + 1, xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
        return found(*boxes)


def paint(number, side=120):
    """An image with a red and a green square, and what labelImg would say of it."""
    image = np.full((90, side, 3), 40 + number, np.uint8)
    image[10:40, 10:50] = (255, 0, 0)
    image[50:80, 60:90] = (0, 255, 0)
    boxes = (voc.Box("with_mask", 10, 10, 50, 40), voc.Box("without_mask", 60, 50, 90, 80))
    return image, boxes


@pytest.fixture
def painted():
    return Painted()


@pytest.fixture
def pictures(tmp_path):
    """A folder of twelve PNG images with Pascal VOC XML."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        image, boxes = paint(number)
        Image.fromarray(image).save(folder / f"{number:02}.png")
        annotation = voc.Annotation(folder, f"{number:02}.png", image.shape[1], image.shape[0], boxes)
        voc.write_voc(folder / f"{number:02}.xml", annotation)
    return folder


@pytest.fixture
def exported(tmp_path):
    """workspace/exported with one run's model.json."""
    folder = tmp_path / "exported" / "default"
    folder.mkdir(parents=True)
    model = {
        "format": 1,
        "model": "painted",
        "classes": CLASSES.names,
        "input": {"height": 90, "width": 120},
        "run": "default",
        "steps": 7,
        "config_sha256": "c0ffee",
    }
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "pipeline.config").write_text("model { # <b>not HTML</b>\n}")
    return folder.parent
