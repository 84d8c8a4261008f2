import numpy as np
import pytest
import supervision as sv
from PIL import ImageColor

from facemask.core.colours import picture_colour
from facemask.media import annotating

GREY = 128


def detections(*boxes: tuple[float, ...], ids: list[int] | None = None) -> sv.Detections:
    ids = ids or [1] * len(boxes)
    return sv.Detections(
        xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        confidence=np.linspace(0.9, 0.5, len(boxes)).astype(np.float32),
        class_id=np.array(ids),
        data={"class_name": np.array([f"class_{i}" for i in ids])},
    )


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def label_box(drawn: np.ndarray, color: str) -> tuple[int, int, int, int]:
    """Where a label is: the filled runs of its colour, wider than any line."""
    same = (drawn == np.array(ImageColor.getrgb(color))).all(axis=2)
    rows = np.flatnonzero(same.mean(axis=1) > 0)
    columns = np.flatnonzero(same.any(axis=0))
    return columns[0], rows[0], columns[-1], rows[-1]


def test_box_and_label_are_there_in_the_classes_colour_and_nothing_else_changes() -> None:
    image = grey(1000, 800)
    drawn = annotating.draw_boxes(image, detections((400, 300, 600, 500), ids=[2]))
    color = np.array(ImageColor.getrgb(picture_colour(2)))
    for x, y in ((400, 400), (600, 400), (500, 500), (500, 300)):
        assert (drawn[y, x] == color).all()
    assert (drawn[310:490, 410:590] == GREY).all()  # the face itself
    changed = np.argwhere((drawn != GREY).any(axis=2))
    assert changed[:, 0].min() > 250 and changed[:, 0].max() < 510
    assert (image == GREY).all()


def test_score_is_in_the_label_by_default() -> None:
    one = annotating.draw_boxes(grey(1000, 800), detections((400, 300, 600, 500)))
    same = annotating.draw_boxes(grey(1000, 800), detections((400, 300, 600, 500)), labels=["class_1 0.90"])
    other = annotating.draw_boxes(grey(1000, 800), detections((400, 300, 600, 500)), labels=["class_1 0.80"])
    assert (one == same).all() and (one != other).any()


@pytest.mark.parametrize(
    "box", [(0, 0, 60, 60), (940, 0, 1000, 60), (0, 740, 60, 800), (940, 740, 1000, 800), (0, 0, 1000, 800)]
)
def test_labels_stay_whole_at_every_edge(box: tuple[float, ...]) -> None:
    text = "a rather long label 0.99"
    middle = detections((470, 370, 530, 430), ids=[2])
    drawn = annotating.draw_boxes(grey(1000, 800), detections(box), labels=[text])
    reference = annotating.draw_boxes(grey(1000, 800), middle, labels=[text])
    # As many pixels of the text in the corner as in the middle: none is cut off.
    black = [(picture == 0).all(axis=2).sum() for picture in (drawn, reference)]
    assert black[0] == black[1] > 50


def test_a_label_avoids_the_face_above_it() -> None:
    below, above = (400, 300, 460, 360), (400, 230, 460, 298)
    drawn = annotating.draw_boxes(grey(1000, 800), detections(below, above, ids=[1, 2]), labels=["x" * 12, "y" * 12])
    inside = drawn[240:290, 410:450]
    assert (inside == GREY).all()


def test_labels_do_not_cover_each_other() -> None:
    style = annotating.style_for(1000, 800)
    tall, wide = style.font + 2 * style.padding, 110
    places = annotating._places(
        np.array([[400, 300, 430, 330], [440, 300, 470, 330], [405, 335, 435, 365]], dtype=float),
        [np.zeros((tall, wide, 3), np.uint8)] * 3,
        (1000, 800),
    )
    assert len({tuple(place) for place in places}) == 3
    for i, (x, y) in enumerate(places):
        for other_x, other_y in places[i + 1 :]:
            assert abs(y - other_y) >= tall * 0.7 or abs(x - other_x) >= 100


@pytest.mark.parametrize(
    ("size", "times"), [((400, 267), 3), ((60, 40), 4), ((999, 10), 2), ((1000, 600), 1), ((8000, 6000), 1)]
)
def test_small_pictures_are_enlarged(size: tuple[int, int], times: int) -> None:
    assert annotating.enlargement(*size) == times


def test_enlarged_boxes_are_where_the_face_is() -> None:
    drawn = annotating.draw_boxes(grey(400, 300), detections((100, 100, 140, 150)))
    assert drawn.shape == (900, 1200, 3)
    color = np.array(ImageColor.getrgb(picture_colour(1)))
    assert (drawn[375, 300] == color).all() and (drawn[375, 420] == color).all()
    assert annotating.draw_boxes(grey(400, 300), detections((100, 100, 140, 150)), enlarge=False).shape == (300, 400, 3)


def test_sizes_grow_with_the_picture() -> None:
    small, large = annotating.style_for(1000, 700), annotating.style_for(6000, 4000)
    assert small.font >= 13 and large.font > 2 * small.font and large.line > small.line


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (2000, 2)])
def test_nothing_to_draw_and_odd_pictures(size: tuple[int, int]) -> None:
    assert (annotating.draw_boxes(grey(*size), detections()) == GREY).all()
    annotating.draw_boxes(grey(*size), detections((-5, -5, 9000, 9000)))


def test_names_in_other_scripts() -> None:
    text = annotating.draw_boxes(grey(1000, 800), detections((400, 300, 600, 500)), labels=["маска"])
    boxes = annotating.draw_boxes(grey(1000, 800), detections((400, 300, 600, 500)), labels=["\uffff" * 5])
    assert (text != boxes).any()
