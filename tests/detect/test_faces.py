"""Face detectors: those of OpenCV on a real photograph, and what all of them have to do on made ones."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from scripts.dataset import voc
from scripts.dataset.label_map import LabelMap
from scripts.detect.faces import boxes, finder, haar, res10, yunet
from scripts.detect.faces.as_faces import DetectorFaces
from scripts.detect.faces.finder import FaceFinder
from scripts.media import images
from scripts.support.errors import UserError

YUNET, RES10, TEXT = "face_detection_yunet_2023mar.onnx", "opencv_face_detector_uint8.pb", "opencv_face_detector.pbtxt"
LARGE_FACE = "maksssksksss442"
"""A photograph of one large face without a mask."""


@pytest.fixture(scope="module")
def networks() -> Path:
    """The folder with the networks."""
    folder = os.environ.get("FACEMASK_FACES")
    if not folder:
        pytest.skip("FACEMASK_FACES is not set to a folder with YuNet's and res10's networks")
    return Path(folder)


@pytest.fixture(scope="module")
def photograph() -> tuple[np.ndarray, tuple[float, ...]]:
    """A real picture and where its one face is."""
    folder = os.environ.get("FACEMASK_DATA")
    if not folder:
        pytest.skip("FACEMASK_DATA is not set to a folder with the public data set")
    [box] = voc.read(Path(folder) / f"{LARGE_FACE}.xml").boxes
    return images.read(Path(folder) / f"{LARGE_FACE}.jpg"), (box.xmin, box.ymin, box.xmax, box.ymax)


def opened(name: str, networks: Path) -> FaceFinder:
    given = {"yunet": networks / YUNET, "res10": networks / RES10, "haar": None}[name]
    return finder.load(name, finder.files_of(name, given))


def sure(found: sv.Detections) -> sv.Detections:
    """Those that are more than a guess."""
    return found[np.asarray(found.confidence) >= 0.35]


@pytest.mark.parametrize("name", finder.KINDS)
def test_a_large_face_is_found_where_it_is(
    name: str, networks: Path, photograph: tuple[np.ndarray, tuple[float, ...]]
) -> None:
    image, face = photograph
    found = opened(name, networks)
    upright, empty, again = found.find([image, np.full((60, 50, 3), 127, np.uint8), image])
    overlap = sv.box_iou_batch(np.array([face]), upright.xyxy)[0]
    assert overlap[0] > 0.5
    assert upright.confidence[0] > 0.7
    assert (np.diff(upright.confidence) <= 0).all()
    assert upright.xyxy.dtype == np.float32
    assert len(sure(empty)) == 0
    np.testing.assert_array_equal(again.xyxy, upright.xyxy)
    upside_down = found.find([np.ascontiguousarray(image[::-1])])[0]
    assert not (sv.box_iou_batch(np.array([face]), upside_down.xyxy) > 0.5).any()


@pytest.mark.parametrize("name", finder.KINDS)
def test_pictures_of_any_shape_are_looked_at(name: str, networks: Path) -> None:
    shapes = [(1, 1, 3), (1, 500, 3), (500, 2, 3), (5, 7, 3)]
    found = opened(name, networks).find([np.zeros(shape, np.uint8) for shape in shapes])
    assert [len(sure(one)) for one in found] == [0] * 4
    for one, (height, width, _) in zip(found, shapes, strict=True):
        assert (one.xyxy <= [width, height, width, height]).all()


def test_small_faces_are_found_by_looking_closer(
    networks: Path, photograph: tuple[np.ndarray, tuple[float, ...]]
) -> None:
    image, _ = photograph
    crowd = np.full((1200, 1200, 3), 127, np.uint8)
    small = boxes.scaled(image, 80)
    crowd[100 : 100 + small.shape[0], 900 : 900 + small.shape[1]] = small
    for name, given, close in (("yunet", YUNET, 1200), ("res10", RES10, 1200)):
        files = finder.files_of(name, networks / given)
        far, near = (sure(finder.load(name, files, size).find([crowd])[0]) for size in (300, close))
        assert len(far) == 0
        assert len(near) == 1
        x, y = near.xyxy[0].reshape(2, 2).mean(axis=0)
        assert 900 < x < 980
        assert 100 < y < 180


def test_the_files_are_the_published_ones(networks: Path) -> None:
    onnx, pb, text = ((networks / name).read_bytes() for name in (YUNET, RES10, TEXT))
    assert finder.KINDS["yunet"].files[0].digest == f"sha256:{hashlib.sha256(onnx).hexdigest()}"
    assert finder.KINDS["res10"].files[0].digest == f"sha1:{hashlib.sha1(pb).hexdigest()}"
    # Copies of it are about without the line's end.
    whole = text.rstrip(b"\n") + b"\n"
    assert finder.KINDS["res10"].files[1].digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"


# --- files ---------------------------------------------------------------------------------------------------------


def test_published_files_are_fetched_to_the_downloads_and_checked(tmp_path: Path) -> None:
    asked = []

    def fetch(transfer: object, digest: str) -> Path:
        asked.append((transfer.address, digest))  # type: ignore[attr-defined]
        assert "FACES=haar" in transfer.otherwise  # type: ignore[attr-defined]
        return transfer.target  # type: ignore[attr-defined, no-any-return]

    assert finder.files_of("yunet", None, tmp_path, fetch=fetch) == (tmp_path / YUNET,)
    assert finder.files_of("res10", None, tmp_path, fetch=fetch) == (tmp_path / RES10, tmp_path / TEXT)
    assert [digest for _, digest in asked] == [
        "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "sha1:4f2fdf6f231d759d7bbdb94353c5a68690f3d2ae",
        "sha256:5397808362fc6fb7c4044484848e297b22449d913a267fa7f8bd9d86dce29144",
    ]
    assert all(address.startswith("https://") for address, _ in asked)
    [cascade] = finder.files_of("haar", None, tmp_path, fetch=fetch)
    assert cascade.is_file()
    assert len(asked) == 3


@pytest.mark.parametrize("name", finder.KINDS)
def test_a_missing_file_says_what_is_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such file\. FACES_MODEL= takes the path of"):
        finder.files_of(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", finder.KINDS)
@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"<?xml version='1.0'?><a/>"])
def test_what_is_no_face_detector_is_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / {"yunet": "a.onnx", "res10": "a.pb", "haar": "a.xml"}[name]
    path.write_bytes(content)
    (tmp_path / "a.pbtxt").write_text("node { }")
    with pytest.raises(UserError) as error:
        finder.load(name, finder.files_of(name, path))
    assert str(error.value).startswith(f"{path}: OpenCV cannot load it as")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("beside", "said"), [((), "has no file"), (("a.pbtxt", "b.pbtxt"), "has 2 files")])
def test_res10_needs_its_text_beside_it(beside: tuple[str, ...], said: str, tmp_path: Path) -> None:
    for name in ("a.pb", *beside):
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=said):
        finder.files_of("res10", tmp_path / "a.pb")


def test_a_caffe_network_takes_its_prototxt(tmp_path: Path) -> None:
    for name in ("a.caffemodel", "a.prototxt", "other.pbtxt"):
        (tmp_path / name).write_text("")
    assert finder.files_of("res10", tmp_path / "a.caffemodel")[1] == tmp_path / "a.prototxt"


# --- what they share -----------------------------------------------------------------------------------------------


def test_boxes_are_cut_at_the_edge_ordered_and_each_face_is_there_once() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    xyxy = np.array([[10, 10, 50, 50], [-20, -20, 30, 20], [12, 10, 52, 50], [210, 10, 240, 40], [150, 50, 150, 80]])
    found = boxes.to_faces(xyxy, np.array([0.4, 0.6, 0.5, 0.9, 0.8]), image)
    np.testing.assert_array_equal(found.xyxy, [[0, 0, 30, 20], [12, 10, 52, 50]])
    np.testing.assert_allclose(found.confidence, [0.6, 0.5])
    assert len(boxes.to_faces(np.zeros((0, 4)), np.zeros(0), image)) == 0


@pytest.mark.parametrize(("size", "tiles"), [(100, 1), (300, 1), (301, 2), (525, 2), (526, 3), (750, 3)])
def test_tiles_overlap_and_cover_the_picture_finely_enough(size: int, tiles: int) -> None:
    assert res10.tiles_for(size) == tiles
    width, height = 1000, 400
    whole, *rest = res10.parts(width, height, tiles)
    assert whole == (0, 0, width, height)
    assert len(rest) == (tiles**2 if tiles > 1 else 0)
    if rest:
        seen = np.zeros((height, width), int)
        for x0, y0, x1, y1 in rest:
            seen[y0:y1, x0:x1] += 1
            assert (x1 - x0) / res10.SIDE <= width / size + 0.01
        assert seen.min() == 1
        assert seen.max() == 4


def test_a_tile_is_never_empty() -> None:
    for width in range(1, 12):
        for x0, y0, x1, y1 in res10.parts(width, 1, 4):
            assert 0 <= x0 < x1 <= width
            assert (y0, y1) == (0, 1)


def test_haars_weights_become_scores() -> None:
    scores = haar.scores_of(np.array([-3.0, 2.5, 4.0, 50.0]))
    assert scores[1] == pytest.approx(0.5)
    assert (np.diff(scores) > 0).all()
    assert 0 < scores[0] < scores[-1] <= 1


class Scripted:
    """Stands for OpenCV's YuNet: rows that are no numbers, and one that is."""

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
        self.size = size

    def detect(self, image: np.ndarray) -> tuple[int, np.ndarray | None]:
        assert image.shape[1::-1] == self.size
        assert image[0, 0].tolist() == [3, 2, 1]  # BGR
        if self.size[0] < 300:
            return 1, None
        rows = np.full((2, 15), np.nan, np.float32)
        rows[1] = 0
        rows[1, [0, 1, 2, 3, 14]] = 30, 60, 90, 30, 0.75
        return 1, rows


def test_yunets_rows_become_boxes_of_the_picture() -> None:
    image = np.full((100, 200, 3), (1, 2, 3), np.uint8)
    [found] = yunet.YuNet("", (600, 200), Scripted()).find([image])
    np.testing.assert_allclose(found.xyxy, [[10, 20, 40, 30]])  # the picture was looked at three times as large
    assert found.confidence.tolist() == [0.75]


def test_our_own_detector_finds_faces_whatever_their_class() -> None:
    class Known:
        name, label_map = "known", LabelMap(("with_mask", "without_mask"))

        def detect(self, images: list[np.ndarray]) -> list[sv.Detections]:
            xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [30, 30, 50, 50], [60, 60, 70, 70]], np.float32)
            scores = np.array([0.6, 0.7, 0.2, 0.01], np.float32)
            return [sv.Detections(xyxy, confidence=scores, class_id=np.array([1, 2, 1, 1])) for _ in images]

    faces = DetectorFaces(Known()).find([np.zeros((80, 80, 3), np.uint8)] * 2)
    assert [one.xyxy.tolist() for one in faces] == [[[0, 0, 10, 10], [30, 30, 50, 50]]] * 2
    assert faces[0].confidence.tolist() == pytest.approx([0.7, 0.2])
