"""Check a data set: count its contents and find every broken rule. Nothing is written."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import anchors, earlier_records, splits
from facemask.data.anchors import Anchors
from facemask.data.data_rules import ERROR, RULES, TINY_SIDE, Finding
from facemask.data.labelled_picture import LabelledPicture, read_labelled_pictures
from facemask.data.splits import SPLITS, Proportions
from facemask.data.voc import Box


@dataclass(frozen=True)
class CheckedDataset:
    """The result of a check.

    Attributes:
        root: The folder.
        classes: The class names in the order of their ids.
        findings: Every broken rule, by rule and file.
        pictures: The usable pictures, in the order of their names.
        split_of: The split of each, by name.
        anchors: The anchors with which the boxes were compared.
        coverage: The share of the boxes that the anchors cover, by anchor scale; see `anchors.coverage_by_scale`.
    """

    root: Path
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    pictures: tuple[LabelledPicture, ...]
    split_of: Mapping[str, str]
    anchors: Anchors
    coverage: Mapping[float, float]

    @property
    def images(self) -> dict[str, int]:
        """Number of usable images of each split."""
        count = Counter(self.split_of.values())
        return {split: count[split] for split in SPLITS}

    @property
    def negatives(self) -> dict[str, int]:
        """Number of usable images without boxes of each split."""
        count = Counter(self.split_of[picture.name] for picture in self.pictures if not picture.boxes)
        return {split: count[split] for split in SPLITS}

    @property
    def boxes(self) -> list[tuple[LabelledPicture, Box]]:
        """The boxes that records would hold, each with its picture."""
        return [(picture, box) for picture in self.pictures for box in picture.boxes]

    @property
    def rarest(self) -> str:
        """The class with the fewest boxes."""
        count = Counter(box.label for _, box in self.boxes)
        return min(self.classes, key=lambda label: count[label])

    @property
    def errors(self) -> int:
        """Number of findings that are errors."""
        return sum(RULES[finding.rule].level == ERROR for finding in self.findings)

    @property
    def best_scale(self) -> float:
        """The anchor scale that covers the most boxes; of several equal ones, the nearest to that of the anchors."""
        most = round(max(self.coverage.values()), 3)
        best = [scale for scale, part in self.coverage.items() if round(part, 3) == most]
        return min(best, key=lambda scale: abs(scale - self.anchors.scale))

    def per_class(self, split: str) -> dict[str, int]:
        """Number of boxes of each class in a split, all classes in the order of their ids."""
        count = Counter(box.label for picture, box in self.boxes if self.split_of[picture.name] == split)
        return {label: count[label] for label in self.classes}


def check_data_set(
    root: Path,
    annotations: Path,
    label_map: LabelMap,
    proportions: Proportions,
    model_anchors: Anchors,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    look_alikes_together: bool = True,
) -> CheckedDataset:
    """Check a data set with the rules and the splits of `make records`.

    Args:
        root: The folder with images and XML.
        annotations: The folder of earlier records, whose splits the images keep; it may be missing.
        label_map: The classes.
        proportions: The splits' shares.
        model_anchors: The anchors and the input size of the model to be trained.
        processes: Number of processes; 0 for one a core.
        progress: Called with the number of images done and their total.
        look_alikes_together: Keep images that look alike in one split.

    Raises:
        UserError: The folder holds no labelled picture.
    """
    pictures, findings = read_labelled_pictures(root, label_map, processes, progress)
    for picture in pictures:
        findings += [*picture.findings, *_tiny_boxes(picture, model_anchors.size)]
    usable = tuple(picture for picture in pictures if picture.usable)
    assigned, _ = earlier_records.assigned_splits(annotations, proportions)
    candidates = [picture.as_candidate(assigned) for picture in usable]
    split_of, alike = splits.split_data_set(candidates, proportions, look_alikes_together)
    order = list(RULES)
    return CheckedDataset(
        root=root,
        classes=label_map.names,
        findings=tuple(sorted([*findings, *alike], key=lambda finding: (order.index(finding.rule), finding.path))),
        pictures=usable,
        split_of=split_of,
        anchors=model_anchors,
        coverage=anchors.coverage_by_scale(normalised_boxes(usable), model_anchors),
    )


def normalised_boxes(pictures: Sequence[LabelledPicture]) -> np.ndarray:
    """The pictures' boxes, (n, 4) float64: xyxy in 0..1 of their image."""
    boxes = [
        (box.xmin / picture.width, box.ymin / picture.height, box.xmax / picture.width, box.ymax / picture.height)
        for picture in pictures
        for box in picture.boxes
    ]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def refuse_errors(checked: CheckedDataset) -> None:
    """Raise a UserError if any finding is an error: `make check STRICT=1`."""
    if checked.errors:
        raise UserError(f"{checked.root}: {checked.errors} error(s) in the data set; see above.")


def _tiny_boxes(picture: LabelledPicture, size: int) -> Iterator[Finding]:
    """Yield a finding if boxes are tiny after the image is resized to `size` pixels."""
    width, height = picture.width, picture.height
    tiny = sum(min(box.width * size / width, box.height * size / height) < TINY_SIDE for box in picture.boxes)
    if tiny:
        yield Finding("box_tiny", picture.source.xml, f"{tiny} of {len(picture.boxes)}", tiny)
