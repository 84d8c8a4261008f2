"""COCO's JSON of object detection: https://cocodataset.org/#format-data."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from facemask.core.errors import UserError
from facemask.data.label_formats.foreign_labels import (
    ForeignLabels,
    ForeignPicture,
    envelope,
    finite_number,
    one_line,
    pixel_count,
)
from facemask.data.label_formats.label_source import LabelSource, PictureFinder, PictureNotFoundError
from facemask.data.voc import Box

_LISTS = ("images", "annotations", "categories")


def coco_files(source: LabelSource) -> list[str]:
    """The JSON files that hold COCO's three lists."""
    found = []
    for name in source.with_suffix(".json"):
        value = source.json_or_none(name)
        if isinstance(value, dict) and all(isinstance(value.get(key), list) for key in _LISTS):
            found.append(name)
    return found


def read_coco(source: LabelSource, files: list[str], finder: PictureFinder) -> ForeignLabels:
    """Read COCO files. A crowd becomes a difficult box; an object without `bbox` gets the box around its polygons.

    Supervision's `DetectionDataset.from_coco` is not used: it joins `file_name` to a folder unchecked, and its errors
    name no file.
    """
    pictures: list[ForeignPicture] = []
    problems: list[str] = []
    for file in files:
        value = source.read_json(file)
        names = {item.get("id"): item.get("name") for item in value["categories"] if _is_usable(item)}
        noted = value.get("licenses")
        licences = {
            item["id"]: one_line(item.get("name") or item.get("url") or "")
            for item in (noted if isinstance(noted, list) else [])
            if _is_usable(item)
        }
        objects: dict[Any, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
        known = {item["id"] for item in value["images"] if _is_usable(item)}
        for number, item in enumerate(value["annotations"], start=1):
            image = item.get("image_id") if isinstance(item, dict) else None
            if isinstance(image, int | str) and image in known:
                objects[image].append((number, item))
            else:
                problems.append(f"{file}: annotation {number} belongs to no picture in the file")
        origin = _origin(value.get("info"))
        for number, item in enumerate(value["images"], start=1):
            if not _is_usable(item) or not isinstance(item.get("file_name"), str):
                problems.append(f"{file}: image {number} has no id or no file_name")
                continue
            boxes, before = [], len(problems)
            for place, one in objects[item["id"]]:
                try:
                    boxes.append(_box(one, names))
                except ValueError as error:
                    problems.append(f"{file}: annotation {place}, of {item['file_name'][:200]}: {error}")
            try:
                picture = finder.find(item["file_name"], near=file)
            except PictureNotFoundError as error:
                problems.append(f"{file}: {error}")
            if len(problems) > before:
                continue
            pictures.append(
                ForeignPicture(
                    image=picture,
                    labelled_in=file,
                    boxes=tuple(boxes),
                    width=pixel_count(item.get("width")),
                    height=pixel_count(item.get("height")),
                    origin=one_line(item.get("coco_url") or item.get("flickr_url") or origin),
                    licence=licences.get(item.get("license"), "") if isinstance(item.get("license"), int) else "",
                )
            )
    if not pictures and not problems:
        raise UserError(f"{files[0]}: lists no pictures.")
    return ForeignLabels(tuple(pictures), tuple(problems))


def _is_usable(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), int | str)


def _origin(info: Any) -> str:
    return one_line(info.get("url") or info.get("description") or "") if isinstance(info, dict) else ""


def _box(item: Mapping[str, Any], names: Mapping[Any, Any]) -> Box:
    """The box of an annotation. Raises ValueError, which says what is wrong in it."""
    category = item.get("category_id")
    name = names.get(category) if isinstance(category, int | str) else None
    if not isinstance(name, str) or not name:
        raise ValueError(f"category_id {one_line(category, 40)} is not among the categories")
    attributes = item.get("attributes")
    extra = attributes if isinstance(attributes, dict) else {}
    difficult = item.get("iscrowd") == 1 or extra.get("difficult") is True
    truncated = extra.get("truncated") is True
    corners = item.get("bbox")
    if isinstance(corners, list) and len(corners) == 4:
        left, top, width, height = map(finite_number, corners)
        if left is None or top is None or width is None or height is None:
            raise ValueError(f"its bbox {one_line(corners, 80)} holds no finite numbers")
        return Box(name, left, top, left + width, top + height, difficult, truncated)
    polygons = item.get("segmentation")
    points = [
        value for part in polygons if isinstance(part, list) for value in part
    ] if isinstance(polygons, list) else []  # fmt: skip
    values = [number for number in map(finite_number, points) if number is not None]
    if len(values) != len(points) or len(values) < 6 or len(values) % 2:
        raise ValueError("it has no bbox of four numbers")
    return envelope(name, values[::2], values[1::2], difficult, truncated)
