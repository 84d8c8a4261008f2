"""The loss of accuracy that a lower precision may have, and the files in which the export writes the measured loss."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core.files import write_json

MAX_POINTS_LOST = 0.5
"""Points (hundredths) of mAP@0.5 that a lower precision may lose against float32."""

RESULT_FILES = {"bf16": "openvino/bf16.json", "int8": "int8/int8.json"}
"""The files in an exported model's folder that hold the measurement of each precision."""


@dataclass(frozen=True)
class LowerPrecision:
    """A lower precision beside float32, both measured on the same pictures.

    Attributes:
        precision: `bf16`, `int8`, or another of `litert_model.FORMS`.
        images: Pictures.
        map50: mAP@0.5 in 0..1.
        map50_fp32: That of float32.
        latency_ms: Median time for a picture.
        latency_ms_fp32: That of float32.
        part: The part of the network, or of the detector, that is in this precision.
        source: The source of the pictures, for people.
        limit: The most points that it may lose.
    """

    precision: str
    images: int
    map50: float
    map50_fp32: float
    latency_ms: float
    latency_ms_fp32: float
    part: str = "all"
    source: str = "val"
    limit: float = MAX_POINTS_LOST

    @property
    def points(self) -> float:
        """The change of mAP@0.5 in points, negative for a loss."""
        return round(100 * (self.map50 - self.map50_fp32), 6)  # half a point is half a point, whatever its last bit

    @property
    def allowed(self) -> bool:
        """Whether no more than `limit` points are lost."""
        return self.points >= -self.limit

    def __str__(self) -> str:
        """One line of text."""
        return (
            f"mAP@0.5 {self.map50:.4f}, {self.points:+.2f} points against fp32 on {self.images} pictures of "
            f"{self.source}, {self.latency_ms:.0f} ms a picture against {self.latency_ms_fp32:.0f}"
        )

    def write(self, path: Path, made: dict[str, Any]) -> None:
        """Write the measurement; `made` is its provenance, from `provenance.made_by`."""
        write_json(path, {"format": 1, **dataclasses.asdict(self), "allowed": self.allowed, "made": made})


def is_refused(folder: Path, precision: str) -> bool:
    """Whether the export measured that a precision loses too much. Without a measurement it is not refused.

    Args:
        folder: The exported model's folder.
        precision: One of `RESULT_FILES`.
    """
    try:
        return json.loads((folder / RESULT_FILES[precision]).read_text(encoding="utf-8"))["allowed"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False
