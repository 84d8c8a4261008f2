"""Compare detectors on the same images: their metrics, and whether the differences are statistically significant."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facemask.core.errors import UserError
from facemask.evaluation import bootstrap, evaluate
from facemask.evaluation.bootstrap import ConfidenceInterval
from facemask.evaluation.evaluate import MatchedEvaluation


@dataclass(frozen=True)
class ComparedClass:
    """AP at IoU 0.5 of one class, and its difference from the first system's AP (None for the first system)."""

    name: str
    boxes: int
    ap50: ConfidenceInterval
    change50: ConfidenceInterval | None


@dataclass(frozen=True)
class ComparedSystem:
    """One of the detectors that are compared.

    Attributes:
        name: The name of its evaluation.
        detector: What ran the model, for people.
        map50: mAP at IoU 0.5.
        map: mAP over IoU 0.50 ... 0.95.
        change50: Difference in `map50` from the first system; None for the first system.
        change: Difference in `map` from the first system; None for the first system.
        classes: The same for each class.
        latency_ms: Median time in milliseconds for a batch.
        images_per_second: Images a second, with reading and decoding.
        hardware: What it ran on, for people.
    """

    name: str
    detector: str
    map50: ConfidenceInterval
    map: ConfidenceInterval
    change50: ConfidenceInterval | None
    change: ConfidenceInterval | None
    classes: tuple[ComparedClass, ...]
    latency_ms: float
    images_per_second: float
    hardware: str


@dataclass(frozen=True)
class Comparison:
    """Metrics of detectors on the same images, with 95% intervals over `draws` draws of the images."""

    images: int
    boxes: int
    draws: int
    seed: int
    systems: tuple[ComparedSystem, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {"format": 1, **dataclasses.asdict(self)}


def parse_run_names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of runs.

    Raises:
        UserError: The list has fewer than two names, or one name twice.
    """
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if len(found) < 2 or len(set(found)) < len(found):
        raise UserError(f"runs {text!r}: give two or more different names, separated by commas: first,second.")
    return found


def compare_evaluations(
    saved: Sequence[MatchedEvaluation], draws: int = bootstrap.DEFAULT_DRAWS, seed: int = 0
) -> Comparison:
    """Compare evaluations of the same images.

    Raises:
        UserError: The evaluations have different images or classes.
    """
    evaluate.refuse_different_images(saved)
    counts = bootstrap.draw_images(len(saved[0].truths), draws, seed)
    sampled = [bootstrap.bootstrap_ap(one.matches, counts) for one in saved]
    first = sampled[0]

    def against_first(place: int, values: np.ndarray, reference: np.ndarray) -> ConfidenceInterval | None:
        return None if place == 0 else bootstrap.percentile_interval(values - reference)

    systems = []
    for place, (one, own) in enumerate(zip(saved, sampled, strict=True)):
        classes = tuple(
            ComparedClass(
                name=name,
                boxes=one.metrics["figures"]["classes"][index]["boxes"],
                ap50=bootstrap.percentile_interval(own.ap50[:, index]),
                change50=against_first(place, own.ap50[:, index], first.ap50[:, index]),
            )
            for index, name in enumerate(one.label_map.names)
        )
        speed = one.metrics["speed"]
        systems.append(
            ComparedSystem(
                name=one.folder.name,
                detector=one.metrics["model"]["detector"],
                map50=bootstrap.percentile_interval(own.map50),
                map=bootstrap.percentile_interval(own.map),
                change50=against_first(place, own.map50, first.map50),
                change=against_first(place, own.map, first.map),
                classes=classes,
                latency_ms=speed["latency_ms"],
                images_per_second=speed["images_per_second"],
                hardware=speed["hardware"],
            )
        )
    return Comparison(len(saved[0].truths), saved[0].metrics["figures"]["boxes"], draws, seed, tuple(systems))


def describe_difference(system: ComparedSystem, first: ComparedSystem) -> str:
    """One sentence: how `system` differs from `first` in mAP@.5, and whether the difference is significant."""
    return describe_change(system.change50, first.name, "mAP@.5")


def describe_change(change: ConfidenceInterval | None, first: str, metric: str) -> str:
    """One sentence: a difference in `metric` from the system named `first`, and whether it is significant."""
    if change is None or change.estimate is None or change.low is None or change.high is None:
        return "The others are compared with this one."
    points = f"{abs(100 * change.estimate):.1f} points of {metric}"
    ends = f"95% interval {100 * change.low:+.1f} to {100 * change.high:+.1f}".replace("-", "\N{MINUS SIGN}")
    if not change.excludes_zero:
        return f"No significant difference from {first} on these images: {points}, {ends}."
    return f"{'Better' if change.estimate > 0 else 'Worse'} than {first} by {points} ({ends})."
