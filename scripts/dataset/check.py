"""A data set looked through: what is in it, and every rule that it breaks. Nothing is written."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.dataset import anchors, audit, splits, workers
from scripts.dataset.anchors import Anchors
from scripts.dataset.audit import Finding, Item
from scripts.dataset.label_map import LabelMap
from scripts.dataset.splits import SPLITS, Proportions
from scripts.dataset.voc import Box
from scripts.support.errors import UserError


@dataclass(frozen=True)
class Labelled:
    """A box that records would hold.

    Attributes:
        image: Its image's name.
        split: The image's split.
        label: Its class.
        corners: xyxy in pixels of the image.
    """

    image: str
    split: str
    label: str
    corners: tuple[float, float, float, float]


@dataclass(frozen=True)
class Checked:
    """What a data set holds.

    Attributes:
        root: The folder.
        classes: The class names in the order of their ids.
        findings: Every broken rule, by rule and file.
        images: Usable images of each split.
        negatives: Those without boxes.
        boxes: The boxes of the usable images.
        normalised: (n, 4) float64, their xyxy in 0..1 of their image.
        sizes: (m, 2) int64, width and height in pixels of the usable images.
        anchors: The anchors that the boxes were held against.
        coverage: The part of the boxes that the anchors cover, by anchor scale; see `anchors.by_scale`.
    """

    root: Path
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    images: Mapping[str, int]
    negatives: Mapping[str, int]
    boxes: tuple[Labelled, ...]
    normalised: np.ndarray
    sizes: np.ndarray
    anchors: Anchors
    coverage: Mapping[float, float]

    @property
    def rarest(self) -> str:
        """The class with the fewest boxes."""
        count = Counter(box.label for box in self.boxes)
        return min(self.classes, key=lambda label: count[label])

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(audit.RULES[finding.rule].level == audit.ERROR for finding in self.findings)

    @property
    def best_scale(self) -> float:
        """The anchor scale that covers most boxes; of several the middle one, which has room on both sides."""
        most = round(max(self.coverage.values()), 3)
        best = [scale for scale, part in self.coverage.items() if round(part, 3) == most]
        return best[(len(best) - 1) // 2]

    def per_class(self, split: str) -> dict[str, int]:
        """Boxes of each class in a split, all classes in the order of their ids."""
        count = Counter(box.label for box in self.boxes if box.split == split)
        return {label: count[label] for label in self.classes}


def check(
    root: Path,
    annotations: Path,
    label_map: LabelMap,
    proportions: Proportions,
    model_anchors: Anchors,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Look through a data set, under the rules and in the splits of `make records`.

    Args:
        root: The folder with images and XML.
        annotations: Records that were made of it before, for the splits that images have; may be missing.
        label_map: The classes.
        proportions: The splits' shares.
        model_anchors: The anchors of the model that is to be trained, and its input size.
        processes: How many.
        progress: Called with the images done and all of them.

    Raises:
        UserError: The folder holds nothing to check.
    """
    with workers.started(processes, __name__) as ordered:
        items, found = audit.discover(root)
        findings = list(found)
        assigned = splits.read_assigned(annotations / "boxes.csv")
        split_of = splits.assign(audit.candidates(root, items, assigned, ordered), proportions)
        names, held_in, looks, boxes, normalised, sizes = [], [], [], [], [], []
        images, negatives = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
        look = functools.partial(_look, root, label_map, model_anchors.size)
        for done, seen in enumerate(ordered(look, items), start=1):
            name = seen.item.name
            split = split_of[name]
            findings += seen.findings
            if seen.size is not None:
                names.append(name)
                held_in.append(split)
                looks.append(seen.looks)
            if seen.usable and seen.size is not None:
                images[split] += 1
                negatives[split] += not seen.boxes
                sizes.append(seen.size)
                for box in seen.boxes:
                    corners = (box.xmin, box.ymin, box.xmax, box.ymax)
                    boxes.append(Labelled(name, split, box.label, corners))
                    normalised.append(np.array(corners) / (*seen.size, *seen.size))
            progress(done, len(items))
    findings += audit.same_pictures(names, held_in, looks)
    of_image = np.array(normalised, dtype=np.float64).reshape(-1, 4)
    order = list(audit.RULES)
    return Checked(
        root=root,
        classes=label_map.names,
        findings=tuple(sorted(findings, key=lambda finding: (order.index(finding.rule), finding.path))),
        images=images,
        negatives=negatives,
        boxes=tuple(boxes),
        normalised=of_image,
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        anchors=model_anchors,
        coverage=anchors.by_scale(of_image, model_anchors),
    )


def refuse(checked: Checked) -> None:
    """Raise a UserError if any finding is an error: `make check STRICT=1`."""
    if checked.errors:
        raise UserError(f"{checked.root}: {checked.errors} error(s) in the data set; see above.")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What comes back from a process: no pixels."""

    item: Item
    usable: bool
    boxes: tuple[Box, ...]
    findings: tuple[Finding, ...]
    size: tuple[int, int] | None
    looks: int


def _look(root: Path, label_map: LabelMap, size: int, item: Item) -> _Seen:
    examined = audit.examine(root, item, label_map, size)
    image = examined.image
    if image is None:
        return _Seen(item, False, (), examined.findings, None, 0)
    return _Seen(item, examined.usable, examined.boxes, examined.findings, (image.width, image.height), image.looks)
