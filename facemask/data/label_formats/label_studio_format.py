"""Label Studio's JSON export: https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks."""

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from facemask.core.errors import UserError
from facemask.data import images
from facemask.data.label_formats.foreign_labels import (
    ForeignLabels,
    ForeignPicture,
    envelope,
    finite_number,
    pixel_count,
)
from facemask.data.label_formats.label_source import LabelSource, PictureFinder, PictureNotFoundError
from facemask.data.voc import Box


def label_studio_files(source: LabelSource) -> list[str]:
    """The JSON files that are lists of tasks with `data` and `annotations`."""
    found = []
    for name in source.with_suffix(".json"):
        value = source.json_or_none(name)
        if isinstance(value, list) and value and all(_is_task(item) for item in value):
            found.append(name)
    return found


def read_label_studio(source: LabelSource, files: list[str], finder: PictureFinder) -> ForeignLabels:
    """Read tasks: rectangles (of turned ones the upright box around them), and the boxes around polygons.

    A task that nobody has annotated is not labelled; one that several people annotated is a problem, since nothing says
    who is right.
    """
    pictures: list[ForeignPicture] = []
    problems: list[str] = []
    unlabelled: list[str] = []
    for file in files:
        for number, task in enumerate(source.read_json(file), start=1):
            where = f"{file}: task {number}"
            answers = [
                item
                for item in task["annotations"]
                if isinstance(item, dict) and isinstance(item.get("result"), list) and not item.get("was_cancelled")
            ]
            try:
                image = _picture(task, file, finder)
            except PictureNotFoundError as error:
                problems.append(f"{where}: {error}")
                continue
            if not answers:
                unlabelled.append(image)
                continue
            if len(answers) > 1:
                problems.append(f"{where} ({image}): has {len(answers)} annotations. Keep one of them in Label Studio")
                continue
            boxes: list[Box] = []
            width, height, before = 0, 0, len(problems)
            for place, region in enumerate(answers[0]["result"], start=1):
                try:
                    boxes += _boxes(region)
                    width = pixel_count(region.get("original_width")) or width
                    height = pixel_count(region.get("original_height")) or height
                except ValueError as error:
                    problems.append(f"{where} ({image}), region {place}: {error}")
            if len(problems) == before:
                pictures.append(ForeignPicture(image, file, tuple(boxes), normalised=True, width=width, height=height))
    if not pictures and not problems:
        raise UserError(f"{files[0]}: no task in it is annotated.")
    return ForeignLabels(tuple(pictures), tuple(problems), tuple(unlabelled))


def _is_task(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("data"), dict) and isinstance(item.get("annotations"), list)


def _picture(task: Mapping[str, Any], file: str, finder: PictureFinder) -> str:
    """The task's picture. Label Studio puts eight hex digits before the name of a file that was uploaded."""
    texts = [task.get("file_upload"), *task["data"].values()]
    names = [name for text in texts if isinstance(text, str) and (name := _file_of(text))]
    if not names:
        raise PictureNotFoundError("its data name no picture")
    first: PictureNotFoundError | None = None
    for name in [*names, *(re.sub(r"^[0-9a-f]{8}-", "", name.rpartition("/")[2]) for name in names)]:
        try:
            return finder.find(name, near=file)
        except PictureNotFoundError as error:
            first = first or error
    assert first is not None
    raise first


def _file_of(text: str) -> str:
    """The path in an address such as `/data/local-files/?d=a/b.jpg`; empty where it is none of a picture."""
    try:
        parts = urlsplit(text)
        path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    except ValueError:
        return ""
    return path if f".{path.rpartition('.')[2].lower()}" in images.SUFFIXES else ""


def _boxes(region: Any) -> list[Box]:
    """The box of a region, none where it is about the whole picture. Raises ValueError, which says what is wrong."""
    if not isinstance(region, dict):
        raise ValueError("it is no region")
    kind, value = str(region.get("type")), region.get("value")
    if kind in ("choices", "textarea", "rating", "number", "taxonomy", "relation"):
        return []  # before the value is read: a relation has none
    if not isinstance(value, dict):
        raise ValueError("it has no value")
    if kind not in ("rectanglelabels", "polygonlabels"):
        raise ValueError(f"{kind[:40]} is no box. Remove it in Label Studio")
    labels = value.get(kind)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str) or not labels[0]:
        raise ValueError("it has not exactly one label")
    if kind == "polygonlabels":
        points = value.get("points")
        pairs = points if isinstance(points, list) else []
        flat = [finite_number(part) for pair in pairs for part in (pair if isinstance(pair, list) else [None])]
        numbers = [number / 100 for number in flat if number is not None]
        if len(numbers) != len(flat) or len(numbers) < 6 or len(numbers) % 2:
            raise ValueError("its points are not pairs of numbers")
        return [envelope(labels[0], numbers[::2], numbers[1::2])]
    left, top, width, height = (finite_number(value.get(name)) for name in ("x", "y", "width", "height"))
    turn = finite_number(value.get("rotation") or 0)
    if left is None or top is None or width is None or height is None or turn is None:
        raise ValueError("its x, y, width and height are not numbers")
    if not turn:
        return [Box(labels[0], left / 100, top / 100, (left + width) / 100, (top + height) / 100)]
    # Label Studio turns a rectangle around its upper left corner, by degrees, in pixels.
    across, down = pixel_count(region.get("original_width")), pixel_count(region.get("original_height"))
    if not across or not down:
        raise ValueError("it is turned, and the size of its picture is not given")
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    offsets = [(x * across / 100, y * down / 100) for x in (0.0, width) for y in (0.0, height)]
    xs = [left / 100 + (x * cos - y * sin) / across for x, y in offsets]
    ys = [top / 100 + (x * sin + y * cos) / down for x, y in offsets]
    return [envelope(labels[0], xs, ys)]
