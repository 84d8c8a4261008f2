"""Several detectors on the same images: is one better, or was it luck?"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.scoring import bootstrap, evaluation
from scripts.scoring.bootstrap import Interval
from scripts.scoring.evaluation import Saved
from scripts.support.errors import UserError


@dataclass(frozen=True)
class ClassResult:
    """AP at IoU 0.5 of one class, and its difference to the first system's (None for the first itself)."""

    name: str
    boxes: int
    ap50: Interval
    change50: Interval | None


@dataclass(frozen=True)
class System:
    """One detector among those compared; the changes are against the first, None for the first itself."""

    name: str
    detector: str
    map50: Interval
    map: Interval
    change50: Interval | None
    change: Interval | None
    classes: tuple[ClassResult, ...]
    latency_ms: float
    images_per_second: float
    hardware: str


@dataclass(frozen=True)
class Comparison:
    """Detectors side by side on the same images, with 95% intervals over `draws` draws of the images."""

    images: int
    boxes: int
    draws: int
    seed: int
    systems: tuple[System, ...]

    def to_json(self) -> dict[str, Any]:
        """As it stands in compare.json."""
        return {"format": 1, **dataclasses.asdict(self)}


def names(text: str) -> tuple[str, ...]:
    """The runs' names from a comma-separated list.

    Raises:
        UserError: Fewer than two, or one twice.
    """
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if len(found) < 2 or len(set(found)) < len(found):
        raise UserError(f"runs {text!r}: give two or more different names, with commas between: first,second.")
    return found


def compare(saved: Sequence[Saved], draws: int = bootstrap.DRAWS, seed: int = 0) -> Comparison:
    """Compare evaluations of the same images.

    Raises:
        UserError: They are of different images or classes.
    """
    evaluation.same_images(saved)
    counts = bootstrap.draw(len(saved[0].truths), draws, seed)
    sampled = [bootstrap.sample(evaluation.matches_of(one), counts) for one in saved]
    first = sampled[0]

    def against_first(place: int, values: np.ndarray, reference: np.ndarray) -> Interval | None:
        return None if place == 0 else bootstrap.interval(values - reference)

    systems = []
    for place, (one, own) in enumerate(zip(saved, sampled, strict=True)):
        classes = tuple(
            ClassResult(
                name=name,
                boxes=one.metrics["figures"]["classes"][index]["boxes"],
                ap50=bootstrap.interval(own.ap50[:, index]),
                change50=against_first(place, own.ap50[:, index], first.ap50[:, index]),
            )
            for index, name in enumerate(one.label_map.names)
        )
        speed = one.metrics["speed"]
        systems.append(
            System(
                name=one.folder.name,
                detector=one.metrics["model"]["detector"],
                map50=bootstrap.interval(own.map50),
                map=bootstrap.interval(own.map),
                change50=against_first(place, own.map50, first.map50),
                change=against_first(place, own.map, first.map),
                classes=classes,
                latency_ms=speed["latency_ms"],
                images_per_second=speed["images_per_second"],
                hardware=speed["hardware"],
            )
        )
    return Comparison(len(saved[0].truths), saved[0].metrics["figures"]["boxes"], draws, seed, tuple(systems))


def verdict(system: System, first: System) -> str:
    """One sentence that says what the difference in mAP@.5 is worth."""
    change = system.change50
    if change is None or change.estimate is None or change.low is None or change.high is None:
        return "The one that the others are held against."
    points = f"{abs(100 * change.estimate):.1f} points of mAP@.5"
    ends = f"95% interval {100 * change.low:+.1f} to {100 * change.high:+.1f}".replace("-", "\N{MINUS SIGN}")
    if not change.excludes_zero:
        return f"No difference to {first.name} that these images could show: {points} apart, {ends}."
    return f"{'Better' if change.estimate > 0 else 'Worse'} than {first.name} by {points} ({ends})."
