"""TensorFlow warns at every call of the many functions of it that are deprecated and that the API calls.

Only messages that are known to be harmless are suppressed, by their origin and text. All other warnings and errors are
shown.
"""

import logging
import os
import re
import warnings
from types import ModuleType

from facemask.tfod.compat import imports

CALLERS = r"[/\\](?:site|dist)-packages[/\\](?:object_detection|official|orbit|tensorflow|tf_keras|tf_slim)[/\\]"

LOGGED = re.compile(
    "|".join(
        (
            # Calls by the API, or by TensorFlow for it. Calls from this project's code still warn.
            rf"From .*{CALLERS}.* is deprecated and will be removed",
            # model_lib_v2 logs both at every evaluation, whatever the config.
            r"Forced number of epochs for all eval validations to be 1\.",
            r"Expected number of evaluation epochs is 1, but instead encountered `eval_on_train_input_config",
            # The exporter saves a tf.Module that contains the model. The model as a Keras layer is not needed.
            r"Skipping full serialization of TF-Keras layer <object_detection\.",
            r"Found untraced functions such as ",
            r"Function `call_func` contains input name\(s\) ",
            # Details of saving, for TensorFlow's developers.
            r"Sharding callback duration: ",
            r"Writing fingerprint to ",
        )
    )
)
"""Matches the beginning of the log messages to suppress."""


def repair() -> None:
    """Suppress harmless messages from Python and, unless TF_CPP_MIN_LOG_LEVEL is set, from C++."""
    # 1 suppresses C++'s INFO lines (processor features, oneDNN, "Could not find cuda drivers"), not its warnings.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    _add_filter(logging.getLogger("tensorflow"), wanted)
    # absl creates its logger with its own class, so the logger must not exist before.
    imports.after_import("absl.logging", _filter_absl)
    imports.after_import("tensorflow", _filter_handlers)
    # TensorFlow's cluster resolvers import it. It warns years in advance that a Python version will not be supported.
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
    # TensorFlow adds its own handler only if the root logger has none. absl later adds one to the root logger, and each
    # line would be shown twice.
    return not logging.getLogger().handlers


def _add_filter(to: logging.Filterer, function: object) -> None:
    if function not in to.filters:
        to.addFilter(function)  # type: ignore[arg-type]
