"""Compare classifiers that were cross-validated on the same faces, from the answers in their reports."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.evaluation import bootstrap, cross_validation
from facemask.evaluation.bootstrap import ConfidenceInterval


@dataclass(frozen=True)
class ComparedClassifier:
    """A classifier on all held-out faces, with 95% intervals over pictures.

    Attributes:
        name: The name of its cross-validation.
        macro_f1: The mean of the classes' F1.
        accuracy: The share of correctly classified faces.
        change: Difference in `macro_f1` from the first classifier; None for the first.
    """

    name: str
    macro_f1: ConfidenceInterval
    accuracy: ConfidenceInterval
    change: ConfidenceInterval | None


@dataclass(frozen=True)
class ClassifierComparison:
    """Classifiers on the same faces, over the same `draws` draws of the pictures."""

    faces: int
    draws: int
    seed: int
    classifiers: tuple[ComparedClassifier, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of the comparison's file."""
        return {"format": 1, **dataclasses.asdict(self)}


def compare_classifiers(folders: Sequence[Path], draws: int, seed: int) -> ClassifierComparison:
    """Compare the reports of cross-validations of the classifier alone.

    Raises:
        UserError: A folder holds no such report, or two of them have different faces, labels or classes.
    """
    answers = [cross_validation.read_reported_answers(folder) for folder in folders]
    labels = [dict(zip(one.names, one.labels.tolist(), strict=True)) for one in answers]
    for folder, one, faces in zip(folders, answers, labels, strict=True):
        if one.classes != answers[0].classes or faces != labels[0]:
            raise UserError(
                f"{folder} and {folders[0]} have different faces, labels or classes ({len(faces)} and {len(labels[0])} "
                "faces). Run `make crossval` of both on the same folds, with the same MIN_FACE."
            )
    sampled = [cross_validation.sample_answers(one, draws, seed) for one in answers]
    compared = tuple(
        ComparedClassifier(
            name=folder.name,
            macro_f1=bootstrap.percentile_interval(own.macro_f1),
            accuracy=bootstrap.percentile_interval(own.accuracy),
            change=bootstrap.percentile_interval(own.macro_f1 - sampled[0].macro_f1) if place else None,
        )
        for place, (folder, own) in enumerate(zip(folders, sampled, strict=True))
    )
    return ClassifierComparison(len(labels[0]), draws, seed, compared)
