"""The faces of several searches of a picture, joined; and the sizes that FACES_SIZE= names."""

import numpy as np
import pytest
import supervision as sv

from facemask.core.errors import UserError
from facemask.detect.face_sizes import parse_sizes
from facemask.detect.faces import face_finder
from facemask.detect.faces.several_sizes import SeveralSizes, join_faces
from facemask.detect.faces.yunet import MIN_SCORE
from facemask.ready import shipped_detector

PICTURE = np.zeros((100, 200, 3), np.uint8)
A, A_NEAR, B, C = [10, 10, 50, 50], [14, 10, 54, 50], [100, 10, 140, 50], [60, 60, 90, 90]


def faces(*found: tuple[list[float], float]) -> sv.Detections:
    """One search's boxes and scores."""
    return sv.Detections(
        np.array([box for box, _ in found], np.float32).reshape(-1, 4),
        confidence=np.array([score for _, score in found], np.float32),
    )


def join(*found: sv.Detections) -> list[tuple[list[float], float]]:
    joined = join_faces(found, PICTURE)
    scores = [round(float(score), 4) for score in joined.confidence]
    return list(zip(joined.xyxy.round(3).tolist(), scores, strict=True))


def test_a_face_of_both_searches_has_the_mean_score_and_the_score_weighted_mean_box() -> None:
    assert join(faces((A, 0.9), (B, 0.4)), faces((C, 0.8), (A_NEAR, 0.3))) == [
        ([11, 10, 51, 50], 0.6),
        (C, 0.4),
        (B, 0.2),
    ]


def test_three_searches_count_a_third_each() -> None:
    assert join(faces((A, 0.9)), faces(), faces((A, 0.6))) == [(A, 0.5)]
    assert join(faces(), faces()) == []


def test_each_face_has_one_partner() -> None:
    """Of two boxes on one face, the one with the higher score is joined; the other is then suppressed."""
    assert join(faces((A, 0.9)), faces((A_NEAR, 0.4), (A, 0.5))) == [(A, 0.7)]


def test_a_face_that_only_one_search_barely_found_is_left_out() -> None:
    assert join(faces((A, 1.9 * MIN_SCORE)), faces()) == []
    assert len(join(faces((A, 2.1 * MIN_SCORE)), faces())) == 1


def test_yunet_searches_at_each_size() -> None:
    file = shipped_detector.FOLDER / shipped_detector.FACES
    finder = face_finder.load_face_finder("yunet", [file], [160, 320])
    assert isinstance(finder, SeveralSizes)
    assert finder.name == "yunet 160 and 320 px"
    assert [one.sizes for one in finder.at_twice_the_size().finders] == [(320,), (640, 213)]
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    single = [face_finder.load_face_finder("yunet", [file], [size]).find([picture])[0] for size in (160, 320)]
    [found] = finder.find([picture])
    np.testing.assert_allclose(found.xyxy, join_faces(single, picture).xyxy)


def test_other_face_detectors_search_at_one_size() -> None:
    with pytest.raises(UserError, match="FACES_SIZE=320,640"):
        face_finder.load_face_finder("haar", face_finder.face_finder_files("haar", None), [320, 640])


@pytest.mark.parametrize(("text", "sizes"), [("", ()), ("0", ()), ("960", (960,)), ("640, 960,1280", (640, 960, 1280))])
def test_sizes_are_read(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["many", "31", "8193", "1280,960", "960,960", "960,", "-960", "96.5"])
def test_other_sizes_are_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match=f"FACES_SIZE={text}"):
        parse_sizes(text)
