"""Read and check a labelled picture. Its image and its XML are read once, and all later steps use the result."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from facemask.core import worker_processes
from facemask.core.label_map import LabelMap
from facemask.data import images, voc
from facemask.data.class_mapping import nearest_name
from facemask.data.data_rules import RULES, Finding
from facemask.data.discovery import DiscoveredPicture, discover_pictures, last_part, path_below
from facemask.data.splits import Candidate
from facemask.data.voc import Annotation, Box

MIN_SIDE = 1.0
"""Boxes with a width or height of fewer pixels in their image count as boxes without area."""


@dataclass(frozen=True)
class GroundTruth:
    """The labelled boxes of an image, with which detections are compared.

    Attributes:
        image_id: A number from 1, unique among the images read together.
        name: The image's path in its data set.
        width: Pixels.
        height: Pixels.
        boxes: (n, 4) float64, xyxy in pixels.
        class_ids: (n,) int64, ids of the label map.
        difficult: (n,) bool.
    """

    image_id: int
    name: str
    width: int
    height: int
    boxes: np.ndarray
    class_ids: np.ndarray
    difficult: np.ndarray


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """An image and its XML after both were read and the rules were applied. It holds no pixels.

    Attributes:
        source: The two files.
        usable: Whether it can go into the records.
        findings: The rules that it breaks.
        boxes: Boxes in pixels of the upright image. Each lies inside it and has an area. In a usable picture all
            classes are known.
        width: Width in pixels, upright; 0 if the image cannot be decoded.
        height: Height in pixels, upright; 0 if the image cannot be decoded.
        image_format: The format in the records: `jpeg` or `png`.
        perceptual_hash: See `facemask.data.perceptual_hash`.
        stored_sha256: SHA-256 of the bytes that records store, in hex.
        image_sha256: SHA-256 of the image file, in hex.
        xml_sha256: SHA-256 of the XML file, in hex.
    """

    source: DiscoveredPicture
    usable: bool
    findings: tuple[Finding, ...]
    boxes: tuple[Box, ...] = ()
    width: int = 0
    height: int = 0
    image_format: str = ""
    perceptual_hash: int = 0
    stored_sha256: str = ""
    image_sha256: str = ""
    xml_sha256: str = ""

    @property
    def name(self) -> str:
        """The image's path in its data set: its name in the records."""
        return self.source.name

    @property
    def class_counts(self) -> Counter[str]:
        """Boxes of each class."""
        return Counter(box.label for box in self.boxes)

    def ground_truth(self, label_map: LabelMap, image_id: int) -> GroundTruth:
        """The boxes as arrays, for evaluation."""
        return GroundTruth(
            image_id=image_id,
            name=self.name,
            width=self.width,
            height=self.height,
            boxes=np.array([(b.xmin, b.ymin, b.xmax, b.ymax) for b in self.boxes], np.float64).reshape(-1, 4),
            class_ids=np.array([label_map.id_of(box.label) for box in self.boxes], dtype=np.int64),
            difficult=np.array([box.difficult for box in self.boxes], dtype=bool),
        )

    def as_candidate(self, assigned: Mapping[str, str]) -> Candidate:
        """The picture's data for the assignment of splits. `assigned` holds the splits of earlier records, by name."""
        classes = frozenset(box.label for box in self.boxes)
        return Candidate(self.name, classes, self.source.folder_split, assigned.get(self.name), self.perceptual_hash)


def read_labelled_picture(root: Path, source: DiscoveredPicture, label_map: LabelMap) -> tuple[LabelledPicture, bytes]:
    """Read an image and its XML, decode the image, apply the rules and clean the boxes.

    Args:
        root: The data set.
        source: The two files, as `discovery.discover_pictures` found them.
        label_map: The classes.

    Returns:
        The picture, and the image's bytes for the records. The bytes are empty if the picture is not usable.
    """
    xml, image_file = path_below(root, source.xml), path_below(root, source.name)
    try:
        data = voc.read_bytes(xml)
        annotation = voc.parse_voc(xml, data)
    except voc.VocError as error:
        finding = Finding("bad_xml", source.xml, str(error).removeprefix(f"{xml}: "))
        return LabelledPicture(source, False, (finding,)), b""
    try:
        image = images.prepare_image(images.read_bytes(image_file))
    except images.ImageError as error:
        return LabelledPicture(source, False, (Finding("bad_image", source.name, str(error)),)), b""
    boxes, about_boxes = _clean(source, annotation.boxes, image)
    findings = [*_about_image(source, annotation, image), *_about_labels(source, annotation, label_map), *about_boxes]
    if annotation.boxes and not boxes:
        findings.append(Finding("lost_all_boxes", source.name))
    usable = not any(RULES[finding.rule].stops for finding in findings) and (bool(boxes) or not annotation.boxes)
    picture = LabelledPicture(
        source=source,
        usable=usable,
        findings=tuple(findings),
        boxes=boxes,
        width=image.width,
        height=image.height,
        image_format=image.format,
        perceptual_hash=image.perceptual_hash,
        stored_sha256=hashlib.sha256(image.encoded).hexdigest() if image.why_encoded else image.sha256,
        image_sha256=image.sha256,
        xml_sha256=hashlib.sha256(data).hexdigest(),
    )
    return picture, image.encoded if usable else b""


def read_labelled_pictures(
    root: Path,
    label_map: LabelMap,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[LabelledPicture], list[Finding]]:
    """Read all labelled pictures of a folder, including those that are not usable.

    Args:
        root: The data set.
        label_map: The classes.
        processes: Number of processes; 0 for one a core.
        progress: Called with the number of pictures done and their total.

    Returns:
        The pictures in the order of their names, and the findings about files that are not labelled pictures.

    Raises:
        UserError: The folder holds no labelled picture.

    Example:
        >>> pictures, _ = read_labelled_pictures(Path("workspace/images"), label_map)
        >>> fold_of = assign_folds([picture for picture in pictures if picture.usable])
    """
    sources, findings = discover_pictures(root)
    pictures = []
    for picture in worker_processes.ordered_results(partial(_read_without_bytes, root, label_map), sources, processes):
        pictures.append(picture)
        progress(len(pictures), len(sources))
    return pictures, findings


def _read_without_bytes(root: Path, label_map: LabelMap, source: DiscoveredPicture) -> LabelledPicture:
    return read_labelled_picture(root, source, label_map)[0]


def _about_image(source: DiscoveredPicture, annotation: Annotation, image: images.Prepared) -> Iterator[Finding]:
    real, written = (image.width, image.height), (annotation.width, annotation.height)
    if written != real and any(written):
        rule = "labelled_sideways" if image.oriented and written == image.stored_size else "size_differs"
        yield Finding(rule, source.xml, f"{written[0]} x {written[1]}, the image has {real[0]} x {real[1]}")
    if image.frames > 1:
        yield Finding("animated", source.name, f"{image.frames} frames")
    if image.bits > 8:
        yield Finding("deep", source.name, f"{image.bits} bits")
    if image.patched:
        yield Finding("patched", source.name)
    if image.oriented:
        yield Finding("oriented", source.name)
    if annotation.filename and last_part(annotation.filename) != last_part(source.name):
        yield Finding("other_filename", source.xml, annotation.filename[:200])


def _about_labels(source: DiscoveredPicture, annotation: Annotation, label_map: LabelMap) -> Iterator[Finding]:
    unknown = [box.label for box in annotation.boxes if box.label not in label_map]
    for label in dict.fromkeys(unknown):
        yield Finding(
            "unknown_label", source.xml, f'"{label[:200]}"{_suggestion(label, label_map)}', unknown.count(label)
        )


def _suggestion(label: str, label_map: LabelMap) -> str:
    """The most similar class, as a question; empty if no class is similar."""
    near = nearest_name(label, label_map.names)
    return f" (did you mean {near}?)" if near else ""


def _clean(
    source: DiscoveredPicture, boxes: tuple[Box, ...], image: images.Prepared
) -> tuple[tuple[Box, ...], list[Finding]]:
    """The boxes clipped to the image, without those that have no area in it; and what was found."""
    clean: list[Box] = []
    broken: dict[str, list[str]] = defaultdict(list)
    for number, box in enumerate(boxes, start=1):
        rule, kept = _clipped(box, image.width, image.height)
        if rule is not None:
            corners = ", ".join(f"{value:g}" for value in (box.xmin, box.ymin, box.xmax, box.ymax))
            broken[rule].append(f"object {number} ({box.label[:100]}) [{corners}]")
        if kept is not None:
            clean.append(kept)
    of = f" of an image of {image.width} x {image.height}"
    found = [
        Finding(rule, source.xml, "; ".join(details[:5]) + ("; ..." if len(details) > 5 else "") + of, len(details))
        for rule, details in broken.items()
    ]
    same = len(boxes) - len({(box.label, box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes})
    if same:
        found.append(Finding("box_duplicate", source.xml, f"{same} of {len(boxes)}", same))
    return tuple(clean), found


def _clipped(box: Box, width: int, height: int) -> tuple[str | None, Box | None]:
    """The rule that the box breaks, or None; and what is left of it, or None."""
    if box.width < 0 or box.height < 0:
        return "box_inverted", None
    if box.width < MIN_SIDE or box.height < MIN_SIDE:
        return "box_empty", None
    inside = box.clipped(width, height)
    if inside.width < MIN_SIDE or inside.height < MIN_SIDE:
        return "box_outside", None
    return (None if inside == box else "box_clipped"), inside
