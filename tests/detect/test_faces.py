"""Face detectors: those of OpenCV on a real photograph, and what all of them have to do on made ones."""

import hashlib
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import supervision as sv

from facemask.core import provenance
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import images, voc
from facemask.detect.faces import face_boxes, face_finder, haar, res10, yunet
from facemask.detect.faces.face_finder import FaceFinder
from facemask.detect.faces.faces_as_detections import DetectorFaces
from facemask.ready import shipped_detector

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
    [box] = voc.read_voc(Path(folder) / f"{LARGE_FACE}.xml").boxes
    return images.read_image(Path(folder) / f"{LARGE_FACE}.jpg"), (box.xmin, box.ymin, box.xmax, box.ymax)


def opened(name: str, networks: Path) -> FaceFinder:
    given = {"yunet": networks / YUNET, "res10": networks / RES10, "haar": None}[name]
    return face_finder.load_face_finder(name, face_finder.face_finder_files(name, given))


def sure(found: sv.Detections) -> sv.Detections:
    """Those that are more than a guess."""
    return found[np.asarray(found.confidence) >= 0.35]


@pytest.mark.parametrize("name", face_finder.KINDS)
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


@pytest.mark.parametrize("name", face_finder.KINDS)
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
    small = face_boxes.scale_picture(image, 80)
    crowd[100 : 100 + small.shape[0], 900 : 900 + small.shape[1]] = small
    for name, given, close in (("yunet", YUNET, 1200), ("res10", RES10, 1200)):
        files = face_finder.face_finder_files(name, networks / given)
        far, near = (sure(face_finder.load_face_finder(name, files, [size]).find([crowd])[0]) for size in (300, close))
        assert len(far) == 0
        assert len(near) == 1
        x, y = near.xyxy[0].reshape(2, 2).mean(axis=0)
        assert 900 < x < 980
        assert 100 < y < 180


def test_the_files_are_the_published_ones(networks: Path) -> None:
    onnx, pb, text = ((networks / name).read_bytes() for name in (YUNET, RES10, TEXT))
    assert face_finder.KINDS["yunet"].files[0].digest == f"sha256:{hashlib.sha256(onnx).hexdigest()}"
    assert face_finder.KINDS["res10"].files[0].digest == f"sha1:{hashlib.sha1(pb).hexdigest()}"
    # Copies of it are about without the line's end.
    whole = text.rstrip(b"\n") + b"\n"
    assert face_finder.KINDS["res10"].files[1].digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"


# --- files ---------------------------------------------------------------------------------------------------------


def test_published_files_are_fetched_to_the_downloads_and_checked(tmp_path: Path) -> None:
    asked = []

    def fetch(transfer: object, digest: str) -> Path:
        asked.append((transfer.address, digest))  # type: ignore[attr-defined]
        assert "FACES=haar" in transfer.otherwise  # type: ignore[attr-defined]
        return transfer.target  # type: ignore[attr-defined, no-any-return]

    none = tmp_path / "nothing is shipped"
    assert face_finder.face_finder_files("yunet", None, tmp_path, fetch=fetch, shipped=none) == (tmp_path / YUNET,)
    assert face_finder.face_finder_files("res10", None, tmp_path, fetch=fetch) == (tmp_path / RES10, tmp_path / TEXT)
    assert [digest for _, digest in asked] == [
        "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "sha1:4f2fdf6f231d759d7bbdb94353c5a68690f3d2ae",
        "sha256:5397808362fc6fb7c4044484848e297b22449d913a267fa7f8bd9d86dce29144",
    ]
    assert all(address.startswith("https://") for address, _ in asked)
    [cascade] = face_finder.face_finder_files("haar", None, tmp_path, fetch=fetch)
    assert cascade.is_file()
    assert len(asked) == 3


def test_yunet_comes_with_facemask_and_is_checked(networks: Path, tmp_path: Path) -> None:
    own = tmp_path / YUNET
    own.write_bytes((networks / YUNET).read_bytes())
    assert face_finder.face_finder_files("yunet", None, tmp_path / "pretrained", shipped=tmp_path) == (own,)
    own.write_bytes(own.read_bytes()[:-1])
    with pytest.raises(UserError, match=YUNET):
        face_finder.face_finder_files("yunet", None, tmp_path / "pretrained", shipped=tmp_path)


def test_the_shipped_face_detector_has_a_name_and_is_checked(tmp_path: Path) -> None:
    ready = Path(provenance.READY)
    [file] = face_finder.face_finder_files("yunet", ready)
    assert file == shipped_detector.FOLDER / shipped_detector.FACES and not face_finder.is_published(file)
    with pytest.raises(UserError, match=r"FACES_MODEL=ready: is a YuNet.*FACES=haar"):
        face_finder.face_finder_files("haar", ready)
    copy = Path(shutil.copytree(shipped_detector.FOLDER, tmp_path / "ready")) / shipped_detector.FACES
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{shipped_detector.FACES}: has"):
        face_finder.face_finder_files("yunet", ready, shipped=copy.parent)


@pytest.mark.parametrize("name", face_finder.KINDS)
def test_the_error_for_a_missing_file_names_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*FACES_MODEL="):
        face_finder.face_finder_files(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", face_finder.KINDS)
@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"<?xml version='1.0'?><a/>"])
def test_the_error_for_a_file_that_is_no_face_detector_is_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / {"yunet": "a.onnx", "res10": "a.pb", "haar": "a.xml"}[name]
    path.write_bytes(content)
    (tmp_path / "a.pbtxt").write_text("node { }")
    with pytest.raises(UserError) as error:
        face_finder.load_face_finder(name, face_finder.face_finder_files(name, path))
    assert re.fullmatch(
        rf"{path}: cannot be loaded as [\w ]+(: it is damaged or of another kind| \(it [a-z ]+\))\. "
        r"Give another with FACES_MODEL=<file>\.",
        str(error.value),
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("beside", "said"), [((), "has no file"), (("a.pbtxt", "b.pbtxt"), "has 2 files")])
def test_res10_needs_its_text_beside_it(beside: tuple[str, ...], said: str, tmp_path: Path) -> None:
    for name in ("a.pb", *beside):
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=said):
        face_finder.face_finder_files("res10", tmp_path / "a.pb")


def test_a_caffe_network_takes_its_prototxt(tmp_path: Path) -> None:
    for name in ("a.caffemodel", "a.prototxt", "other.pbtxt"):
        (tmp_path / name).write_text("")
    assert face_finder.face_finder_files("res10", tmp_path / "a.caffemodel")[1] == tmp_path / "a.prototxt"


# --- what they share -----------------------------------------------------------------------------------------------


def test_boxes_are_cut_at_the_edge_ordered_and_each_face_is_there_once() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    xyxy = np.array([[10, 10, 50, 50], [-20, -20, 30, 20], [12, 10, 52, 50], [210, 10, 240, 40], [150, 50, 150, 80]])
    found = face_boxes.to_faces(xyxy, np.array([0.4, 0.6, 0.5, 0.9, 0.8]), image)
    np.testing.assert_array_equal(found.xyxy, [[0, 0, 30, 20], [12, 10, 52, 50]])
    np.testing.assert_allclose(found.confidence, [0.6, 0.5])
    assert len(face_boxes.to_faces(np.zeros((0, 4)), np.zeros(0), image)) == 0


@pytest.mark.parametrize(("size", "tiles"), [(100, 1), (300, 1), (301, 2), (525, 2), (526, 3), (750, 3)])
def test_tiles_overlap_and_cover_the_picture_finely_enough(size: int, tiles: int) -> None:
    assert res10.tiles_for(size) == tiles
    width, height = 1000, 400
    whole, *rest = res10.picture_parts(width, height, tiles)
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
        for x0, y0, x1, y1 in res10.picture_parts(width, 1, 4):
            assert 0 <= x0 < x1 <= width
            assert (y0, y1) == (0, 1)


def test_haars_weights_become_scores() -> None:
    scores = haar.scores_of(np.array([-3.0, 2.5, 4.0, 50.0]))
    assert scores[1] == pytest.approx(0.5)
    assert (np.diff(scores) > 0).all()
    assert 0 < scores[0] < scores[-1] <= 1


class Scripted:
    """Stands for YuNet's network: one face in the grid of 16 pixels, and a box that is no number in that of 8."""

    def create_infer_request(self) -> "Scripted":
        return self

    def infer(self, values: list[np.ndarray]) -> None:
        [[blue, green, red]] = values[0]
        assert (blue[0, 0], green[0, 0], red[0, 0]) == (3, 2, 1)
        height, self.width = blue.shape
        assert height % 32 == 0 and self.width % 32 == 0
        cells = {stride: height * self.width // stride**2 for stride in yunet.STRIDES}
        self.outputs = {
            f"{name}_{stride}": np.zeros((1, cells[stride], 1)) for stride in cells for name in ("cls", "obj")
        }
        self.outputs |= {f"bbox_{stride}": np.zeros((1, cells[stride], 4)) for stride in cells}
        if self.width >= 300:
            cell = 4 * (self.width // 16) + 5  # row 4, column 5
            self.outputs["cls_16"][0, cell], self.outputs["obj_16"][0, cell] = 0.9, 0.625
            self.outputs["bbox_16"][0, cell] = [0.5, -0.25, np.log(6), np.log(2)]
            self.outputs["cls_8"][0, 0] = self.outputs["obj_8"][0, 0] = 1.5
            self.outputs["bbox_8"][0, 0] = np.nan

    def get_tensor(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(data=self.outputs[name])


def test_yunets_outputs_become_boxes_of_the_picture() -> None:
    image = np.full((100, 200, 3), (1, 2, 3), np.uint8)
    [found] = yunet.YuNet("", (600, 200), Scripted()).find([image])
    # The centre is at (88, 60), the sides are 96 and 32, in the picture three times as large.
    np.testing.assert_allclose(found.xyxy, [[40 / 3, 44 / 3, 136 / 3, 76 / 3]], rtol=1e-5)
    assert found.confidence.tolist() == [0.5625]  # 0.9 x 0.625


@pytest.mark.parametrize(
    ("shape", "reduced"),
    [((720, 1280, 3), (338, 600, 3)), ((100, 200, 3), (100, 200, 3)), ((400, 600, 3), (400, 600, 3))],
)
def test_a_picture_that_yunet_reduces_is_reduced_further_for_the_second_search(
    shape: tuple[int, ...], reduced: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []

    def scale_picture(image: np.ndarray, size: int) -> np.ndarray:
        sources.append(image.shape)
        return face_boxes.scale_picture(image, size)

    monkeypatch.setattr(yunet, "scale_picture", scale_picture)
    image = np.full(shape, (1, 2, 3), np.uint8)
    [found] = yunet.YuNet("", (600, 200), Scripted()).find([image])
    assert sources == [shape, reduced]
    factor = max(shape) / 600
    np.testing.assert_allclose(found.xyxy, factor * np.array([[40, 44, 136, 76]]), rtol=2e-3)


def test_yunet_finds_what_opencv_finds_with_it(
    networks: Path, photograph: tuple[np.ndarray, tuple[float, ...]]
) -> None:
    image = face_boxes.scale_picture(photograph[0], 320)
    finder = yunet.load_yunet([networks / YUNET], 320)
    [found] = finder.find([image])
    theirs = cv2.FaceDetectorYN.create(str(networks / YUNET), "", image.shape[1::-1], yunet.MIN_SCORE**0.5, 0.3, 5000)
    _, rows = theirs.detect(np.ascontiguousarray(image[:, :, ::-1]))
    expected = face_boxes.to_faces(np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), rows[:, 14] ** 2, image)
    np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=0.05)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-3)


def test_our_own_detector_finds_faces_whatever_their_class() -> None:
    class Known:
        name, label_map = "known", LabelMap(("with_mask", "without_mask"))

        def detect_all(self, images: list[np.ndarray]) -> list[sv.Detections]:
            xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [30, 30, 50, 50], [60, 60, 70, 70]], np.float32)
            scores = np.array([0.6, 0.7, 0.2, 0.01], np.float32)
            return [sv.Detections(xyxy, confidence=scores, class_id=np.array([1, 2, 1, 1])) for _ in images]

    faces = DetectorFaces(Known()).find([np.zeros((80, 80, 3), np.uint8)] * 2)
    assert [one.xyxy.tolist() for one in faces] == [[[0, 0, 10, 10], [30, 30, 50, 50]]] * 2
    assert faces[0].confidence.tolist() == pytest.approx([0.7, 0.2])
