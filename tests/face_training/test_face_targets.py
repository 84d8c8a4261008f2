"""Which cells learn which face, the loss of what they give, and the views that they learn from."""

import numpy as np
import pytest

from facemask.detect.faces.yunet import STRIDES
from facemask.face_training.face_assignment import assign_cells, grid_cells
from facemask.face_training.face_loss import choose_targets, decode_boxes, face_loss
from facemask.face_training.face_views import View, random_view

CELLS = grid_cells(128, 128, STRIDES)
FACE = np.array([30.0, 40.0, 62.0, 80.0], np.float32)
NOTHING = np.zeros((0, 4), np.float32)


def own_squares() -> np.ndarray:
    """Every cell predicts the square of four of its sides around its middle."""
    middles = CELLS[:, :2] + CELLS[:, 2:] / 2
    return np.concatenate([middles - 2 * CELLS[:, 2:], middles + 2 * CELLS[:, 2:]], axis=1)


def test_cells_near_a_face_that_predict_it_best_learn_it() -> None:
    boxes, scores = own_squares(), np.full(len(CELLS), 0.5)
    chosen = assign_cells(CELLS, FACE[np.newaxis], boxes, scores)
    [learning] = np.nonzero(chosen == 0)
    middles = CELLS[learning, :2] + CELLS[learning, 2:] / 2
    assert 1 <= len(learning) <= 10
    assert (np.abs(middles - [46, 60]) < 2.5 * CELLS[learning, 2:]).all()
    assert set(CELLS[learning, 2]) == {8.0}  # the squares of 32 pixels are the most like a face of 32 x 40
    # A cell that predicts the face exactly is chosen before all others.
    exact = int(np.flatnonzero((CELLS == [32, 48, 16]).all(axis=1))[0])
    assert chosen[exact] == -1
    boxes[exact] = FACE
    assert assign_cells(CELLS, FACE[np.newaxis], boxes, scores)[exact] == 0


def test_a_cell_learns_one_of_two_faces_and_each_face_has_one() -> None:
    faces = np.stack([FACE, FACE + 8])
    chosen = assign_cells(CELLS, faces, own_squares(), np.full(len(CELLS), 0.5))
    assert {0, 1} <= set(chosen)
    assert (assign_cells(CELLS, NOTHING, own_squares(), np.full(len(CELLS), 0.5)) == -1).all()


def test_the_loss_is_least_for_what_is_labelled() -> None:
    import tensorflow as tf

    view = View(np.zeros((128, 128, 3), np.float32), FACE[np.newaxis], np.array([[90.0, 90, 120, 120]], np.float32))
    boxes, scores = own_squares()[np.newaxis], np.full((1, len(CELLS)), 0.5)
    assigned, learns, counts = choose_targets(CELLS, boxes, scores, [view])
    assert learns.sum() >= 1 and (assigned[learns == 1] == FACE).all()
    on_it = ((CELLS[:, :2] + CELLS[:, 2:] / 2 > 90) & (CELLS[:, :2] + CELLS[:, 2:] / 2 < 120)).all(axis=1)
    assert (counts[0] == ~on_it).all()

    def loss(shift: float, sure: float) -> float:
        sides = CELLS[:, 2:]
        wanted = FACE + shift
        centre = ((wanted[:2] + wanted[2:]) / 2 - CELLS[:, :2]) / sides
        size = np.log((wanted[2:] - wanted[:2]) / sides)
        logit = np.where(learns == 1, sure, -sure).astype(np.float32)
        outputs = {"cls": logit, "obj": logit, "bbox": np.concatenate([centre, size], axis=1)[np.newaxis]}
        tensors = {name: tf.constant(value.astype(np.float32)) for name, value in outputs.items()}
        np.testing.assert_allclose(decode_boxes(tf.constant(CELLS), tensors["bbox"])[0, 7], wanted, rtol=1e-4)
        return float(face_loss(tensors, CELLS, [tf.constant(one) for one in (assigned, learns, counts)]))

    right = loss(0, 8)
    assert right < 0.5
    assert loss(3, 8) > right + 0.5  # the box is off
    assert loss(0, -8) > right + 8  # it is not sure of the face, and sure of all others


def test_a_view_moves_the_boxes_with_the_pixels() -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    image[30:50, 40:70] = 255
    boxes = np.array([[40.0, 30, 70, 50], [0, 0, 1.2, 1.2]])
    kept = 0
    for seed in range(40):
        view = random_view(image, boxes, np.array([False, False]), 128, (100, 400), np.random.default_rng(seed))
        assert view.pixels.shape == (128, 128, 3) and view.pixels.dtype == np.float32
        bright = view.pixels.mean(axis=2) > 160
        if not len(view.faces):
            continue
        kept += 1
        rows, columns = np.nonzero(bright)
        [[left, top, right, bottom]] = view.faces  # the corner's box is too small to be learned
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, [left, top, right, bottom], atol=2.5)
    assert kept > 20


def test_a_views_box_is_on_its_face_to_a_tenth_of_a_pixel() -> None:
    image = np.full((90, 120, 3), 60, np.uint8)
    image[30:50, 40:70] = 180
    boxes, kept = np.array([[40.0, 30, 70, 50]]), 0
    for seed in range(60):
        view = random_view(image, boxes, np.array([False]), 256, (100, 800), np.random.default_rng(seed))
        if not len(view.faces) or view.faces.min() < 8 or view.faces.max() > 248:
            continue
        kept += 1
        left, top = np.floor(view.faces[0, :2] - 4).astype(int)
        right, bottom = np.ceil(view.faces[0, 2:] + 4).astype(int)
        bright = view.pixels[top:bottom, left:right].mean(axis=2)
        bright -= bright.min()
        centre_x = (bright.sum(axis=0) * (np.arange(left, right) + 0.5)).sum() / bright.sum()
        centre_y = (bright.sum(axis=1) * (np.arange(top, bottom) + 0.5)).sum() / bright.sum()
        np.testing.assert_allclose([centre_x, centre_y], view.faces[0].reshape(2, 2).mean(axis=0), atol=0.1)
    assert kept > 20


@pytest.mark.parametrize("share", [0, 1])
def test_the_share_of_mirrored_views(share: int) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = 255
    for seed in range(10):
        random = np.random.default_rng(seed)
        view = random_view(image, np.zeros((0, 4)), np.zeros(0, bool), 64, (64, 65), random, mirror=share)
        assert (view.pixels[:, :32].mean() < view.pixels[:, 32:].mean()) == bool(share)


def test_difficult_faces_are_ignored_not_background() -> None:
    image, boxes = np.zeros((100, 100, 3), np.uint8), np.array([[20.0, 20, 60, 60]])
    for difficult in (False, True):
        view = random_view(image, boxes, np.array([difficult]), 128, (100, 101), np.random.default_rng(0))
        assert (len(view.faces), len(view.ignored)) == ((0, 1) if difficult else (1, 0))


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_a_view_is_in_bgr(colour: int) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :, colour] = 255
    view = random_view(image, np.zeros((0, 4)), np.zeros(0, bool), 64, (64, 65), np.random.default_rng(1))
    assert view.pixels.mean(axis=(0, 1)).argmax() == 2 - colour
