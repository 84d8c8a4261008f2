"""Switch off the usage reports of OpenVINO's packages, so that no data leaves the machine."""

import sys


def refuse_telemetry() -> None:
    """Keep `openvino` and `nncf` from sending usage data and from writing a client id into the home folder.

    Both send data to Google Analytics unless a file in the user's home forbids it. They send nothing if the package
    `openvino_telemetry` is not installed, so this function hides that package from this process. Call it before the
    first import of either.
    """
    # With None as its entry, importing the module raises ModuleNotFoundError (documented at sys.modules).
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
