"""Random augmentation of face pictures, determined by a seed.

`light` flips, rotates, zooms, shifts and brightens. `strong` also changes contrast, saturation and resolution: most
faces of the public data set are smaller than the classifier's input, and a large face shrunk is one more of them.
"""

import math
from typing import Any

ROTATION = math.radians(15)
ZOOM = 0.15
SHIFT = 0.1
BRIGHTNESS = 0.25
CONTRAST = 0.3
SATURATION = 0.5
LUMA = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in a pixel's luma (ITU-R BT.601)."""
RESOLUTIONS = (16, 24, 36)
"""The sides in pixels to which `strong` shrinks pictures, half of them, before it enlarges them again."""


def augment_faces(pictures: Any, seed: Any) -> Any:
    """Flip each picture left to right with a probability of 1/2, and rotate, zoom, shift and brighten it at random.

    All moves of pixels are one bilinear resampling. Outside the picture, its edge pixels are repeated.

    Args:
        pictures: (n, size, size, 3) float32 in 0..255.
        seed: (2,) ints. The same seed and pictures give the same result.

    Returns:
        An array like `pictures`. The largest changes: rotation by 15 degrees, zoom by 15%, shift by 10% of the side,
        brightness by 25%.
    """
    import tensorflow as tf

    shape = tf.shape(pictures)
    count, side = shape[0], tf.cast(shape[1], tf.float32)
    chance = tf.random.stateless_uniform((6, count), seed, -1.0, 1.0)
    flip = tf.sign(chance[0])
    angle, zoom = chance[1] * ROTATION, 1 + chance[2] * ZOOM
    right, down = chance[3] * SHIFT * side, chance[4] * SHIFT * side
    # Maps a point of the new picture to one of the old: rotation and zoom around the centre, then the shift.
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


def augment_faces_strongly(pictures: Any, seed: Any) -> Any:
    """Do what `augment_faces` does, then change each picture's contrast, saturation and resolution at random.

    Args:
        pictures: (n, size, size, 3) float32 in 0..255.
        seed: (2,) ints. The same seed and pictures give the same result.

    Returns:
        An array like `pictures`. The largest changes: contrast by 30%, saturation by 50%; half of the pictures are
        shrunk to one of `RESOLUTIONS` and enlarged again.
    """
    import tensorflow as tf

    moved = augment_faces(pictures, seed)
    seed = tf.add(seed, [0, 1 << 20])  # `augment_faces` has drawn from the seed itself
    chance = tf.random.stateless_uniform((3, tf.shape(pictures)[0]), seed, -1.0, 1.0)
    contrast, saturation = (1 + chance[k][:, None, None, None] * share for k, share in ((0, CONTRAST), (1, SATURATION)))
    grey = tf.reduce_sum(moved * LUMA, axis=3, keepdims=True)
    coloured = grey + (moved - grey) * saturation
    mean = tf.reduce_mean(coloured, axis=(1, 2, 3), keepdims=True)
    lit = tf.clip_by_value(mean + (coloured - mean) * contrast, 0.0, 255.0)
    side = tf.shape(pictures)[1:3]
    shrunk = [
        tf.image.resize(tf.image.resize(lit, (small, small), method="area"), side, method="bilinear")
        for small in RESOLUTIONS
    ]
    # -1..0 keeps the picture; 0..1 chooses one of the resolutions.
    choice = tf.cast(tf.floor(chance[2] * len(RESOLUTIONS)), tf.int32)
    index = tf.clip_by_value(choice + 1, 0, len(RESOLUTIONS))
    return tf.gather(tf.stack([lit, *shrunk], axis=1), index, axis=1, batch_dims=1)


AUGMENTATIONS = {"light": augment_faces, "strong": augment_faces_strongly}
"""The augmentations by the name that AUGMENT= takes; `none` is no augmentation."""
