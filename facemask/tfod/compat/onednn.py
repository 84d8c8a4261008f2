"""TensorFlow does not use oneDNN, its fast CPU library, on x86 processors without AVX512-VNNI or AMX (AMD Zen 2, 3).

Without it, a training step of a MobileNet takes about twice as long there: its convolutions, depthwise convolutions and
batch normalisation, forward and backward. The rule is in IsMKLEnabled in tensorflow/core/util/util.cc.
"""

import os
import platform


def repair() -> None:
    """Enable oneDNN on x86, unless TF_ENABLE_ONEDNN_OPTS is set."""
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
