"""Labels as other tools write them, for two small pictures with a box each (and a second one)."""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import made_data
import yaml

from facemask.core.label_map import LabelMap
from facemask.data.class_mapping import ClassMapping, parse_class_mapping
from facemask.data.voc import Box

WIDTH, HEIGHT = 64, 48
Labels = Mapping[str, Sequence[Box]]

TWO: Labels = {
    "a.jpg": (Box("with_mask", 5, 6, 25, 30), Box("without_mask", 30.5, 8, 44.25, 40)),
    "b.jpg": (Box("with_mask", 0, 0, 64, 48),),
}


def mapping(text: str = "", dropped: str = "", classes: LabelMap = made_data.CLASSES) -> ClassMapping:
    return parse_class_mapping(text, dropped, classes)


def pictures(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made_data.encoded(made_data.picture(made_data.hash_of(name), WIDTH, HEIGHT)))


def coco(folder: Path, labels: Labels) -> Path:
    names = sorted({box.label for boxes in labels.values() for box in boxes})
    images, annotations = [], []
    for number, (name, boxes) in enumerate(labels.items()):
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 1})
        for box in boxes:
            corners = [box.xmin, box.ymin, box.width, box.height]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": names.index(box.label), "bbox": corners}
            )
    value = {
        "info": {"url": "https://example.org/faces"},
        "licenses": [{"id": 1, "name": "CC BY 4.0"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    return _text(folder / "_annotations.coco.json", json.dumps(value))


def yolo(folder: Path, labels: Labels) -> Path:
    names = sorted({box.label for boxes in labels.values() for box in boxes})
    for name, boxes in labels.items():
        lines = [
            f"{names.index(box.label)} {(box.xmin + box.xmax) / 2 / WIDTH:.8f} {(box.ymin + box.ymax) / 2 / HEIGHT:.8f}"
            f" {box.width / WIDTH:.8f} {box.height / HEIGHT:.8f}"
            for box in boxes
        ]
        _text(folder / f"{name.rpartition('.')[0]}.txt", "\n".join(lines))
    about = {"names": names, "roboflow": {"license": "CC BY 4.0", "url": "https://example.org/faces"}}
    return _text(folder / "data.yaml", yaml.safe_dump(about))


def cvat(folder: Path, labels: Labels) -> Path:
    lines = ["<annotations><version>1.1</version><meta><task><name>faces</name></task></meta>"]
    for number, (name, boxes) in enumerate(labels.items()):
        lines.append(f'<image id="{number}" name={quoteattr(name)} width="{WIDTH}" height="{HEIGHT}">')
        lines += [
            f'<box label={quoteattr(box.label)} occluded="0" xtl="{box.xmin}" ytl="{box.ymin}" xbr="{box.xmax}" '
            f'ybr="{box.ymax}" z_order="0"/>'
            for box in boxes
        ]
        lines.append("</image>")
    return _text(folder / "annotations.xml", "\n".join([*lines, "</annotations>"]))


def label_studio(folder: Path, labels: Labels) -> Path:
    tasks = []
    for number, (name, boxes) in enumerate(labels.items()):
        result = [
            {
                "type": "rectanglelabels",
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "value": {
                    "x": 100 * box.xmin / WIDTH,
                    "y": 100 * box.ymin / HEIGHT,
                    "width": 100 * box.width / WIDTH,
                    "height": 100 * box.height / HEIGHT,
                    "rotation": 0,
                    "rectanglelabels": [box.label],
                },
            }
            for box in boxes
        ]
        tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/upload/1/0123abcd-{name}"},
                "annotations": [{"result": result, "was_cancelled": False}],
            }
        )
    return _text(folder / "project-1.json", json.dumps(tasks))


def voc(folder: Path, labels: Labels) -> Path:
    for name, boxes in labels.items():
        objects = "".join(
            f"<object><name>{box.label}</name><bndbox><xmin>{box.xmin}</xmin><ymin>{box.ymin}</ymin><xmax>{box.xmax}"
            f"</xmax><ymax>{box.ymax}</ymax></bndbox></object>"
            for box in boxes
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"
        _text(folder / "Annotations" / f"{name.rpartition('.')[0]}.xml", text)
    return folder / "Annotations"


MAKERS: Mapping[str, Callable[[Path, Labels], Path]] = {
    "coco": coco,
    "yolo": yolo,
    "cvat": cvat,
    "label_studio": label_studio,
    "voc": voc,
}


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder).as_posix())
    return archive


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
