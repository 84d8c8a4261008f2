"""The API's detection model, with its variables."""

from typing import Any


def build(config: Any, *, is_training: bool, add_summaries: bool = False) -> Any:
    """Build a detection model and create its variables, by one eager prediction on a small black image.

    The API's way to the variables (`_ensure_model_is_built`) traces a graph for it, which takes several times as long.

    Args:
        config: The `model` part of a pipeline.config.
        is_training: Whether batch norm and dropout are to train.
        add_summaries: Whether the model writes summaries of its own.

    Returns:
        The API's DetectionModel.
    """
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = model_builder.build(config, is_training=is_training, add_summaries=add_summaries)
    image, shape = model.preprocess(tf.zeros((1, 256, 256, 3)))
    model.predict(image, shape)
    return model
