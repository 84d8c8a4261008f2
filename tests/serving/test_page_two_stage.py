"""The page's two stages and Python's: the same inputs to the networks, and the same boxes for the same outputs."""

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from page_code import assert_same, needs_node, photographs, run_javascript

import facemask
from facemask.classifier.exported_classifier import read_exported_classifier
from facemask.classifier.face_classifier import ExportedNetwork
from facemask.data.drawn_sample import draw_picture
from facemask.detect.faces.box_alignment import AlignedFaces, BoxAlignment
from facemask.detect.faces.yunet import STRIDES, YuNet
from facemask.detect.opened_detector import OpenedDetector
from facemask.detect.score_thresholds import above_thresholds
from facemask.detect.two_stage import TwoStageDetector
from facemask.export import browser_networks
from facemask.ready import shipped_detector

pytestmark = needs_node


def assert_same_bytes(found: np.ndarray, expected: np.ndarray) -> None:
    """Bytes of which at most two in a hundred differ, by 1: OpenCV rounds halves to even, and float32 sums."""
    apart = np.abs(found.astype(int) - expected)
    assert apart.max(initial=0) <= 1 and np.count_nonzero(apart) <= 0.02 * apart.size


@pytest.mark.parametrize("size", [(96, 128), (75, 100), (33, 47), (150, 200), (300, 401)])
def test_pictures_are_scaled_as_opencv_does(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    height, width = size
    run_javascript("resampling", tmp_path, image, {}, toWidth=width, toHeight=height)
    for name, how in {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR}.items():
        if name == "bilinear" or height <= image.shape[0]:
            found = np.fromfile(tmp_path / name, np.float32).reshape(height, width, 3)
            assert_same_bytes(found, cv2.resize(image, (width, height), interpolation=how))


def assert_same_crops(found: np.ndarray, expected: np.ndarray) -> None:
    """As `assert_same_bytes`, but for a row or column that lies 1/32 of a pixel beside OpenCV's: a box of JavaScript
    differs from that of Python in its last digits, and places are cut off to 1/32."""
    apart = np.abs(found.astype(int) - expected)
    assert apart.max(initial=0) <= 8 and np.count_nonzero(apart > 1) <= 0.001 * apart.size
    assert_same_bytes(np.where(apart > 1, expected, found), expected)


class Recorder:
    """A compiled YuNet that keeps the pictures and the outputs of its requests."""

    def __init__(self, compiled: Any):
        self.compiled = compiled
        self.pictures: list[np.ndarray] = []
        self.outputs: dict[str, np.ndarray] = {}

    def create_infer_request(self) -> "Recorder":
        return self

    def infer(self, pictures: list[np.ndarray]) -> None:
        self.request = self.compiled.create_infer_request()
        self.request.infer(pictures)
        for name in (f"{name}_{stride}" for stride in STRIDES for name in ("cls", "obj", "bbox")):
            self.outputs[f"{len(self.pictures)}_{name}"] = self.request.get_tensor(name).data.copy()
        self.pictures.append(pictures[0])

    def get_tensor(self, name: str) -> Any:
        return self.request.get_tensor(name)


ALIGNMENT = BoxAlignment(0.02, 0.13, 1.04, 0.9, 100)


def recording(
    detector: OpenedDetector, alignment: BoxAlignment | None
) -> tuple[OpenedDetector, Recorder, list[np.ndarray], list[np.ndarray]]:
    """The detector with a recorder in YuNet, its boxes aligned, and its crops and probabilities."""
    raw = detector.raw
    assert isinstance(raw, TwoStageDetector) and isinstance(raw.classifier, ExportedNetwork)
    assert isinstance(raw.faces, YuNet)
    classifier, recorder = raw.classifier, Recorder(raw.faces.compiled)
    yunet = dataclasses.replace(raw.faces, compiled=recorder)
    crops, probabilities = [np.zeros((0, 96, 96, 3), np.uint8)], [np.zeros((0, 3), np.float32)]

    def run(batch: np.ndarray) -> np.ndarray:
        crops.append(batch)
        probabilities.append(classifier.run(batch))
        return probabilities[-1]

    searches = (yunet, yunet.at_twice_the_size())
    faces, large = (AlignedFaces(one, alignment) for one in searches) if alignment else searches
    recorded = TwoStageDetector(faces, dataclasses.replace(classifier, run=run), large)
    return dataclasses.replace(detector, raw=recorded), recorder, crops, probabilities


def scenes() -> dict[str, np.ndarray]:
    """Pictures that take every way through the code."""
    drawn = draw_picture(seed=0, index=0).image
    large = cv2.resize(drawn, (2000, 1500))
    found = {
        "people": drawn,
        "a crowd": np.tile(drawn, (4, 4, 1)),
        "large": large,
        "half of its height is no whole number": cv2.resize(drawn, (1280, 721)),
        "a face at the edge": np.ascontiguousarray(drawn[:, 50:]),
        "thin": np.ascontiguousarray(drawn[40:43]),
        "nobody": np.full((60, 80, 3), 127, np.uint8),
    }
    return found | {f"photograph {number}": one for number, one in enumerate(photographs())}


@pytest.mark.parametrize("alignment", [None, ALIGNMENT])
def test_two_stages_find_the_same_faces(alignment: BoxAlignment | None, tmp_path: Path) -> None:
    """The inputs of both networks, and the boxes that are made of their outputs, of the shipped detector."""
    parts = shipped_detector.FOLDER
    settings = browser_networks.two_stage_settings(
        read_exported_classifier(parts / shipped_detector.CLASSIFIER),
        size=640,
        alignment=alignment and alignment.as_json(),
    )
    numbers = {}
    for name, image in scenes().items():
        detector, recorder, batches, probabilities = recording(facemask.load("ready-fast"), alignment)
        [expected] = detector.detect([image])
        crops, folder = np.concatenate(batches), tmp_path / name
        numbers[name] = len(crops)
        arrays = recorder.outputs | {"probabilities": np.concatenate(probabilities)}
        for thresholds in ([0.0] * 3, list(detector.thresholds.values())):
            found = run_javascript("detectFaces", folder, image, arrays, settings=settings, thresholds=thresholds)
            assert_same(found, above_thresholds(expected, thresholds))
        assert len(list(folder.glob("*_pixels_*"))) == len(recorder.pictures)
        for number, picture in enumerate(recorder.pictures):
            height, width = picture.shape[2:]
            asked = np.fromfile(folder / f"{number}_pixels_{height}_{width}", np.float32)
            assert_same_bytes(asked.reshape(picture.shape), picture)
        assert_same_crops(np.fromfile(folder / "crops", np.uint8).reshape(crops.shape), crops)
    assert numbers["a crowd"] > 32 and numbers["people"] > 3 and numbers["large"] > 3 and numbers["nobody"] == 0
