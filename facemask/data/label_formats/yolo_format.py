"""YOLO: a text file a picture, and the names of the classes in Ultralytics' data.yaml, classes.txt or obj.names.

https://docs.ultralytics.com/datasets/detect/. A picture without a text file counts as not labelled; one with an empty
file has nothing on it.
"""

import re
from pathlib import PurePosixPath
from typing import Any

import yaml

from facemask.core.errors import UserError
from facemask.data.label_formats.foreign_labels import ForeignLabels, ForeignPicture, one_line
from facemask.data.label_formats.label_source import LabelSource, PictureFinder, PictureNotFoundError
from facemask.data.voc import Box

MAX_NAMES_BYTES = 1 << 20
MAX_TEXT_BYTES = 8 << 20
_LISTS_OF_NAMES = ("classes.txt", "obj.names", "predefined_classes.txt")
_LABEL_LINE = re.compile(r"\s*\d+(\s+-?[\d.]+(e-?\d+)?){4,}\s*", re.IGNORECASE)


def yolo_files(source: LabelSource) -> list[str]:
    """The files that name the classes."""
    return [
        name
        for name in source.label_names
        if name.rpartition("/")[2].lower() in _LISTS_OF_NAMES
        or (name.lower().endswith((".yaml", ".yml")) and _yaml(source, name).get("names"))
    ]


def read_yolo(source: LabelSource, files: list[str], finder: PictureFinder) -> ForeignLabels:
    """Read the text files: boxes, and polygons as the boxes around them. Supervision parses the lines.

    Its `DetectionDataset.from_yolo` is not used: it takes a picture without labels for one with nothing on it, and one
    folder of pictures at a time.

    Raises:
        UserError: The files of names contradict each other.
    """
    lists = {file: _names(source, file) for file in files}
    names = lists[files[0]]
    for file, others in lists.items():
        if others != names:
            raise UserError(f"{file} names other classes than {files[0]}. Import each data set on its own.")
    about = _yaml(source, files[0]) if files[0].lower().endswith((".yaml", ".yml")) else {}
    origin = about.get("roboflow") if isinstance(about.get("roboflow"), dict) else about
    pictures: list[ForeignPicture] = []
    problems: list[str] = []
    for file in _texts(source, finder):
        try:
            image = finder.find(re.sub(r"(^|/)labels/(?!.*/labels/)", r"\1images/", file)[: -len(".txt")], near=file)
            boxes = _boxes(source.read(file, MAX_TEXT_BYTES), names)
        except PictureNotFoundError as error:
            problems.append(f"{file}: {error}")
        except (ValueError, OverflowError) as error:
            problems.append(f"{file}: {one_line(error)}")
        else:
            pictures.append(
                ForeignPicture(
                    image,
                    file,
                    boxes,
                    normalised=True,
                    origin=_plain((origin or {}).get("url")),
                    licence=_plain((origin or {}).get("license")),
                )
            )
    return ForeignLabels(tuple(pictures), tuple(problems))


def _texts(source: LabelSource, finder: PictureFinder) -> list[str]:
    """The text files that hold labels: those in folders named `labels`, else those that look like labels."""
    # labelImg writes classes.txt into the folder of the labels.
    texts = [
        name
        for name in source.names
        if name.lower().endswith(".txt") and name.rpartition("/")[2].lower() not in _LISTS_OF_NAMES
    ]
    in_labels = [name for name in texts if "labels" in PurePosixPath(name).parts[:-1]]
    if in_labels:
        return in_labels
    stems = {name.rpartition(".")[0] for name in finder.names}
    return [
        name
        for name in texts
        if name[: -len(".txt")] in stems or _LABEL_LINE.match(_text(source.head(name, 400)).partition("\n")[0])
    ]


def _boxes(data: bytes, names: dict[int, str]) -> tuple[Box, ...]:
    """The boxes of a text file, as parts of width and height. Raises ValueError, which says what is wrong in it."""
    from supervision.dataset.formats.yolo import yolo_annotations_to_detections

    lines = [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    found = yolo_annotations_to_detections(lines, resolution_wh=(1, 1), with_masks=False)
    ids = [int(value) for value in found.class_id] if lines else []
    for number, class_id in enumerate(ids, start=1):
        if class_id not in names:
            raise ValueError(f"line {number} has class {class_id}, and the names end at {max(names, default=-1)}")
    corners = found.xyxy.tolist() if lines else []
    return tuple(
        Box(names[class_id], left, top, right, bottom)
        for class_id, (left, top, right, bottom) in zip(ids, corners, strict=True)
    )


def _names(source: LabelSource, file: str) -> dict[int, str]:
    if not file.lower().endswith((".yaml", ".yml")):
        lines = _text(source.read(file, MAX_NAMES_BYTES)).splitlines()
        return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    names = _yaml(source, file).get("names")
    pairs = (
        list(enumerate(names)) if isinstance(names, list) else list(names.items()) if isinstance(names, dict) else []
    )
    if not pairs or not all(isinstance(key, int) and isinstance(name, str | int | float) for key, name in pairs):
        raise UserError(f"{file}: its `names` are neither a list of names nor numbers with names.")
    try:
        return {int(key): one_line(name) for key, name in pairs}
    except ValueError:  # Python writes no number of more than 4,300 digits
        raise UserError(f"{file}: its `names` hold a number of thousands of digits.") from None


def _plain(value: Any) -> str:
    """A text on one line; empty for anything else: written out, lists of aliases of lists may fill the memory."""
    return one_line(value) if isinstance(value, str) else ""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without merge keys (`<<`), which a few lines can nest so that they expand to billions of entries."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge nothing, so that a merge key ends the reading as an unknown tag."""


def _yaml(source: LabelSource, file: str) -> dict[str, Any]:
    """The content of a YAML file; empty where it holds no mapping."""
    try:
        value = yaml.load(source.read(file, MAX_NAMES_BYTES), _Loader)
    except (UserError, yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace")
