"""What a lower precision costs in accuracy: the limit, and the files (`PLACES`) in which the export says so."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.support.files import write_json

POINTS = 0.5
"""Points (hundredths) of mAP@0.5 that a lower precision may lose against float32."""

PLACES = {"bf16": "openvino/bf16.json", "int8": "int8/int8.json"}
"""Where in the exported model's folder what was measured of a precision stands."""


@dataclass(frozen=True)
class Lowered:
    """A lower precision beside float32, both measured on the same pictures.

    Attributes:
        precision: `bf16` or `int8`.
        images: Pictures, of the val split.
        map50: mAP@0.5 in 0..1.
        map50_fp32: That of float32.
        latency_ms: Median time for a picture.
        latency_ms_fp32: That of float32.
        part: What of the network is in this precision.
    """

    precision: str
    images: int
    map50: float
    map50_fp32: float
    latency_ms: float
    latency_ms_fp32: float
    part: str = "all"

    @property
    def points(self) -> float:
        """The change of mAP@0.5 in points, negative for a loss."""
        return round(100 * (self.map50 - self.map50_fp32), 6)  # half a point is half a point, whatever its last bit

    @property
    def allowed(self) -> bool:
        """Whether no more than `POINTS` are lost."""
        return self.points >= -POINTS

    def __str__(self) -> str:
        """For people."""
        return (
            f"mAP@0.5 {self.map50:.4f}, {self.points:+.2f} points against fp32 on {self.images} pictures of val, "
            f"{self.latency_ms:.0f} ms a picture against {self.latency_ms_fp32:.0f}"
        )

    def write(self, path: Path, made: dict[str, Any]) -> None:
        """Write it; `made` is what `provenance.made_by` says of it."""
        write_json(path, {"format": 1, **dataclasses.asdict(self), "allowed": self.allowed, "made": made})


def is_refused(folder: Path, precision: str) -> bool:
    """Whether the export measured that a precision loses too much. What was not measured is not refused.

    Args:
        folder: The exported model's folder.
        precision: One of `PLACES`.
    """
    try:
        return json.loads((folder / PLACES[precision]).read_text(encoding="utf-8"))["allowed"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False
