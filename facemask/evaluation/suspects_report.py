"""Suspicious labels of a data set: as a page, as CSV, and as the JSON from which `make label` opens their pictures.

    workspace/reports/<RUN>/
        suspects.html   the most suspicious, cut out of their pictures, each with the reason
        suspects.json   the same, with the pictures in the order in which `make label` opens them
        suspects.csv    all

The detections are those of a saved evaluation; the labels are those of now, so corrected labels lose their rank without
another training.
"""

import csv
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask.core import json_files
from facemask.core.errors import UserError
from facemask.core.files import replacing_file, spreadsheet_cell, write_json
from facemask.data import images as image_files
from facemask.data import voc
from facemask.data.data_rules import printable
from facemask.data.discovery import path_below
from facemask.data.labelled_picture import GroundTruth, LabelledPicture
from facemask.detect.score_thresholds import METRICS
from facemask.evaluation import cross_validation, evaluate, evaluated_pictures, label_suspects, planted_errors
from facemask.evaluation.evaluate import SavedEvaluation
from facemask.evaluation.label_suspects import KINDS, Suspect
from facemask.evaluation.planted_errors import PlantedFound

if TYPE_CHECKING:
    import supervision as sv

FORMAT = 1
PAGE, LISTED, TABLE = "suspects.html", "suspects.json", "suspects.csv"

FIRST_PART = 0.1
"""`measure_planting` looks at this part of the ranking, counted in labels."""


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


@dataclass(frozen=True)
class SuspectPictures:
    """What `make label` opens.

    Attributes:
        pictures: Names of the pictures, relative to the folder of images, the most suspicious first.
        notes: What to look for in each, by name.
    """

    pictures: tuple[str, ...]
    notes: dict[str, str]


def read_held_out_evaluation(folder: Path) -> SavedEvaluation:
    """Read an evaluation of pictures that the model was not trained on.

    Args:
        folder: `workspace/reports/<RUN>`.

    Raises:
        UserError: There is none, it has no detections, or it is of the train split.
    """
    if (folder / cross_validation.CLASSIFIER_REPORT).is_file() and not (folder / METRICS).is_file():
        raise UserError(
            f"{folder}: a cross-validation of the classifier alone, which detects nothing. Run `make crossval "
            "SYSTEM=two_stage`: REUSE= takes its classifiers."
        )
    saved = evaluate.read_evaluation(folder)
    split = evaluated_pictures.source_from_json(saved.metrics["source"]).split
    if split == "train":
        raise UserError(
            f"{folder}: was measured on the train split. A model repeats the errors of the labels that it has "
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


def most_suspicious(suspects: Sequence[Suspect], count: int) -> tuple[Suspect, ...]:
    """The first `count` of a ranking that something speaks against."""
    return tuple(suspect for suspect in suspects[:count] if suspect.suspicion > 0)


def write_suspects(
    folder: Path,
    root: Path,
    labels: HeldOutLabels,
    suspects: Sequence[Suspect],
    count: int,
    made: dict[str, Any],
) -> None:
    """Write the page, the table and the JSON; the JSON last.

    Args:
        folder: `workspace/reports/<RUN>`.
        root: The folder of images.
        labels: What was ranked.
        suspects: The ranking.
        count: How many suspects the page shows and `make label` opens.
        made: `provenance.made_by`.

    Raises:
        UserError: A picture can no longer be read.
    """
    shown = most_suspicious(suspects, count)
    pictures = list(dict.fromkeys(suspect.name for suspect in shown))
    crops = dict(_crops(root, shown, pictures))
    kinds = Counter(suspect.kind for suspect in shown)
    from facemask.evaluation.report.report_pages import page_environment

    page = page_environment({}).get_template("suspects.html.j2")
    html = page.render(
        name=folder.name,
        root=printable(str(root)),
        labels=labels.boxes,
        images=len(labels.truths),
        verified=len(labels.verified),
        left_out=labels.left_out,
        kinds=[(kind, kinds[kind]) for kind in KINDS],
        crops=[crops[number] for number in range(len(shown))],
        pictures=len(pictures),
        made=made,
    )
    with replacing_file(folder / PAGE) as beside:
        beside.write_text(html, encoding="utf-8", errors="backslashreplace")
    _write_table(folder / TABLE, suspects)
    write_json(
        folder / LISTED,
        {
            "format": FORMAT,
            "labels": labels.boxes,
            "images": len(labels.truths),
            "verified": len(labels.verified),
            "left_out": list(labels.left_out),
            "kinds": {kind: kinds[kind] for kind in KINDS},
            "pictures": pictures,
            "suspects": [dataclasses.asdict(suspect) for suspect in shown],
            "made": made,
        },
    )


def read_suspect_pictures(folder: Path) -> SuspectPictures:
    """Read which pictures `make label` opens.

    Args:
        folder: `workspace/reports/<RUN>`.

    Raises:
        UserError: There is no `suspects.json`, or it is damaged.
    """
    absent = f"{folder / LISTED}: no such file. Run `make suspects RUN={folder.name}` first."
    again = f"Run `make suspects RUN={folder.name}` again."
    with json_files.reading_json(folder / LISTED, FORMAT, step="suspects", absent=absent, again=again) as value:
        notes: dict[str, list[str]] = {}
        for suspect in value["suspects"]:
            notes.setdefault(str(suspect["name"]), []).append(f"{suspect['kind']}: {suspect['reason']}")
        return SuspectPictures(
            tuple(str(name) for name in value["pictures"]), {name: "; ".join(lines) for name, lines in notes.items()}
        )


def measure_planting(
    labels: HeldOutLabels, saved: SavedEvaluation, share: float, seeds: Sequence[int]
) -> tuple[PlantedFound, ...]:
    """Plant errors, rank again, and count how many the first tenth of the ranking holds, over several seeds.

    The models behind the detections learned from labels without the planted errors. Real errors are in what they
    learned from too, and are found somewhat less well.

    Args:
        labels: The labels and the detections.
        saved: The evaluation, for its classes.
        share: Part of the labels to damage.
        seeds: One planting for each.
    """
    totals = {kind: PlantedFound(kind, 0, 0, 0) for kind in KINDS}
    for seed in seeds:
        damaged, errors = planted_errors.plant_errors(labels.truths, saved.label_map, share, seed)
        ranked = label_suspects.rank_suspects(damaged, labels.detections, saved.label_map)
        for one in planted_errors.count_found(ranked[: round(FIRST_PART * labels.boxes)], errors):
            before = totals[one.kind]
            totals[one.kind] = PlantedFound(
                one.kind, before.planted + one.planted, before.found + one.found, before.named + one.named
            )
    return tuple(totals.values())


def planting_text(counted: Sequence[PlantedFound]) -> str:
    """The counts of `measure_planting` as a table for people."""
    total = PlantedFound(
        "all", sum(one.planted for one in counted), sum(one.found for one in counted), sum(one.named for one in counted)
    )
    lines = [f"{'planted':16}{'':>8}{'found':>8}{'named':>8}"]
    for one in (*counted, total):
        found, named = (f"{100 * part / max(one.planted, 1):.0f}%" for part in (one.found, one.named))
        lines.append(f"{one.kind:16}{one.planted:8,}{found:>8}{named:>8}")
    return "\n".join(lines)


def suspects_text(folder: Path, labels: HeldOutLabels, suspects: Sequence[Suspect], count: int) -> str:
    """The result for people: the first ten, the counts by kind, and what to do next."""
    shown = most_suspicious(suspects, count)
    lines = [f"{printable(one.name)}: {one.kind}: {one.reason}" for one in shown[:10]]
    if len(shown) > 10:
        lines.append(f"... and {len(shown) - 10:,} more")
    kinds = Counter(suspect.kind for suspect in shown)
    counted = ", ".join(f"{kinds[kind]:,} {kind}" for kind in KINDS)
    pictures = len({suspect.name for suspect in shown})
    lines.append(f"Of {labels.boxes:,} labels, the most suspicious {len(shown):,} in {pictures:,} pictures: {counted}")
    lines += [f"Left out: {line}" for line in labels.left_out]
    if labels.verified:
        lines.append(f"Left out: {len(labels.verified):,} pictures that a person has verified")
    lines.append(f"{folder / PAGE}; correct them now: make label SUSPECTS={folder.name}")
    return "\n".join(lines)


def _crops(root: Path, shown: Sequence[Suspect], pictures: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """The place of each suspect in `shown`, and its crop; each picture is decoded once."""
    from facemask.evaluation.report.picture_crops import crop_boxes

    for name in pictures:
        image = _decode(path_below(root, name))
        for place, suspect in enumerate(shown):
            if suspect.name == name:
                truth_box = None if suspect.label is None else suspect.box
                caption = f"{place + 1}. {suspect.kind}: {suspect.reason}"
                yield place, crop_boxes(image, printable(name), caption, truth_box, suspect.found_box)


def _decode(path: Path) -> np.ndarray:
    try:
        return image_files.decode_image(image_files.read_bytes(path))
    except image_files.ImageError as error:
        raise UserError(f"{path}: {error}.") from None


def _write_table(path: Path, suspects: Sequence[Suspect]) -> None:
    columns = ("rank", "kind", "suspicion", "picture", "label", "found", "score", "iou")
    with replacing_file(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*columns, "xmin", "ymin", "xmax", "ymax", "reason"))
        for rank, one in enumerate(suspects, start=1):
            corners = [f"{value:.1f}" for value in one.box]
            facts = (f"{one.suspicion:.4f}", spreadsheet_cell(one.name), one.label or "", one.found_label or "")
            table.writerow((rank, one.kind, *facts, f"{one.score:.3f}", f"{one.iou:.3f}", *corners, one.reason))
