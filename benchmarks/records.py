"""Measure the speed and the memory of `make records`, and compare it with the straightforward way.

    python -m benchmarks.records [--counts 1000,10000] [--processes 1,2] [--folder /somewhere/large]

The images are generated: different 480 x 360 JPEG files of some 30 KB, with 1 to 8 boxes each. The reference works like
the tutorials for the Object Detection API: one process, all boxes in a pandas frame, one TFRecordWriter, and images
that are neither decoded nor checked.
"""

import io
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.processes import measure
from facemask.data import voc
from facemask.data.voc import Annotation, Box

CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect")


def main(
    counts: Annotated[str, typer.Option(help="Numbers of images.")] = "1000,10000",
    processes: Annotated[str, typer.Option(help="Numbers of processes.")] = "1,2",
    folder: Annotated[
        Path | None, typer.Option(help="Folder for the images and records, which are removed afterwards.")
    ] = None,
) -> None:
    """Measure, and print one table."""
    table = Table("images", "how", "seconds", "images/s", "peak memory, MB", title="make records")
    for column in table.columns[2:]:
        column.justify = "right"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for count in map(int, counts.split(",")):
            images = Path(scratch) / f"images {count}"
            generate(images, count)
            out = Path(scratch) / "records"
            steps = [sys.executable, "-m", "scripts.records", "--images", str(images)]
            ways = {
                f"make records, {number} process(es)": [
                    *steps,
                    "--annotations",
                    f"{out} {number}",
                    "--processes",
                    number,
                ]
                for number in processes.split(",")
            }
            ways["reference"] = [sys.executable, "-m", "benchmarks.records", "reference", str(images), f"{out}.record"]
            for name, command in ways.items():
                cost = measure(command)
                rate, memory = count / cost.seconds, cost.memory / 2**20
                table.add_row(f"{count:,}", name, f"{cost.seconds:.1f}", f"{rate:,.0f}", f"{memory:,.0f}")
    Console().print(table)


def generate(folder: Path, count: int) -> None:
    """Write labelled images. The same arguments give the same images."""
    folder.mkdir()
    with ProcessPoolExecutor() as pool:
        list(pool.map(generate_one, [folder] * count, range(count), chunksize=50))


def generate_one(folder: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    blotches = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((480, 360), Image.BICUBIC)
    noise = rng.normal(0, 9, (360, 480, 1))
    image = Image.fromarray(np.clip(np.asarray(blotches) + noise, 0, 255).astype(np.uint8))
    name = f"image{number:06}"
    image.save(folder / f"{name}.jpg", quality=75)
    boxes = []
    for _ in range(rng.integers(1, 9)):
        x, y, side = rng.integers(0, 400), rng.integers(0, 280), rng.integers(8, 80)
        boxes.append(Box(CLASSES[rng.choice(3, p=(0.79, 0.18, 0.03))], x, y, x + side, y + side))
    annotation = Annotation(folder / f"{name}.xml", f"{name}.jpg", 480, 360, tuple(boxes))
    voc.write_voc(annotation.path, annotation)


def reference(images: Path, record: Path) -> None:
    """The straightforward way."""
    import xml.etree.ElementTree as ElementTree

    import pandas as pd
    import tensorflow as tf

    rows = []
    for path in sorted(images.glob("*.xml")):
        root = ElementTree.parse(path).getroot()
        size = root.find("size")
        for node in root.findall("object"):
            corners = [int(node.find("bndbox").find(edge).text) for edge in ("xmin", "ymin", "xmax", "ymax")]
            rows.append((root.find("filename").text, int(size[0].text), int(size[1].text), node[0].text, *corners))
    columns = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]
    frame = pd.DataFrame(rows, columns=columns)

    def ints(values: list[int]) -> "tf.train.Feature":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(values: list[float]) -> "tf.train.Feature":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def texts(values: list[bytes]) -> "tf.train.Feature":
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    with tf.io.TFRecordWriter(str(record)) as writer:
        for filename, group in frame.groupby("filename"):
            with tf.io.gfile.GFile(str(images / filename), "rb") as file:
                encoded = file.read()
            width, height = Image.open(io.BytesIO(encoded)).size
            feature = {
                "image/height": ints([height]),
                "image/width": ints([width]),
                "image/filename": texts([filename.encode()]),
                "image/source_id": texts([filename.encode()]),
                "image/encoded": texts([encoded]),
                "image/format": texts([b"jpg"]),
                "image/object/bbox/xmin": floats([row.xmin / width for _, row in group.iterrows()]),
                "image/object/bbox/xmax": floats([row.xmax / width for _, row in group.iterrows()]),
                "image/object/bbox/ymin": floats([row.ymin / height for _, row in group.iterrows()]),
                "image/object/bbox/ymax": floats([row.ymax / height for _, row in group.iterrows()]),
                "image/object/class/text": texts([row["class"].encode() for _, row in group.iterrows()]),
                "image/object/class/label": ints([CLASSES.index(row["class"]) + 1 for _, row in group.iterrows()]),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


if __name__ == "__main__":
    if sys.argv[1:2] == ["reference"]:
        reference(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        typer.run(main)
