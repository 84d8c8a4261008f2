"""Suspicious labels of a data set: as a page, as CSV, and as the JSON from which `make label` opens their pictures.

workspace/reports/<RUN>/
    suspects.html   the most suspicious, cut out of their pictures, each with the reason
    suspects.json   the same, with the pictures in the order in which `make label` opens them
    suspects.csv    all
"""

import csv
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core import json_files
from facemask.core.files import replacing_file, spreadsheet_cell, write_json
from facemask.data.data_rules import printable
from facemask.data.discovery import path_below
from facemask.data.images import read_image
from facemask.evaluation.held_out_labels import HeldOutLabels
from facemask.evaluation.label_suspects import KINDS, Suspect

FORMAT = 1
PAGE, LISTED, TABLE = "suspects.html", "suspects.json", "suspects.csv"


@dataclass(frozen=True)
class SuspectPictures:
    """What `make label` opens.

    Attributes:
        pictures: Names of the pictures, relative to the folder of images, the most suspicious first.
        notes: What to look for in each, by name.
    """

    pictures: tuple[str, ...]
    notes: dict[str, str]


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


def suspects_text(folder: Path, root: Path, labels: HeldOutLabels, suspects: Sequence[Suspect], count: int) -> str:
    """The result for people: the first ten, the counts by kind, and what to do next."""
    shown = most_suspicious(suspects, count)
    lines = [f"{printable(one.name)}: {one.kind}: {one.reason}" for one in shown[:10]]
    if len(shown) > 10:
        lines.append(f"... and {len(shown) - 10:,} more")
    kinds = Counter(suspect.kind for suspect in shown)
    counted = ", ".join(f"{kinds[kind]:,} {kind}" for kind in KINDS)
    pictures = len({suspect.name for suspect in shown})
    places = f"the {len(shown):,} most suspicious places, in {pictures:,} pictures"
    lines.append(f"{labels.boxes:,} labels; {places}: {counted}")
    lines += [f"Left out: {line}" for line in labels.left_out]
    if labels.verified:
        lines.append(f"Left out: {len(labels.verified):,} pictures that a person has verified")
    lines.append(f"{folder / PAGE}; correct them now: make label SUSPECTS={folder.name} IMAGES={root}")
    return "\n".join(lines)


def _crops(root: Path, shown: Sequence[Suspect], pictures: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """The place of each suspect in `shown`, and its crop; each picture is decoded once."""
    from facemask.evaluation.report.picture_crops import crop_boxes

    for name in pictures:
        image = read_image(path_below(root, name))
        for place, suspect in enumerate(shown):
            if suspect.name == name:
                truth_box = None if suspect.label is None else suspect.box
                caption = f"{place + 1}. {suspect.kind}: {suspect.reason}"
                yield place, crop_boxes(image, printable(name), caption, truth_box, suspect.found_box)


def _write_table(path: Path, suspects: Sequence[Suspect]) -> None:
    columns = ("rank", "kind", "suspicion", "picture", "label", "found", "score", "iou")
    with replacing_file(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*columns, "xmin", "ymin", "xmax", "ymax", "reason"))
        for rank, one in enumerate(suspects, start=1):
            corners = [f"{value:.1f}" for value in one.box]
            facts = (f"{one.suspicion:.4f}", spreadsheet_cell(one.name), one.label or "", one.found_label or "")
            table.writerow((rank, one.kind, *facts, f"{one.score:.3f}", f"{one.iou:.3f}", *corners, one.reason))
