"""Make record files in two steps. Any number of processes or machines can share the work of each.

First every picture is read, checked and stored as a framed example in a scratch folder, in batches. Then, when the
splits of all pictures are known, each record file is assembled from the stored examples.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemask.core.files import replacing_file
from facemask.core.label_map import LabelMap
from facemask.data import tfexample, tfrecord
from facemask.data.discovery import DiscoveredPicture
from facemask.data.labelled_picture import LabelledPicture, read_labelled_picture
from facemask.data.splits import number_of_name

SHARD_BYTES = 200 << 20
"""Largest size of a shard if the number of shards is not given. TensorFlow's guide on input performance advises 100 to
200 MB."""

BATCH = 16
"""Number of pictures in one file of the scratch folder."""


@dataclass(frozen=True, slots=True)
class StoredExample:
    """The place of a picture's framed example until its record file is made.

    Attributes:
        file: Name of a file in the scratch folder.
        offset: Offset of the first byte in that file.
        size: Number of bytes.
    """

    file: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record file to be made: its name, and its examples in order."""

    name: str
    examples: tuple[StoredExample, ...]


def picture_batches(sources: Sequence[DiscoveredPicture]) -> Iterator[tuple[int, Sequence[DiscoveredPicture]]]:
    """Yield the pictures in batches of `BATCH`, each with its number."""
    return ((number, sources[number : number + BATCH]) for number in range(0, len(sources), BATCH))


def store_examples(
    root: Path, label_map: LabelMap, scratch: Path, batch: tuple[int, Sequence[DiscoveredPicture]]
) -> list[tuple[LabelledPicture, StoredExample]]:
    """Read a batch of pictures and store the examples of those that are usable.

    Args:
        root: The data set; an absolute path, since a worker's working directory may differ.
        label_map: The classes.
        scratch: The scratch folder; an absolute path.
        batch: The batch's unique number, and its pictures.

    Returns:
        Each picture and the place of its example. The example of an unusable picture has 0 bytes.
    """
    number, sources = batch
    path = scratch / f"{number:08d}.examples"
    stored = []
    # Beam may run a batch twice, even at the same time: the last rename wins.
    with replacing_file(path) as beside, beside.open("wb") as file:
        for source in sources:
            picture, encoded = read_labelled_picture(root, source, label_map)
            offset, size = file.tell(), 0
            if picture.usable:
                size = file.write(tfrecord.frame_record(tfexample.encode_example(picture, encoded, label_map)))
            stored.append((picture, StoredExample(path.name, offset, size)))
    return stored


def write_record_file(folder: Path, scratch: Path, record_file: RecordFile) -> None:
    """Assemble a record file in `folder` from the examples in `scratch`."""
    with replacing_file(folder / record_file.name) as beside, beside.open("wb") as file:
        for example in record_file.examples:
            with (scratch / example.file).open("rb") as stored:
                stored.seek(example.offset)
                file.write(stored.read(example.size))


def order_of_split(names: Mapping[str, int]) -> list[tuple[str, int]]:
    """The order of a split's examples.

    It follows hashes of the names. So neighbours in a folder, such as the frames of a film, are far apart in the
    records, and so are the repetitions of a picture.

    Args:
        names: The number of repetitions of each picture in the split.

    Returns:
        Each picture's name and the number of its repetition, from 0.
    """
    entries = [(name, repetition) for name in sorted(names) for repetition in range(names[name])]
    return sorted(entries, key=lambda entry: number_of_name(entry[0], salt=f"{entry[1]}/"))


def divide_into_files(split: str, examples: Iterable[StoredExample], shards: int) -> list[RecordFile]:
    """Divide a split's examples into record files with nearly equal numbers of examples.

    Args:
        split: The split's name.
        examples: Its examples in order.
        shards: Number of files, named `-00000-of-00004`. With 0 it is one, or as many as `SHARD_BYTES` requires.
    """
    held = tuple(examples)
    count = shards or max(1, -(-sum(example.size for example in held) // SHARD_BYTES))
    names = [f"{split}.record-{number:05d}-of-{count:05d}" for number in range(count)]
    if count == 1 and shards == 0:
        names = [f"{split}.record"]
    edges = [-(-number * len(held) // count) for number in range(count + 1)]
    return [RecordFile(name, held[edges[number] : edges[number + 1]]) for number, name in enumerate(names)]
