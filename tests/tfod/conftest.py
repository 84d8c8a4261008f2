from collections.abc import Callable, Iterator
from typing import Any

import pytest

BATCHES = 20
"""Batches of the API's input that a stand-in for it repeats."""


def repeated_input(make: Callable[..., Any]) -> Callable[..., Any]:
    """The API's `train_input`, of which each batch size and each record file is read once, to its 20th batch.

    To trace the reading takes several times as long as to train the small model.
    """
    import tensorflow as tf

    made: dict[tuple[int, str], Any] = {}

    def train_input(train_config: Any, train_input_config: Any, **more: Any) -> Any:
        key = (train_config.batch_size, str(train_input_config))
        if key not in made:
            batches = make(train_config=train_config, train_input_config=train_input_config, **more).take(BATCHES)
            made[key] = tf.nest.map_structure(lambda *values: tf.stack(values), *batches)
        return tf.data.Dataset.from_tensor_slices(made[key])

    return train_input


@pytest.fixture(scope="module")
def small_model() -> Iterator[None]:
    """In this process, the API builds a detector of two layers for a config of an SSD (`small_detector`)."""
    import small_detector
    import tensorflow as tf
    from object_detection import inputs
    from object_detection.builders import model_builder

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(model_builder.META_ARCH_BUILDER_MAP, "ssd", small_detector.build)
        patch.setattr(inputs, "train_input", repeated_input(inputs.train_input))
        yield
    tf.keras.backend.clear_session()  # the train loop leaves Keras in its training phase
