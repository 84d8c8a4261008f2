"""The detectors from the least to the most accurate, and which of them suits a machine.

The work of each is known; the time is estimated from the rates that `speed_probe` measures. It leaves out reading,
drawing and the suppression of boxes, and can be wrong by a factor of two. `python -m benchmarks.tiers` measures it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from facemask.detect.speed_probe import ProcessorSpeed

VIDEO_MILLISECONDS = 20.0
"""The longest time for a frame of a 1080p video of 25 frames a second, if each frame is to be detected in real time.
Decoding, drawing and encoding a frame take the other half of its 40 ms on two cores (`python -m benchmarks.video`)."""

PICTURE_MILLISECONDS = 120.0
"""The longest time for a picture that seems immediate to a person who sends pictures one by one."""


@dataclass(frozen=True)
class SpeedTier:
    """A detector with the work of one picture.

    Attributes:
        name: What a user types to get it.
        dense: Billions of multiply-accumulate operations in a ResNet's convolutions.
        separable: Billions of them in a MobileNet's.
        ships: Whether it comes with facemask; the others have to be trained.
        in_fp32: Whether it computes in float32 on every machine; the others compute in the machine's precision.
    """

    name: str
    dense: float
    separable: float
    ships: bool = False
    in_fp32: bool = False

    def milliseconds(self, speed: ProcessorSpeed) -> float:
        """The estimated time of a picture on a machine."""
        separable = speed.separable_fp32 if self.in_fp32 else speed.separable
        return 1000 * (self.dense / speed.dense + self.separable / separable)


_FPNLITE_448 = 1.65
"""Counted over the exported network's operations. The work grows with the area of the input."""
_RESNET50_640 = 81.0
"""Counted over the layers: backbone 33, FPN 7, heads 41. Its 1x1 layers are wide, so they count as dense."""

TIERS = (
    SpeedTier("MODEL=ssd_mobilenet_v2_fpnlite_320x320", 0.0, _FPNLITE_448 * (320 / 448) ** 2),
    SpeedTier("MODEL=ssd_mobilenet_v2_fpnlite_640x640 SIZE=448", 0.0, _FPNLITE_448),
    SpeedTier("MODEL=ssd_mobilenet_v2_fpnlite_640x640", 0.0, _FPNLITE_448 * (640 / 448) ** 2),
    SpeedTier("MODEL=ssd_resnet50_v1_fpn_640x640 SIZE=448", _RESNET50_640 * (448 / 640) ** 2, 0.0),
    SpeedTier("MODEL=ssd_resnet50_v1_fpn_640x640", _RESNET50_640, 0.0),
    # One search of YuNet and one classifier, in photographs of some five faces, in one thread with AVX512: at 640
    # pixels 0.7 times the processor time of FPNLite at 448 pixels, at 960 pixels 1.4 times. The networks are like a
    # MobileNet. YuNet computes in float32 on every machine.
    SpeedTier("make classifier; DETECTOR=two_stage FACES_SIZE=640", 0.0, 0.7 * _FPNLITE_448, in_fp32=True),
    SpeedTier("make classifier; DETECTOR=two_stage FACES_SIZE=960", 0.0, 1.4 * _FPNLITE_448, in_fp32=True),
    SpeedTier("RUN=ready-fast", 0.0, 0.7 * _FPNLITE_448, ships=True, in_fp32=True),
    # YuNet at 960 and 1280 pixels and two classifiers take 2.5 times as long as one of each at 960 pixels.
    SpeedTier("RUN=ready", 0.0, 3.5 * _FPNLITE_448, ships=True, in_fp32=True),
)
"""The least accurate first, by the mAP@0.5 of `docs/results.md`: 0.62 for FPNLite at 640 pixels, 0.66 for ResNet50
at its best size, 0.72 and 0.75 for two stages with the published YuNet, 0.80 and 0.85 for those that ship."""


def recommend_tier(speed: ProcessorSpeed, limit: float, tiers: Sequence[SpeedTier] = TIERS) -> SpeedTier:
    """The last of `tiers`, so the most accurate, that takes no more than `limit` milliseconds; else the first."""
    fitting = [tier for tier in tiers if tier.milliseconds(speed) <= limit]
    return fitting[-1] if fitting else tiers[0]


def describe_tiers(speed: ProcessorSpeed, shipped: bool = True) -> str:
    """Lines for people: what to use on this machine, and the estimate for each tier.

    Args:
        speed: The machine's.
        shipped: Whether the tiers that ship are there.
    """
    trained = [tier for tier in TIERS if not tier.ships]
    ready = [tier for tier in TIERS if tier.ships] if shipped else []
    lines = [f"to train your own: {recommend_tier(speed, PICTURE_MILLISECONDS, trained).name}"]
    if ready:
        video = recommend_tier(speed, VIDEO_MILLISECONDS, ready)
        pace = "" if video.milliseconds(speed) <= VIDEO_MILLISECONDS else " DETECT_EVERY=auto"
        lines[:0] = [
            f"for video: {video.name}{pace}",
            f"for pictures: {recommend_tier(speed, PICTURE_MILLISECONDS, ready).name}",
        ]
    lines.append(f"estimated ms a picture in {speed.precision}, two stages in fp32:")
    listed = sorted([*trained, *ready], key=lambda tier: tier.milliseconds(speed))
    rows = [f"  {tier.milliseconds(speed):5.0f}  {tier.name}" for tier in listed]
    return "\n".join([*lines, *rows])
