"""How Keras models are saved as SavedModels."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def saving_without_layer_functions() -> Iterator[None]:
    """Have Keras save no functions of single layers in a SavedModel: nobody calls them, and tracing them takes time.

    Keras's `Model.save(save_traces=False)` does the same. The API and `tf.saved_model.save` have no such option.
    """
    from tf_keras.src.saving.legacy.saved_model import utils

    with utils.keras_option_scope(save_traces=False, in_tf_saved_model_scope=False):
        yield
