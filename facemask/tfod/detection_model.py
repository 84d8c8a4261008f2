"""Build the API's detection model with its variables, and choose the precision in which Keras's layers compute."""

import contextlib
from collections.abc import Iterator
from typing import Any


def build_detection_model(config: Any, *, is_training: bool, add_summaries: bool = False) -> Any:
    """Build a detection model and create its variables, by one eager prediction on a small black image.

    The API itself (`_ensure_model_is_built`) traces a graph to create them, which takes several times as long.

    Args:
        config: The `model` part of a pipeline.config.
        is_training: Whether batch normalisation and dropout run in training mode.
        add_summaries: Whether the model writes its own summaries.

    Returns:
        The API's DetectionModel with its variables.
    """
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = model_builder.build(config, is_training=is_training, add_summaries=add_summaries)
    image, shape = model.preprocess(tf.zeros((1, 256, 256, 3)))
    model.predict(image, shape)
    return model


@contextlib.contextmanager
def precision(bf16: bool) -> Iterator[None]:
    """Let the layers that are built in this block compute in bfloat16, or else in float32."""
    import tf_keras

    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if bf16 else "float32")
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
