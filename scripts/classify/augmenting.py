"""Pictures of faces turned, moved and lit anew, of a seed alone."""

import math
from typing import Any

ROTATION = math.radians(15)
ZOOM = 0.15
SHIFT = 0.1
BRIGHTNESS = 0.25


def augment(pictures: Any, seed: Any) -> Any:
    """Flip every second picture left to right, and rotate, zoom, shift and brighten all, each by its own chance.

    One resampling does all that moves pixels: bilinear, and beyond the picture its edge goes on.

    Args:
        pictures: (n, size, size, 3) float32 in 0..255.
        seed: (2,) ints: the same seed does the same to the same pictures.

    Returns:
        As `pictures`, at most rotated by 15 degrees, zoomed by 15%, shifted by 10% of the side and brightened by 25%.
    """
    import tensorflow as tf

    shape = tf.shape(pictures)
    count, side = shape[0], tf.cast(shape[1], tf.float32)
    chance = tf.random.stateless_uniform((6, count), seed, -1.0, 1.0)
    flip = tf.sign(chance[0])
    angle, zoom = chance[1] * ROTATION, 1 + chance[2] * ZOOM
    right, down = chance[3] * SHIFT * side, chance[4] * SHIFT * side
    # From a place in the new picture to one in the old: rotated and zoomed around the centre, then shifted.
    cosine, sine = tf.cos(angle) * zoom, tf.sin(angle) * zoom
    centre = (side - 1) / 2
    columns = (
        cosine * flip,
        -sine,
        centre + right - (cosine * flip - sine) * centre,
        sine * flip,
        cosine,
        centre + down - (sine * flip + cosine) * centre,
        tf.zeros(count),
        tf.zeros(count),
    )
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=tf.stack(columns, axis=1),
        output_shape=shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    light = 1 + chance[5][:, None, None, None] * BRIGHTNESS
    return tf.clip_by_value(moved * light, 0.0, 255.0)
