import subprocess
import sys


def test_modules_import_with_all_repairs():
    code = (
        "from scripts.tfod import compat; compat.install(); compat.install();"
        "import object_detection.model_main_tf2, object_detection.exporter_lib_v2"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
