"""Our labels in the formats of other tools, with the pictures: a folder that can be packed and uploaded as it is.

coco/   annotations/instances_default.json   images/<name>
yolo/   data.yaml   images/<split>/<name>    labels/<split>/<name>.txt
cvat/   annotations.xml                      images/<name>
label_studio/   tasks.json   interface.xml   images/<name>

`labels.json` in each says what made it and lists its files. Coordinates are written in full, so that no box moves.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from lxml import etree

from facemask.core import label_folders
from facemask.core.errors import UserError
from facemask.core.files import link_or_copy, replacing_folder, unique_names, write_json
from facemask.core.label_map import LabelMap
from facemask.core.provenance import made_by
from facemask.data.data_rules import printable, refuse_stopping_findings
from facemask.data.earlier_records import assigned_splits, earlier_options
from facemask.data.labelled_picture import LabelledPicture, read_labelled_pictures
from facemask.data.splits import SPLITS, split_data_set


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        folder: Where.
        images: How many.
        boxes: Boxes of each class.
        notes: What the format cannot hold.
    """

    folder: Path
    images: int
    boxes: Counter[str]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The summary for people."""
        boxes = ", ".join(f"{count:,} {label}" for label, count in sorted(self.boxes.items())) or "none"
        return "\n".join([*self.notes, f"{self.images:,} pictures with their labels in {self.folder}. Boxes: {boxes}."])


@dataclass(frozen=True)
class _Exported:
    """A picture, and its place in the folder that is written."""

    picture: LabelledPicture
    split: str
    place: str


def export_labels(
    root: Path,
    annotations: Path,
    target: Path,
    format_name: str,
    label_map: LabelMap,
    processes: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExportReport:
    """Write the labels of a folder of images for another tool.

    Boxes are those that records hold: clipped to their picture. The pictures are hard links, or copies where the file
    system has no links.

    Args:
        root: The folder of images.
        annotations: Records that were made of it before, for the splits of `yolo`. Without any, the pictures get the
            splits of `make records` with its defaults.
        target: The folder that is written; it may be there if `make labels` wrote it and nothing in it changed since.
        format_name: A key of `WRITERS`.
        label_map: The classes.
        processes: How many read images, 0 for one a core.
        progress: Called with the pictures read and all of them.

    Raises:
        UserError: There is no such format, the labels break a rule that stops `make records`, or `target` holds
            something else.

    Example:
        >>> export_labels(Path("workspace/images"), Path("annotations"), Path("out"), "coco", label_map).images
        853
    """
    if format_name not in WRITERS:
        raise UserError(f"OUT={format_name}: no such format. Known are {', '.join(WRITERS)}.")
    if os.path.lexists(target) and (reason := label_folders.what_is_not_ours(target)):
        raise UserError(f"{target}: is there, and {reason} Move it away, or give another FOLDER=.")
    if target.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(target.resolve()):
        raise UserError(f"{target}: one folder may not be inside the other, {root}. Give another FOLDER=.")
    pictures, findings = read_labelled_pictures(root, label_map, processes, progress)
    refuse_stopping_findings(root, [*findings, *(one for picture in pictures for one in picture.findings)])
    usable = [picture for picture in pictures if picture.usable]
    proportions, together = earlier_options(annotations)
    assigned, _ = assigned_splits(annotations, proportions)
    split_of, _ = split_data_set([picture.as_candidate(assigned) for picture in usable], proportions, together)
    exported = [
        _Exported(picture, split_of[picture.name], place)
        for picture, place in zip(usable, _places(usable, split_of, format_name), strict=True)
    ]
    try:
        with replacing_folder(target) as beside:
            for one in exported:
                (beside / one.place).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(root / one.picture.name, beside / one.place)
            WRITERS[format_name](beside, exported, label_map)
            settings = {"out": format_name, "classes": list(label_map.names), "images": len(exported)}
            names = [path.relative_to(beside).as_posix() for path in label_folders.files_in(beside)]
            write_json(beside / label_folders.NOTE, {"made": made_by("labels", **settings), "files": names})
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise UserError(
            f"{target}: {why}. Make {target.absolute().parent} writable, or give another FOLDER=."
        ) from None
    boxes = sum((picture.class_counts for picture in usable), Counter())
    return ExportReport(target, len(exported), boxes, tuple(_notes(pictures, usable, format_name)))


def _notes(pictures: Sequence[LabelledPicture], usable: Sequence[LabelledPicture], format_name: str) -> list[str]:
    notes = []
    unusable = [picture.name for picture in pictures if not picture.usable]
    if unusable:
        names = ", ".join(unusable[:5]) + (", ..." if len(unusable) > 5 else "")
        notes.append(f"{len(unusable):,} pictures are not usable and are left out (make check says why): {names}")
    difficult = sum(box.difficult for picture in usable for box in picture.boxes)
    if difficult and format_name in ("yolo", "label_studio"):
        notes.append(f"{difficult:,} boxes are marked difficult, which the format {format_name} cannot hold.")
    return notes


def _places(pictures: Sequence[LabelledPicture], split_of: Mapping[str, str], format_name: str) -> list[str]:
    if format_name != "yolo":
        return [f"images/{picture.name}" for picture in pictures]
    # Ultralytics finds the labels by replacing `images` in the path, so our folders become part of the name.
    names = [picture.name.replace("/", "_").rpartition(".") for picture in pictures]
    stems = unique_names(stem for stem, _, _ in names)
    return [
        f"images/{split_of[picture.name]}/{stem}.{suffix}"
        for picture, stem, (_, _, suffix) in zip(pictures, stems, names, strict=True)
    ]


def _write_coco(folder: Path, exported: Sequence[_Exported], label_map: LabelMap) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, one in enumerate(exported, start=1):
        picture = one.picture
        images.append({"id": number, "file_name": picture.name, "width": picture.width, "height": picture.height})
        for box in picture.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label_map.id_of(box.label),
                    "bbox": [box.xmin, box.ymin, box.width, box.height],
                    "area": box.width * box.height,
                    "iscrowd": 0,
                    "segmentation": [],
                    "attributes": {"difficult": box.difficult, "truncated": box.truncated},
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(label_map.names, start=1)]
    value = {
        "info": {},
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": annotations,
    }
    write_json(folder / "annotations" / "instances_default.json", value)


def _write_yolo(folder: Path, exported: Sequence[_Exported], label_map: LabelMap) -> None:
    for split in ("train", "val"):  # Ultralytics asks for both
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
    for one in exported:
        width, height = one.picture.width, one.picture.height
        lines = [
            f"{label_map.id_of(box.label) - 1} {(box.xmin + box.xmax) / 2 / width:.9f} "
            f"{(box.ymin + box.ymax) / 2 / height:.9f} {box.width / width:.9f} {box.height / height:.9f}\n"
            for box in one.picture.boxes
        ]
        text = folder / "labels" / one.place.removeprefix("images/").rpartition(".")[0]
        text = text.with_name(f"{text.name}.txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("".join(lines), encoding="utf-8")
    used = {one.split for one in exported} | {"train", "val"}
    value: dict[str, Any] = {split: f"images/{split}" for split in SPLITS if split in used}
    value |= {"names": dict(enumerate(label_map.names))}
    (folder / "data.yaml").write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _refuse_names_beyond_xml(names: Iterable[str]) -> None:
    for name in names:
        try:
            etree.Element("name").text = name
        except ValueError:
            raise UserError(f"{printable(name)}: holds a character that XML cannot hold. Rename it.") from None


def _write_cvat(folder: Path, exported: Sequence[_Exported], label_map: LabelMap) -> None:
    _refuse_names_beyond_xml([*label_map.names, *(one.picture.name for one in exported)])
    root = etree.Element("annotations")
    etree.SubElement(root, "version").text = "1.1"
    for number, one in enumerate(exported):
        picture = one.picture
        size = {"width": str(picture.width), "height": str(picture.height)}
        image = etree.SubElement(root, "image", id=str(number), name=picture.name, **size)
        for box in picture.boxes:
            corners = {"xtl": box.xmin, "ytl": box.ymin, "xbr": box.xmax, "ybr": box.ymax}
            node = etree.SubElement(
                image, "box", label=box.label, occluded="0", **{name: repr(float(at)) for name, at in corners.items()}
            )
            for flag in ("difficult", "truncated"):
                if getattr(box, flag):
                    etree.SubElement(node, "attribute", name=flag).text = "true"
    etree.indent(root, "  ")
    (folder / "annotations.xml").write_bytes(etree.tostring(root, encoding="utf-8", xml_declaration=True))


def _write_label_studio(folder: Path, exported: Sequence[_Exported], label_map: LabelMap) -> None:
    _refuse_names_beyond_xml(label_map.names)
    tasks = []
    for one in exported:
        width, height = one.picture.width, one.picture.height
        regions = [
            {
                "id": f"box{number}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "x": 100 * box.xmin / width,
                    "y": 100 * box.ymin / height,
                    "width": 100 * box.width / width,
                    "height": 100 * box.height / height,
                    "rotation": 0,
                    "rectanglelabels": [box.label],
                },
            }
            for number, box in enumerate(one.picture.boxes, start=1)
        ]
        # The folder is the document root of Label Studio's local files.
        address = f"/data/local-files/?d={quote(one.place)}"
        tasks.append({"data": {"image": address}, "annotations": [{"result": regions}]})
    write_json(folder / "tasks.json", tasks)
    view = etree.Element("View")
    etree.SubElement(view, "Image", name="image", value="$image")
    labels = etree.SubElement(view, "RectangleLabels", name="label", toName="image")
    for name in label_map.names:
        etree.SubElement(labels, "Label", value=name)
    etree.indent(view, "  ")
    (folder / "interface.xml").write_bytes(etree.tostring(view, encoding="utf-8", pretty_print=True))


WRITERS: Mapping[str, Callable[[Path, Sequence[_Exported], LabelMap], None]] = {
    "coco": _write_coco,
    "yolo": _write_yolo,
    "cvat": _write_cvat,
    "label_studio": _write_label_studio,
}
"""What writes each format. A new one is a function and a row here."""
