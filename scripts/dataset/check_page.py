"""What `make check` found as one HTML page that needs nothing else, and as JSON."""

import base64
import io
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ImageDraw

from scripts.dataset import audit, images
from scripts.dataset.check import Checked, Labelled
from scripts.dataset.splits import SPLITS
from scripts.support.files import replacing, write_json
from scripts.support.provenance import made_by

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LINES = 500
"""Files that the page lists under one rule; the JSON lists all."""

MAX_PICTURES = 18

_COLOURS = ("#0E9F74", "#D9600A", "#B8930A", "#3D8FD1", "#B765A0", "#7C6FD9", "#5B8C2A", "#8A8F98")


def write(checked: Checked, page: Path) -> None:
    """Write the page, and beside it the same as JSON: `{"made", "splits", "anchors", "findings"}`.

    Args:
        checked: What was found.
        page: The HTML file; the JSON has its name with `.json`.
    """
    import jinja2

    templates = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=templates, autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.get_template("check_page.html.j2").render(
        checked=checked,
        root=audit.printable(str(checked.root)),
        splits=SPLITS,
        per_class={split: checked.per_class(split) for split in SPLITS},
        problems=_problems(checked),
        charts=_charts(checked) if checked.boxes else [],
        rarest=checked.rarest,
        pictures=_pictures(checked),
        max_lines=MAX_LINES,
    )
    with replacing(page) as beside:
        beside.write_text(html, encoding="utf-8", errors="backslashreplace")
    write_json(page.with_suffix(".json"), _as_json(checked))


def _as_json(checked: Checked) -> dict[str, Any]:
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
                "level": audit.RULES[finding.rule].level,
                "rule": finding.rule,
                "path": audit.printable(finding.path),
                "detail": audit.printable(finding.detail),
                "count": finding.count,
            }
            for finding in checked.findings
        ],
    }


def _problems(checked: Checked) -> list[dict[str, Any]]:
    """The broken rules in the order of their table, each with its files."""
    problems = []
    for name, found in groupby(checked.findings, key=lambda finding: finding.rule):
        files = list(found)
        lines = [(audit.printable(finding.path), audit.printable(finding.detail)) for finding in files[:MAX_LINES]]
        problems.append(
            {"rule": audit.RULES[name], "lines": lines, "more": len(files) - len(lines), "files": len(files)}
        )
    return problems


def _charts(checked: Checked) -> list[tuple[str, str]]:
    """Title and SVG of each chart."""
    sides = np.sqrt(np.prod(checked.normalised[:, 2:] - checked.normalised[:, :2], axis=1)) * checked.anchors.size

    def classes(axes: "Axes") -> None:
        places = np.arange(len(checked.classes))
        for number, split in enumerate(SPLITS):
            counts = list(checked.per_class(split).values())
            bars = axes.bar(places + (number - 1) * 0.27, counts, 0.25, color=_COLOURS[number + 3], label=split)
            axes.bar_label(bars, fontsize=8)
        axes.set_xticks(places, [_short(label) for label in checked.classes])
        axes.set_ylabel("boxes")
        axes.legend(frameon=False)

    def box_sizes(axes: "Axes") -> None:
        edges = np.geomspace(max(min(sides.min(), 4.0), 0.5), max(sides.max(), 64.0) * 1.01, 40)
        parts = [[s for s, box in zip(sides, checked.boxes, strict=True) if box.label == c] for c in checked.classes]
        colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(parts))]
        axes.hist(parts, bins=list(edges), stacked=True, color=colours, label=[_short(c) for c in checked.classes])
        axes.set_xscale("log")
        ticks = [2**power for power in range(1, 12) if edges[0] <= 2**power <= edges[-1]]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        smallest = 2**checked.anchors.min_level * checked.anchors.scale
        axes.axvline(smallest, color="#555", linestyle="--", linewidth=1, label=f"smallest anchor, {smallest:g} px")
        axes.set_xlabel(f"square root of the area, pixels at {checked.anchors.size}")
        axes.set_ylabel("boxes")
        axes.legend(frameon=False)

    def coverage(axes: "Axes") -> None:
        scales, parts = list(checked.coverage), [100 * part for part in checked.coverage.values()]
        axes.plot(scales, parts, "o-", color=_COLOURS[0])
        axes.axvline(checked.anchors.scale, color="#555", linestyle="--", linewidth=1, label="configured")
        axes.set_xlabel("anchor scale")
        axes.set_ylabel("boxes covered, %")
        axes.set_ylim(0, 103)
        axes.legend(frameon=False)

    def crowds(axes: "Axes") -> None:
        _, counts = np.unique([box.image for box in checked.boxes], return_counts=True)
        axes.hist(counts, bins=min(40, int(counts.max())), color=_COLOURS[3])
        axes.set_yscale("log")
        axes.set_xlabel(f"boxes in an image (most: {counts.max()})")
        axes.set_ylabel("images")

    charts: list[tuple[str, Callable[[Axes], None]]] = [
        ("Boxes of each class", classes),
        ("Sizes of the boxes at the training size", box_sizes),
        ("Boxes that an anchor covers at IoU 0.5", coverage),
        ("Boxes in an image", crowds),
    ]
    return [(title, _svg(draw)) for title, draw in charts]


def _svg(draw: "Callable[[Axes], None]") -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Same data, same bytes: without a salt the ids are random.
    with matplotlib.rc_context({"svg.hashsalt": "check", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.0, 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def _pictures(checked: Checked) -> list[tuple[str, str, str]]:
    """Crops of boxes of the rarest class, evenly among them: data URI, image name, split."""
    boxes = [box for box in checked.boxes if box.label == checked.rarest]
    if len(boxes) > MAX_PICTURES:
        boxes = [boxes[number * len(boxes) // MAX_PICTURES] for number in range(MAX_PICTURES)]
    return [(_crop(checked.root, box), audit.printable(box.image), box.split) for box in boxes]


def _crop(root: Path, box: Labelled, side: int = 144) -> str:
    """The box with as much around it again, as a PNG in a data URI; a blank one where the file went away meanwhile."""
    from PIL import Image

    try:
        picture = Image.fromarray(images.decode(images.read_bytes(root / box.image)))
    except images.ImageError:
        picture = Image.new("RGB", (side, side), "white")
    xmin, ymin, xmax, ymax = box.corners
    half = max(xmax - xmin, ymax - ymin)
    left, top = (xmin + xmax) / 2 - half, (ymin + ymax) / 2 - half
    crop = picture.transform((side, side), Image.Transform.EXTENT, (left, top, left + 2 * half, top + 2 * half), 2)
    corners = [(value - start) * side / (2 * half) for value, start in zip(box.corners, (left, top) * 2, strict=True)]
    ImageDraw.Draw(crop).rectangle(corners, outline=_COLOURS[1], width=2)
    buffer = io.BytesIO()
    crop.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _short(label: str) -> str:
    # matplotlib takes what stands between two dollars for a formula.
    text = audit.printable(label).replace("$", r"\$")
    return text if len(text) <= 24 else text[:23] + "…"
