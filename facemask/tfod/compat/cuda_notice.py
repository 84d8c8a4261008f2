"""Since TensorFlow 2.1, one package serves CPU and GPU. It logs a missing driver as an error, "failed call to cuInit".

See tensorflow/tensorflow issue 37689. A TF_CPP_MIN_LOG_LEVEL that suppresses this line would suppress real errors too.
TensorFlow logs it once per process, when it lists the devices. So this repair lists the devices right after the import,
and removes the line from stderr.
"""

import ctypes
import os
import re
from types import ModuleType
from typing import Any

from facemask.core import native_output
from facemask.tfod.compat import imports

NOTICE = "failed call to cuInit"


def repair() -> None:
    """Suppress the notice if there is no driver, unless TF_CPP_MIN_LOG_LEVEL is 0."""
    imports.after_import("tensorflow", _list_devices)


def _list_devices(tensorflow: ModuleType) -> None:
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or _has_driver():
        return
    with native_output.without_lines(re.compile(NOTICE.encode())):
        config: Any = tensorflow.config
        config.list_physical_devices()


def _has_driver() -> bool:
    # With a driver, the notice is a real error.
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
