"""Import labels and pictures of other tools into the folder of images, as Pascal VOC.

Everything is read and checked before anything is written. An import makes one new folder, or one for each split. A
folder is filled under a hidden name, then renamed.

workspace/images/<name>/            the pictures, each with its XML
workspace/images/<name>/import.json  the options of the import, and each file's name in the source
annotations/sources.csv             where each imported picture comes from, and its licence
"""

import contextlib
import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from facemask.core import hardware
from facemask.core.errors import UserError
from facemask.core.files import filling, free_name, replacing_file, sha256, spreadsheet_cell, unique_names, write_json
from facemask.core.provenance import made_by
from facemask.data import images
from facemask.data.class_mapping import ClassMapping
from facemask.data.label_formats.foreign_labels import ForeignLabels, ForeignPicture, one_line
from facemask.data.label_formats.format_table import recognise_format
from facemask.data.label_formats.label_source import LabelSource, PictureFinder, open_label_source
from facemask.data.label_formats.roboflow_notes import roboflow_origin
from facemask.data.label_formats.voc_format import unreadable_xml
from facemask.data.labelled_picture import MIN_SIDE
from facemask.data.perceptual_hash import MAX_DISTANCE, look_alikes
from facemask.data.picture_hashes import PictureHashes, hash_picture, pictures_below
from facemask.data.splits import SPLITS
from facemask.data.voc import Annotation, Box, write_voc

SOURCES = "sources.csv"
COLUMNS = ("picture", "sha256", "origin", "licence", "format", "source", "file")
UNFINISHED = ".import"
"""The hidden folder, in that of the images, that an import fills."""

TOLERANCE = 1.0
"""Pixels by which a box may stick out: other tools count from 1, or round. It is clipped to the picture."""

_SHOWN = 20

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImportOptions:
    """How an import treats what it finds.

    Attributes:
        format: Name of the format; empty to recognise it.
        name: Name of the new folder; empty for the name of the source.
        origin: Where the pictures come from; empty to take it from the labels.
        licence: Their licence; empty to take it from the labels.
        link: Make hard links to the pictures instead of copies.
        clip: Clip boxes that extend past their picture. A box wholly outside remains a problem.
        skip: Leave out pictures with a problem. Otherwise a problem ends the import.
        keep_look_alikes: Also import pictures that look like a picture that is already there.
        keep_splits: Put pictures below `train/`, `valid/` or `test/` in the source into the folder of that split.
        processes: Number of pictures read at the same time; 0 for one a core.
    """

    format: str = ""
    name: str = ""
    origin: str = ""
    licence: str = ""
    link: bool = False
    clip: bool = False
    skip: bool = False
    keep_look_alikes: bool = False
    keep_splits: bool = False
    processes: int = 0


@dataclass(frozen=True)
class ImportReport:
    """The result of an import.

    Attributes:
        folders: The new folders: one, or with `keep_splits` one for each split. Empty if no picture was new.
        format: The format's name for messages.
        images: Number of imported pictures.
        boxes: Number of boxes of each class.
        dropped: Number of boxes that the class mapping dropped.
        clipped: Number of boxes that were clipped to their picture.
        licence: The pictures' licences as noted in `sources.csv`.
        left_out: A line for each picture that was left out.
        notes: Other lines for the user.
    """

    folders: tuple[Path, ...]
    format: str
    images: int
    boxes: Counter[str]
    dropped: int
    clipped: int
    licence: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def folder(self) -> Path | None:
        """The first new folder; None if no picture was new."""
        return self.folders[0] if self.folders else None

    def text(self) -> str:
        """The summary that is printed."""
        lines = [f"{line}." for line in self.notes]
        if self.left_out:
            lines += [f"Left out: {len(self.left_out):,}", *_shortened(self.left_out)]
        if not self.folders:
            return "\n".join([*lines, "Nothing was imported: nothing in it is new."])
        boxes = ", ".join(f"{count:,} {label}" for label, count in sorted(self.boxes.items())) or "none"
        places = ", ".join(str(folder) for folder in self.folders)
        lines.append(f"{self.images:,} pictures from {self.format} in {places}. Boxes: {boxes}.")
        if self.dropped or self.clipped:
            lines.append(f"{self.dropped:,} boxes dropped by their names, {self.clipped:,} clipped to their pictures.")
        return "\n".join([*lines, f"Licence: {self.licence}."])


@dataclass(frozen=True)
class _Checked:
    """A picture of the source after it was read and its boxes were converted."""

    picture: ForeignPicture
    problems: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    dropped: int = 0
    clipped: int = 0
    width: int = 0
    height: int = 0
    sha256: str = ""
    perceptual_hash: int = 0


def import_labels(
    source: Path,
    folder: Path,
    annotations: Path,
    mapping: ClassMapping,
    options: ImportOptions | None = None,
    pictures: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """Import labels and their pictures into the folder of images.

    Args:
        source: A folder, a zip archive, or a file of labels.
        folder: The folder of images.
        annotations: Where `sources.csv` is.
        mapping: What becomes of each name of a class.
        options: See there.
        pictures: The folder or zip of the pictures where they are not with the labels.
        progress: Called with the pictures read and all of them, those that are there already included.

    Raises:
        UserError: The format is unknown, a name maps to nothing, or something is wrong with a picture or a box; nothing
            was written then.

    Example:
        >>> mapping = parse_class_mapping("mask:with_mask", "", label_map)
        >>> import_labels(Path("masks.zip"), Path("workspace/images"), Path("annotations"), mapping).images
        853
    """
    options = options or ImportOptions()
    with contextlib.ExitStack() as stack:
        labels = stack.enter_context(open_label_source(source))
        holder = stack.enter_context(open_label_source(pictures)) if pictures else labels
        if options.link and holder.folder is None:
            raise UserError(f"{holder.path}: pictures in a zip cannot be linked. Leave out LINK=1.")
        row, files = recognise_format(labels, options.format)
        finder = PictureFinder(holder.names)
        read = row.read(labels, files, finder)
        mapping.check(Counter(box.label for picture in read.pictures for box in picture.boxes), str(source))
        existing = sorted(pictures_below(folder))
        total = len(read.pictures) + len(existing)
        look = partial(_check_picture, holder, mapping, options)
        done: list[_Checked] = []
        for checked in _in_threads(look, read.pictures, options.processes):
            done.append(checked)
            progress(len(done), total)
        problems = [*read.problems, *_unreadable(labels, row.name), *_labelled_twice(read.pictures)]
        problems += [problem for checked in done for problem in checked.problems]
        differing = list(_labelled_differently(done))
        problems += [
            f"{one.picture.image}: is the same as {other.picture.image}, with other boxes ({one.picture.labelled_in})"
            for one, other in differing
        ]
        if problems and not options.skip:
            raise UserError("\n".join([f"{source}: nothing was imported.", *_shortened(problems), _WAYS_OUT]))
        there: list[PictureHashes] = []
        for hashes in _in_threads(hash_picture, existing, options.processes):
            there.append(hashes)
            progress(len(done) + len(there), total)
        twice = {picture.image for picture in (*_repeated(read.pictures), *(one.picture for one, _ in differing))}
        usable = [checked for checked in done if not checked.problems and checked.picture.image not in twice]
        # Without its boxes such a picture would count as one without faces.
        emptied = [checked for checked in usable if checked.dropped and not checked.boxes]
        usable = [checked for checked in usable if not checked.dropped or checked.boxes]
        fresh, copies, notes = _without_copies(usable, there, options.keep_look_alikes)
        left_out = problems + [f"{checked.picture.image}: has only boxes that are dropped" for checked in emptied]
        left_out += copies
        notes = [*dict.fromkeys((*labels.notes, *holder.notes)), *notes]
        notes += _about_unlabelled(labels, holder, finder, read)
        origin, licence = roboflow_origin(labels)
        targets: tuple[Path, ...] = ()
        if fresh:
            fill = _Filling(holder, row.name, source.name, options, origin, licence)
            targets = _write(fill, fresh, folder, annotations, options.name or source.stem)
        licences = sorted({fill.licence_of(checked.picture) for checked in fresh}) if fresh else []
    return ImportReport(
        folders=targets,
        format=row.title,
        images=len(fresh),
        boxes=sum((Counter(box.label for box in checked.boxes) for checked in fresh), Counter()),
        dropped=sum(checked.dropped for checked in fresh),
        clipped=sum(checked.clipped for checked in fresh),
        licence=", ".join(name or "unknown; note it with LICENCE=" for name in licences[:5]),
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


_WAYS_OUT = "Put these right; or SKIP=1 leaves them out, and CLIP=1 clips boxes that stick out of their picture."


def _shortened(lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    more = [f"  ... and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return [f"  {one_line(line, 400)}" for line in lines[:_SHOWN]] + more


def _in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item], count: int) -> Iterator[_Result]:
    """The results in order. Threads are enough: Pillow decodes without the interpreter's lock."""
    pool = ThreadPoolExecutor(count or hardware.usable_cores())
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


# ---- checking ----


def _check_picture(
    source: LabelSource, mapping: ClassMapping, options: ImportOptions, picture: ForeignPicture
) -> _Checked:
    """Read a picture, and convert its boxes to known classes and to pixels inside the picture."""
    try:
        image = images.prepare_image(source.read(picture.image, images.MAX_BYTES))
    except UserError as error:
        return _Checked(picture, (str(error),))
    except images.ImageError as error:
        return _Checked(picture, (f"{picture.image}: {error}",))
    size, said = (image.width, image.height), (picture.width, picture.height)
    if all(said) and said != size:
        problem = f"{picture.image}: has {size[0]} x {size[1]} pixels, its labels are for {said[0]} x {said[1]}"
        return _Checked(picture, (f"{problem} ({picture.labelled_in})",))
    problems: list[str] = []
    kept: list[Box] = []
    dropped = clipped = 0
    scale = size if picture.normalised else (1, 1)
    for number, box in enumerate(picture.boxes, start=1):
        label = mapping.target(box.label)
        if not label:
            dropped += 1
            continue
        ours = replace(
            box,
            label=label,
            xmin=box.xmin * scale[0],
            ymin=box.ymin * scale[1],
            xmax=box.xmax * scale[0],
            ymax=box.ymax * scale[1],
        )
        inside, wrong = _fitted(ours, size, options.clip)
        if wrong:
            corners = ", ".join(f"{value:g}" for value in (ours.xmin, ours.ymin, ours.xmax, ours.ymax))
            where = f"{picture.image}: box {number} ({box.label[:100]}) [{corners}]"
            problems.append(f"{where} {wrong} ({picture.labelled_in})")
        else:
            clipped += inside != ours
            kept.append(inside)
    return _Checked(picture, tuple(problems), tuple(kept), dropped, clipped, *size, image.sha256, image.perceptual_hash)


def _fitted(box: Box, size: tuple[int, int], clip: bool) -> tuple[Box, str]:
    """The box clipped to its picture, and a description of what is wrong with it, which is empty for a good box."""
    if box.width < 0 or box.height < 0:
        return box, "has its edges swapped"
    width, height = size
    inside = box.clipped(width, height)
    out = max(-box.xmin, -box.ymin, box.xmax - width, box.ymax - height)
    if out > TOLERANCE and (not clip or inside.width < MIN_SIDE or inside.height < MIN_SIDE):
        return box, f"is outside the picture of {width} x {height}"
    if inside.width < MIN_SIDE or inside.height < MIN_SIDE:
        return box, "has less than a pixel of width or height"
    return inside, ""


def _unreadable(source: LabelSource, format_name: str) -> Iterator[str]:
    """The damaged JSON files, if the labels are in JSON, or else XML files: such a file may contain labels."""
    if format_name in ("voc", "cvat"):
        yield from unreadable_xml(source)
    if format_name in ("coco", "label_studio"):
        for name in source.with_suffix(".json"):
            try:
                source.read_json(name)
            except UserError as error:
                yield str(error)


def _repeated(pictures: Iterable[ForeignPicture]) -> Iterator[ForeignPicture]:
    seen: dict[str, ForeignPicture] = {}
    for picture in pictures:
        if seen.setdefault(picture.image, picture) is not picture:
            yield picture


def _labelled_twice(pictures: Iterable[ForeignPicture]) -> Iterator[str]:
    for picture in _repeated(pictures):
        yield f"{picture.image}: is labelled twice, the second time in {picture.labelled_in}"


def _labelled_differently(checked: Iterable[_Checked]) -> Iterator[tuple[_Checked, _Checked]]:
    """The files with the same bytes and different boxes, each with one of those that it differs from."""
    same: dict[str, dict[str, _Checked]] = {}
    for one in checked:
        if not one.problems and (one.boxes or not one.dropped):
            same.setdefault(one.sha256, {})[one.picture.image] = one
    for first, *others in map(dict.values, same.values()):
        different = [other for other in others if Counter(other.boxes) != Counter(first.boxes)]
        if different:
            yield first, different[0]
            yield from ((other, first if other in different else different[0]) for other in others)


def _about_unlabelled(
    labels: LabelSource, holder: LabelSource, finder: PictureFinder, read: ForeignLabels
) -> list[str]:
    """A note on the pictures without labels. For a single file those it names, because others may lie beside it."""
    alone = holder is labels and len(labels.label_names) < len(labels.names)
    labelled = {picture.image for picture in read.pictures}
    without = [name for name in dict.fromkeys(read.unlabelled if alone else finder.names) if name not in labelled]
    if not without:
        return []
    names = ", ".join(map(one_line, without[:_SHOWN])) + (", ..." if len(without) > _SHOWN else "")
    return [f"{len(without):,} pictures have no labels and are left out: {names}"]


# ---- copies of what is there ----


def _without_copies(
    checked: list[_Checked], there: list[PictureHashes], keep_look_alikes: bool
) -> tuple[list[_Checked], list[str], list[str]]:
    """The pictures that are new, a line for each that is not, and notes on those that look like each other."""
    path_of = {one.sha256: str(one.path) for one in there if one.sha256}
    left_out: list[str] = []
    fresh: list[_Checked] = []
    for one in checked:
        if one.sha256 in path_of:
            left_out.append(f"{one.picture.image}: is the same as {path_of[one.sha256]}")
        else:
            path_of[one.sha256] = one.picture.image
            fresh.append(one)
    known = [(str(one.path), one.perceptual_hash) for one in there if one.perceptual_hash >= 0]
    hashes = [value for _, value in known] + [one.perceptual_hash for one in fresh]
    alike: dict[int, str] = {}
    among_new: list[str] = []
    for group in look_alikes(hashes):
        old = [index for index in group if index < len(known)]
        new = [index for index in group if index >= len(known)]
        for index in new:
            like = next((i for i in old if (hashes[i] ^ hashes[index]).bit_count() <= MAX_DISTANCE), None)
            if like is not None:
                alike[index - len(known)] = known[like][0]
        apart = [fresh[index - len(known)].picture.image for index in new if index - len(known) not in alike]
        if len(apart) > 1:
            among_new.append(" and ".join(apart[:3]) + (" and others" if len(apart) > 3 else ""))
    lines = [f"{fresh[index].picture.image}: looks like {path}" for index, path in sorted(alike.items())]
    notes = [f"{line} look alike; make records keeps them in one split" for line in among_new[:_SHOWN]]
    if len(among_new) > _SHOWN:
        notes.append(f"{len(among_new) - _SHOWN:,} more groups of pictures look alike")
    if keep_look_alikes:
        return fresh, left_out, [*lines, *notes]
    if lines:
        left_out += [*lines, "KEEP_LOOK_ALIKES=1 takes those that only look alike"]
    return [one for index, one in enumerate(fresh) if index not in alike], left_out, notes


# ---- writing ----


@dataclass(frozen=True)
class _Filling:
    """The arguments of the functions that fill a folder."""

    source: LabelSource
    format: str
    source_name: str
    options: ImportOptions
    origin: str
    licence: str

    def origin_of(self, picture: ForeignPicture) -> str:
        return one_line(self.options.origin or self.origin or picture.origin)

    def licence_of(self, picture: ForeignPicture) -> str:
        return one_line(self.options.licence or picture.licence or self.licence)


def _write(fill: _Filling, fresh: list[_Checked], folder: Path, annotations: Path, name: str) -> tuple[Path, ...]:
    """Write the pictures and their XML into new folders, and their origin into the table. Returns the folders."""
    hidden = folder / UNFINISHED
    parts: dict[str, list[_Checked]] = {}
    for one in fresh:
        parts.setdefault(_split_of(one.picture.image) if fill.options.keep_splits else "", []).append(one)
    with filling(hidden, f"{folder}: another import is running.", "Nothing was imported."):
        plain = _free_name([folder / split for split in parts], name)
        targets = {split: folder / split / plain for split in parts}
        rows = []
        for split, held in parts.items():
            filled = hidden / (split or "all")
            filled.mkdir()
            here = []
            for one, file in zip(held, _file_names(held), strict=True):
                _write_picture(fill, one, filled, targets[split], file)
                here.append(_row(fill, one, (targets[split] / file).relative_to(folder).as_posix()))
            settings = {"source": fill.source_name, "format": fill.format, "images": len(here)}
            write_json(filled / "import.json", {"made": made_by("import", **settings), "pictures": here})
            rows += here
        with _sources_with(annotations / SOURCES, rows):
            _show({hidden / (split or "all"): target for split, target in targets.items()})
    return tuple(targets.values())


def _show(targets: Mapping[Path, Path]) -> None:
    """Give the filled folders their names: all of them, or none."""
    shown: list[tuple[Path, Path]] = []
    try:
        for filled, target in targets.items():
            target.parent.mkdir(exist_ok=True)
            filled.rename(target)
            shown.append((filled, target))
    except OSError:
        for filled, target in shown:
            target.rename(filled)
        raise


_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "val",
    "validation": "val",
    "val": "val",
    "test": "test",
}


def _split_of(image: str) -> str:
    """The split that is named by a folder in the picture's path in the source; empty for none."""
    folders = (part.casefold() for part in image.split("/")[:-1])
    return next((_SPLIT_FOLDERS[part] for part in folders if part in _SPLIT_FOLDERS), "")


def _write_picture(fill: _Filling, one: _Checked, hidden: Path, target: Path, file: str) -> None:
    if fill.options.link and fill.source.folder is not None:
        original = fill.source.folder / one.picture.image
        try:
            (hidden / file).hardlink_to(original.resolve())
        except OSError as error:
            raise UserError(f"{original}: cannot be linked ({error.strerror}). Leave out LINK=1 to copy.") from None
    else:
        (hidden / file).write_bytes(fill.source.read(one.picture.image, images.MAX_BYTES))
    if sha256(hidden / file) != one.sha256:
        raise UserError(f"{one.picture.image}: changed while it was imported. Import it again.")
    xml = f"{file.rpartition('.')[0]}.xml"
    origin = fill.origin_of(one.picture) or "Unknown"
    annotation = Annotation(target / xml, file, one.width, one.height, one.boxes, origin)
    write_voc(hidden / xml, annotation)


def _row(fill: _Filling, one: _Checked, picture: str) -> dict[str, str]:
    values = (
        picture,
        one.sha256,
        fill.origin_of(one.picture),
        fill.licence_of(one.picture) or "unknown",
        fill.format,
        fill.source_name,
        one.picture.image,
    )
    return dict(zip(COLUMNS, values, strict=True))


@contextlib.contextmanager
def _sources_with(path: Path, rows: list[dict[str, str]]) -> Iterator[None]:
    """Write the table with more rows to a new file. It replaces the old table when the block ends.

    What stands in the table stays, a user's columns too.
    """
    before: list[list[str]] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            before = list(csv.reader(file))
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table ({error}). Move it away.") from None
    header = before[0] if before else list(COLUMNS)
    if not set(COLUMNS) <= set(header):
        raise UserError(f"{path}: is not a table that make import wrote. Move it away.")
    with replacing_file(path) as beside:
        with beside.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerows(before or [header])
            table.writerows([spreadsheet_cell(row.get(name, "")) for name in header] for row in rows)
        yield


def _free_name(folders: Sequence[Path], name: str) -> str:
    """A name for the new folder, made from the source's name, that no existing folder has."""
    plain = _file_name(name) or "import"
    if plain in SPLITS:
        plain = f"import-{plain}"  # a folder of that name stands for a split
    return free_name(plain, lambda free: any(os.path.lexists(one / free) for one in folders))


def _file_names(fresh: list[_Checked]) -> list[str]:
    """A file name for each picture. Names differ by more than their suffix or case."""
    names = [one.picture.image.rpartition("/")[2].rpartition(".") for one in fresh]
    stems = unique_names(_file_name(stem) or "picture" for stem, _, _ in names)
    return [f"{stem}.{suffix.lower()}" for stem, (_, _, suffix) in zip(stems, names, strict=True)]


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip("._-")[:80].rstrip("._-")
