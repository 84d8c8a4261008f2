"""Write the findings of `make check` as one self-contained HTML page and as JSON."""

import base64
import io
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageDraw

from facemask.core import charts
from facemask.core.charts import BarGroup
from facemask.core.colours import chart_colour
from facemask.core.errors import UserError
from facemask.core.files import replacing_file, write_json
from facemask.core.provenance import made_by
from facemask.data import images
from facemask.data.data_rules import RULES, printable
from facemask.data.dataset_check import CheckedDataset, normalised_boxes
from facemask.data.labelled_picture import LabelledPicture
from facemask.data.splits import SPLITS
from facemask.data.voc import Box

MAX_LINES = 500
"""Number of files that the page lists under one rule; the JSON lists all."""

MAX_PICTURES = 18

_CHART_SIZE = (6.0, 3.4)


def refuse_wrong_page(page: Path) -> None:
    """Raise a UserError if the page cannot be written to a path: before the data set is read, which takes long."""
    if page.is_dir():
        raise UserError(f"{page}: is a folder. Give PAGE= a file, such as {page / 'data.html'}.")
    if page.suffix == ".json":
        raise UserError(f"{page}: the JSON goes there, beside the page. Give PAGE={page.with_suffix('.html')}.")


def write_check_page(checked: CheckedDataset, page: Path) -> None:
    """Write the page, and beside it the same content as JSON: `{"made", "splits", "anchors", "findings"}`.

    Args:
        checked: The checked data set.
        page: The HTML file. The JSON has the same name with the suffix `.json`.

    Raises:
        UserError: They cannot be written there.
    """
    import jinja2

    refuse_wrong_page(page)
    templates = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=templates, autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.get_template("check_page.html.j2").render(
        checked=checked,
        root=printable(str(checked.root)),
        splits=SPLITS,
        per_class={split: checked.per_class(split) for split in SPLITS},
        problems=_problems(checked),
        charts=_charts(checked) if checked.boxes else [],
        rarest=checked.rarest,
        pictures=_pictures(checked),
        max_lines=MAX_LINES,
    )
    try:
        with replacing_file(page) as beside:
            beside.write_text(html, encoding="utf-8", errors="backslashreplace")
        write_json(page.with_suffix(".json"), _as_json(checked))
    except OSError as error:
        raise UserError(f"{page}: cannot be written ({error.strerror or error}). Give another PAGE=.") from None


def _as_json(checked: CheckedDataset) -> dict[str, Any]:
    return {
        "made": made_by("check", images=checked.root, size=checked.anchors.size, anchor_scale=checked.anchors.scale),
        "splits": {
            split: {
                "images": checked.images[split],
                "negatives": checked.negatives[split],
                "boxes_per_class": checked.per_class(split),
            }
            for split in SPLITS
        },
        "anchors": {
            "size": checked.anchors.size,
            "scale": checked.anchors.scale,
            "coverage_by_scale": {f"{scale:g}": part for scale, part in checked.coverage.items()},
        },
        "findings": [
            {
                "level": RULES[finding.rule].level,
                "rule": finding.rule,
                "path": printable(finding.path),
                "detail": printable(finding.detail),
                "count": finding.count,
            }
            for finding in checked.findings
        ],
    }


def _problems(checked: CheckedDataset) -> list[dict[str, Any]]:
    """The broken rules in the order of their table, each with its files."""
    problems = []
    for name, found in groupby(checked.findings, key=lambda finding: finding.rule):
        files = list(found)
        lines = [(printable(finding.path), printable(finding.detail)) for finding in files[:MAX_LINES]]
        problems.append({"rule": RULES[name], "lines": lines, "more": len(files) - len(lines), "files": len(files)})
    return problems


def _charts(checked: CheckedDataset) -> list[tuple[str, str]]:
    """The title and the SVG of each chart."""
    normalised = normalised_boxes(checked.pictures)
    sides = np.sqrt(np.prod(normalised[:, 2:] - normalised[:, :2], axis=1)) * checked.anchors.size
    labels = np.array([box.label for _, box in checked.boxes])

    classes = charts.grouped_bars(
        "Boxes of each class",
        [
            BarGroup(split, list(checked.per_class(split).values()), chart_colour(number + 3))
            for number, split in enumerate(SPLITS)
        ],
        [_short(label) for label in checked.classes],
        y_label="boxes",
        value="{:,.0f}".format,
        size=_CHART_SIZE,
    )
    smallest = 2**checked.anchors.min_level * checked.anchors.scale
    box_sizes = charts.stacked_histogram(
        "Sizes of the boxes",
        [
            (
                _short(label),
                sides[labels == label].tolist(),
                chart_colour(number),
            )
            for number, label in enumerate(checked.classes)
        ],
        np.geomspace(max(min(sides.min(), 4.0), 0.5), max(sides.max(), 64.0) * 1.01, 40).tolist(),
        x_label=f"square root of the area, pixels at {checked.anchors.size}",
        y_label="boxes",
        log_x=True,
        mark=(smallest, f"smallest anchor, {smallest:g} px"),
    )
    parts = [100 * part for part in checked.coverage.values()]
    coverage = charts.line_chart(
        "Anchor coverage",
        [charts.Line("", np.array(list(checked.coverage)), np.array(parts), chart_colour(0))],
        x_label="anchor scale",
        y_label="boxes covered, %",
        y_limit=103,
        x_limit=None,
        mark=(checked.anchors.scale, "configured"),
        size=_CHART_SIZE,
    )
    counts = [len(picture.boxes) for picture in checked.pictures if picture.boxes]
    most = max(counts)
    crowds = charts.stacked_histogram(
        "Boxes in an image",
        [("", counts, charts.NEUTRAL)],
        np.linspace(0.5, most + 0.5, min(40, most) + 1).tolist(),
        x_label=f"boxes in an image (at most {most})",
        y_label="images",
        log_y=True,
    )
    return [
        ("Boxes of each class", classes),
        ("Sizes of the boxes at the training size", box_sizes),
        ("Boxes that an anchor covers at IoU 0.5", coverage),
        ("Boxes in an image", crowds),
    ]


def _pictures(checked: CheckedDataset) -> list[tuple[str, str, str]]:
    """Crops of boxes of the rarest class, evenly selected: data URI, image name, split."""
    rarest = checked.rarest
    boxes = [(picture, box) for picture, box in checked.boxes if box.label == rarest]
    if len(boxes) > MAX_PICTURES:
        boxes = [boxes[number * len(boxes) // MAX_PICTURES] for number in range(MAX_PICTURES)]
    return [
        (_crop(checked.root, picture, box), printable(picture.name), checked.split_of[picture.name])
        for picture, box in boxes
    ]


def _crop(root: Path, labelled: LabelledPicture, box: Box, side: int = 144) -> str:
    """The box with a margin of half its longer side, as a PNG data URI; a blank image if the file no longer exists."""
    from PIL import Image

    try:
        picture = Image.fromarray(images.decode_image(images.read_bytes(root / labelled.name)))
    except images.ImageError:
        picture = Image.new("RGB", (side, side), "white")
    half = max(box.width, box.height)
    left, top = (box.xmin + box.xmax) / 2 - half, (box.ymin + box.ymax) / 2 - half
    crop = picture.transform((side, side), Image.Transform.EXTENT, (left, top, left + 2 * half, top + 2 * half), 2)
    edges = (box.xmin - left, box.ymin - top, box.xmax - left, box.ymax - top)
    corners = [edge * side / (2 * half) for edge in edges]
    ImageDraw.Draw(crop).rectangle(corners, outline=chart_colour(1), width=2)
    buffer = io.BytesIO()
    crop.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _short(label: str) -> str:
    text = printable(label)
    return text if len(text) <= 24 else text[:23] + "…"
