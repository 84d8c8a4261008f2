"""TensorFlow deprecated much of what the API calls, and says so at every call, among lines of no use to a user.

Only messages known to be harmless are dropped, by who says what; all other warnings and errors pass.
"""

import logging
import os
import re
import warnings
from types import ModuleType

from scripts.tfod.compat import imports

CALLERS = r"[/\\](?:site|dist)-packages[/\\](?:object_detection|official|orbit|tensorflow|tf_keras|tf_slim)[/\\]"

LOGGED = re.compile(
    "|".join(
        (
            # Calls by the API or, on its behalf, by TensorFlow; calls by code of this project still warn.
            rf"From .*{CALLERS}.* is deprecated and will be removed",
            # model_lib_v2 says both at every evaluation, whatever its config says.
            r"Forced number of epochs for all eval validations to be 1\.",
            r"Expected number of evaluation epochs is 1, but instead encountered `eval_on_train_input_config",
            # The exporter saves a tf.Module around the model; the model as a Keras layer is not needed.
            r"Skipping full serialization of TF-Keras layer <object_detection\.",
            r"Found untraced functions such as ",
            r"Function `call_func` contains input name\(s\) ",
            # What saving did, for TensorFlow's own developers.
            r"Sharding callback duration: ",
            r"Writing fingerprint to ",
        )
    )
)
"""The beginnings of the log messages to drop."""


def repair() -> None:
    """Drop what is known to be harmless, in Python and, unless TF_CPP_MIN_LOG_LEVEL is set, in C++."""
    # 1 drops C++'s INFO lines (processor features, oneDNN, "Could not find cuda drivers"), not its warnings.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    _add_filter(logging.getLogger("tensorflow"), wanted)
    # absl makes its logger of a class of its own, so it must not exist before.
    imports.after("absl.logging", _filter_absl)
    imports.after("tensorflow", _filter_handlers)
    # Imported by TensorFlow's cluster resolvers; tells that a Python version will end, years ahead.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core\.")
    warnings.filterwarnings("ignore", message="`tf.keras.backend.set_learning_phase` is deprecated")


def wanted(record: logging.LogRecord) -> bool:
    """Whether a log record may reach the user."""
    return not LOGGED.match(record.getMessage())


def _filter_absl(_: ModuleType) -> None:
    _add_filter(logging.getLogger("absl"), wanted)


def _filter_handlers(_: ModuleType) -> None:
    for handler in logging.getLogger("tensorflow").handlers:
        _add_filter(handler, _not_shown_by_root)


def _not_shown_by_root(record: logging.LogRecord) -> bool:
    # TensorFlow adds its own handler only where the root has none; absl gives the root one later, and each line would
    # be shown twice.
    return not logging.getLogger().handlers


def _add_filter(to: logging.Filterer, function: object) -> None:
    if function not in to.filters:
        to.addFilter(function)  # type: ignore[arg-type]
