"""The labels of now, paired with detections of a model that was not trained on their pictures.

The detections are those of a saved evaluation, so corrected labels lose their suspicion without another training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.core.errors import UserError
from facemask.data import voc
from facemask.data.discovery import path_below
from facemask.data.labelled_picture import GroundTruth, LabelledPicture
from facemask.evaluation import evaluate, evaluated_pictures, label_suspects
from facemask.evaluation.evaluate import SavedEvaluation
from facemask.evaluation.label_suspects import Suspect

if TYPE_CHECKING:
    import supervision as sv


_MOST_SEEN = 0.1
"""The share of an evaluation's pictures that the detector may have been trained on: a few look-alikes do no harm."""


@dataclass(frozen=True)
class HeldOutLabels:
    """The labels of now with the detections of an evaluation.

    Attributes:
        truths: The labels of each picture.
        detections: The detections of each.
        verified: Names of the pictures that a person marked as verified in labelImg.
        left_out: A line for each group of pictures that is left out, with their number.
    """

    truths: tuple[GroundTruth, ...]
    detections: "tuple[sv.Detections, ...]"
    verified: frozenset[str]
    left_out: tuple[str, ...]

    @property
    def boxes(self) -> int:
        """How many labels there are, without difficult ones."""
        return sum(int((~truth.difficult.astype(bool)).sum()) for truth in self.truths)


def read_held_out_evaluation(folder: Path) -> SavedEvaluation:
    """Read an evaluation of pictures that the model was not trained on.

    Args:
        folder: `workspace/reports/<RUN>`.

    Raises:
        UserError: There is none, it has no detections, it is of the train split, or the detector was trained on more
            than `_MOST_SEEN` of its pictures.
    """
    if evaluate.is_classifier_report(folder):
        raise UserError(
            f"{folder}: a cross-validation of the classifier alone, which detects nothing. Run `make crossval "
            "SYSTEM=two_stage`: REUSE= takes its classifiers."
        )
    saved = evaluate.read_evaluation(folder)
    split = evaluated_pictures.source_from_json(saved.metrics["source"]).split
    seen = int(saved.metrics["model"].get("seen_in_training", 0))
    if split == "train" or seen > _MOST_SEEN * len(saved.truths):
        where = "the train split" if split == "train" else f"{seen} pictures that the detector was trained on"
        raise UserError(
            f"{folder}: was measured on {where}. A model repeats the errors of the labels that it has "
            "learned. Take a cross-validation (make folds, make crossval), or an evaluation of val or test."
        )
    return saved


def pair_labels(root: Path, pictures: Sequence[LabelledPicture], saved: SavedEvaluation) -> HeldOutLabels:
    """Pair the labels of now with the detections of an evaluation, by the pictures' names.

    Args:
        root: The folder of images.
        pictures: The labelled pictures in it, also those that are not usable.
        saved: The evaluation.

    Raises:
        UserError: None of the evaluation's pictures is there.
    """
    place_of = {truth.name: place for place, truth in enumerate(saved.truths)}
    usable = [picture for picture in pictures if picture.usable]
    measured = [picture for picture in usable if picture.name in place_of]
    size_of = {truth.name: (truth.width, truth.height) for truth in saved.truths}
    kept = [picture for picture in measured if (picture.width, picture.height) == size_of[picture.name]]
    if not kept:
        raise UserError(f"{root}: none of the pictures that {saved.folder} was measured on is there. Name IMAGES=.")
    counts = {
        "have no detections in the report": len(usable) - len(measured),
        "have another size than when they were measured": len(measured) - len(kept),
        "of the report are no longer there, or cannot be used": len(place_of) - len(measured),
    }
    verified = (voc.read_voc(path_below(root, picture.source.xml)).verified for picture in kept)
    return HeldOutLabels(
        truths=tuple(one.ground_truth(saved.label_map, number) for number, one in enumerate(kept, start=1)),
        detections=tuple(saved.detections[place_of[picture.name]] for picture in kept),
        verified=frozenset(picture.name for picture, done in zip(kept, verified, strict=True) if done),
        left_out=tuple(f"{count:,} pictures {what}" for what, count in counts.items() if count),
    )


def rank_unverified(labels: HeldOutLabels, saved: SavedEvaluation) -> tuple[Suspect, ...]:
    """`label_suspects.rank_suspects` without the pictures that a person has verified."""
    ranked = label_suspects.rank_suspects(labels.truths, labels.detections, saved.label_map)
    return tuple(suspect for suspect in ranked if suspect.name not in labels.verified)
