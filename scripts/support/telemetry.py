"""Nothing leaves the machine: what OpenVINO's packages would report about their use is not reported."""

import sys


def refuse() -> None:
    """Keep `openvino` and `nncf` from sending usage data and from writing a client id into the home folder.

    Both send to Google Analytics unless a file in the user's home says no, and both do without where the package
    `openvino_telemetry` is not installed: for this process it is not, then. To be called before their first import.
    """
    # The documented meaning of None here: importing the name raises ModuleNotFoundError.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
