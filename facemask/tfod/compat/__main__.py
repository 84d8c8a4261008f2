"""Run one of the API's programs with its flags on the installed TensorFlow.

Example:
    $ python -m facemask.tfod.compat object_detection.model_main_tf2 --pipeline_config_path=... --model_dir=...
"""

import runpy
import sys

from facemask.tfod import compat

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"{__doc__}")
    compat.install()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
