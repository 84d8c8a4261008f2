"""Time YOLO in PyTorch and in OpenVINO. `benchmarks.tiers` runs this file with the Python of an environment of its own.

    python benchmarks/yolo_speed.py <folder> pictures.npy yolo11n,yolo11s,yolo26n

ultralytics is AGPL-3.0 and brings PyTorch, so it is not in the project's environment, and this file imports nothing of
the project. The weights are random, which is enough for times: with them hardly a box scores enough to be suppressed.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

os.environ["YOLO_OFFLINE"] = "true"  # without it, ultralytics reports its use
import ultralytics

SIZE = 640


def main(folder: Path, pictures: Path, names: str) -> None:
    """Print a JSON list with a row for each network and runtime."""
    os.chdir(folder)
    images = list(np.load(pictures))
    rows = []
    for name in names.split(","):
        torch = ultralytics.YOLO(f"{name}.yaml")
        torch.save(f"{name}.pt")
        converted = ultralytics.YOLO(f"{name}.pt").export(format="openvino", imgsz=SIZE, verbose=False)
        for runtime, model in (("PyTorch", torch), ("OpenVINO", ultralytics.YOLO(converted, task="detect"))):
            times = []
            for image in [images[0], *images]:  # the first call prepares the network
                begun = time.perf_counter()
                model.predict(image, imgsz=SIZE, conf=0.25, verbose=False)
                times.append(time.perf_counter() - begun)
            ms = np.array(times[1:]) * 1000
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            rows.append(
                {
                    "tier": f"{name}, random weights",
                    "name": runtime,
                    "ms": float(np.median(ms)),
                    "p95": float(np.quantile(ms, 0.95)),
                    "bytes": memory,
                }
            )
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
