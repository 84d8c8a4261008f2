"""TensorFlow 2.1 made one package for CPU and GPU; it calls a missing driver an error, "failed call to cuInit".

It has done so ever since (tensorflow/tensorflow issue 37689). No TF_CPP_MIN_LOG_LEVEL that would drop this line would
let real errors through. It is written once in a process, when the devices are listed: so they are listed at once, with
stderr held back meanwhile.
"""

import ctypes
import os
import re
from types import ModuleType
from typing import Any

from scripts.support import native_output
from scripts.tfod.compat import imports

NOTICE = "failed call to cuInit"


def repair() -> None:
    """Drop the notice where there is no driver; TF_CPP_MIN_LOG_LEVEL=0 keeps it."""
    imports.after("tensorflow", _list_devices)


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
