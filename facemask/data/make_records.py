"""`make records`: convert a labelled data set into record files. They are written beside their target and renamed.

A folder of records holds `label_map.pbtxt`, the record files, `boxes.csv` (a row for each box: image, split, class,
xmin, ymin, xmax, ymax in pixels, difficult, truncated; an image without boxes has one row with an empty class),
`records.json` (see `manifest`), and for the next `make records` `inputs.json`:

    {"format": 1, "fingerprint": "<sha256 over names, sizes and times of the files, the classes and the options>",
     "proportions": [0.7, 0.15, 0.15], "look_alikes_together": true, "examples": {"train": 560, ...},
     "bytes": {"train.record": 31415926, ...}, "found": {"box_clipped": {"files": 10, "count": 11}, ...},
     "unused": ["lost_all_its_boxes.jpg", ...]}
"""

import contextlib
import csv
import errno
import functools
import hashlib
import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from facemask.core import worker_processes
from facemask.core.errors import UserError
from facemask.core.files import holding_lock, write_json
from facemask.core.label_map import LabelMap
from facemask.core.provenance import made_by
from facemask.core.worker_processes import Ordered
from facemask.data import earlier_records, manifest, shards, splits
from facemask.data.data_rules import RULES, Finding, printable, refuse_stopping_findings, stopping_findings
from facemask.data.discovery import DiscoveredPicture, discover_pictures, path_below
from facemask.data.labelled_picture import LabelledPicture
from facemask.data.manifest import Manifest
from facemask.data.shards import RecordFile, StoredExample
from facemask.data.splits import SPLITS, Candidate, Proportions
from facemask.data.voc import Box

_PARTIAL, _SCRATCH = ".partial", "scratch"
_COLUMNS = ("image", "split", "class", "xmin", "ymin", "xmax", "ymax", "difficult", "truncated")

Progress = Callable[[int, int], None]
"""Called with the number of pictures done and their total."""

Elsewhere = Callable[[Path], Ordered]
"""Takes the scratch folder and returns a `map` that runs on other machines. They all need that folder at this path."""


_SEEN_IN_SPLITS = ("look_alikes_together", "split_of")
"""Options that the digest of the records leaves out, since it covers the split of each picture."""


@dataclass(frozen=True)
class RecordOptions:
    """The options that determine the records, apart from the data and the classes.

    Attributes:
        proportions: The splits' shares of the images that no folder assigns.
        shards: Number of files for each split, named `-00000-of-00004`. With 0 it is one, or for a large split as many
            as `shards.SHARD_BYTES` requires.
        repeat: The number of times that train holds the images of a class, by class; 1 for other classes.
        look_alikes_together: Keep images that look alike in one split.
        split_of: The split of every usable image, by name. If given, folders, shares and earlier records are ignored.
    """

    proportions: Proportions = field(default_factory=Proportions)
    shards: int = 0
    repeat: Mapping[str, int] = field(default_factory=dict)
    look_alikes_together: bool = True
    split_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RuleCount:
    """How often a rule was broken: the number of files, and the number of times (boxes, if it is about boxes).

    `names` are the first three files, separated by commas.
    """

    files: int = 0
    count: int = 0
    names: str = ""


@dataclass(frozen=True)
class RecordsReport:
    """The records that `make_records` made, or found up to date.

    Attributes:
        manifest: The contents of `records.json`.
        examples: Number of examples of each split; larger than the number of images if train repeats some.
        found: The broken rules by name; none of them stops `make records`.
        fresh: False if the inputs had not changed and nothing was made.
        reassigned: Whether all images were assigned to new splits because the proportions had changed.
    """

    manifest: Manifest
    examples: Mapping[str, int]
    found: Mapping[str, RuleCount]
    fresh: bool
    reassigned: bool = False


def parse_repeat(text: str, label_map: LabelMap) -> dict[str, int]:
    """Parse text such as `mask_weared_incorrect=4,without_mask=2`; empty text repeats nothing.

    Raises:
        UserError: The text has another form, a class is not in the label map, or a factor is not from 1 to 100.
    """
    repeat = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        label, _, factor = part.rpartition("=")
        if not factor.isascii() or not factor.isdigit() or not 1 <= int(factor[:4]) <= 100:
            raise UserError(f"{part!r}: write a class and how often train repeats its images, 1 to 100: CLASS=4.")
        if label.strip() not in label_map:
            raise UserError(f"{part!r}: no such class. There are: {', '.join(label_map.names)}.")
        repeat[label.strip()] = int(factor)
    return repeat


def make_records(
    root: Path,
    annotations: Path,
    label_map: LabelMap,
    options: RecordOptions,
    processes: int = 1,
    progress: Progress = lambda done, total: None,
    elsewhere: Elsewhere | None = None,
) -> RecordsReport:
    """Make the records of a data set, or keep the existing ones if no input has changed.

    The files are byte for byte the same for any number of processes. Earlier records are replaced only after all new
    files are written; `records.json` comes last.

    Args:
        root: The folder with images and XML.
        annotations: The folder for the records. While they are made, it needs twice their size.
        label_map: The classes.
        options: The options that determine the records.
        processes: Number of processes; 0 for one a core.
        progress: Called with the number of images read and their total.
        elsewhere: Runs the work on other machines, instead of in processes of this machine.

    Raises:
        UserError: A rule is broken that stops `make records` (the message lists all), no image is usable, or writing
            failed.
    """
    sources, findings = discover_pictures(root)
    refuse_stopping_findings(root, findings)
    fingerprint = _fingerprint(root, sources, findings, label_map, options)
    before = earlier_records.read_inputs(annotations)
    if before.get("fingerprint") == fingerprint and _whole(annotations, before):
        found = {rule: RuleCount(**value) for rule, value in before["found"].items()}
        return RecordsReport(manifest.read_manifest(annotations), before["examples"], found, fresh=False)
    assigned, reassigned = earlier_records.assigned_splits(annotations, options.proportions)
    shares = list(options.proportions.shares)
    settings = {"images": root, "proportions": shares, "shards": options.shards, "repeat": dict(options.repeat)}
    settings["look_alikes"] = "together" if options.look_alikes_together else "apart"
    tally = _Tally(label_map)
    tally.note(findings)
    try:
        with _partial_folder(annotations) as folder:
            with _working(folder / _SCRATCH, processes, elsewhere) as (scratch, ordered, details):
                store = functools.partial(shards.store_examples, root.absolute(), label_map, scratch)
                batches = ordered(store, shards.picture_batches(sources))
                held = _hold(batches, len(sources), assigned, details, tally, progress)
                refuse_stopping_findings(root, tally.stopping)
                if not held:
                    raise UserError(f"{root}: no usable image in it.")
                candidates = [picture.candidate for picture in held.values()]
                split_of, alike = _split(root, candidates, options)
                refuse_stopping_findings(root, alike)
                tally.note(alike)
                files = _write_table(folder / earlier_records.TABLE, held, split_of, options, details, tally)
                write = functools.partial(shards.write_record_file, folder.absolute(), scratch)
                for _ in ordered(write, [file for split in SPLITS for file in files[split]]):
                    pass
            made = Manifest(label_map.names, tally.splits(files), tally.digest(options), made_by("records", **settings))
            (folder / "label_map.pbtxt").write_text(label_map.to_pbtxt(), encoding="utf-8")
            inputs = {
                "format": earlier_records.FORMAT,
                "fingerprint": fingerprint,
                "proportions": shares,
                "look_alikes_together": options.look_alikes_together,
                "examples": tally.examples,
                "bytes": {file.name: file.stat().st_size for file in sorted(folder.iterdir())},
                "found": {rule: asdict(found) for rule, found in tally.found().items()},
                "unused": tally.unused,
            }
            write_json(folder / earlier_records.INPUTS, inputs)
            manifest.write_manifest(folder, made)
            _publish(folder, annotations)
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise UserError(f"{annotations}: the records cannot be written ({why}).") from None
    return RecordsReport(made, tally.examples, tally.found(), fresh=True, reassigned=reassigned)


def _split(
    root: Path, candidates: Sequence[Candidate], options: RecordOptions
) -> tuple[Mapping[str, str], list[Finding]]:
    """The split of each picture, and the findings about look-alikes."""
    if not options.split_of:
        return splits.split_data_set(candidates, options.proportions, options.look_alikes_together)
    unknown = next((one.name for one in candidates if one.name not in options.split_of), None)
    if unknown is not None:
        raise UserError(f"{root}: {unknown} was added or changed while the folds were made. Run the command again.")
    return options.split_of, []


@dataclass(frozen=True, slots=True)
class _HeldPicture:
    """The part of a usable picture that stays in memory. Its `LabelledPicture` is in a file, at byte `details`."""

    candidate: Candidate
    example: StoredExample
    details: int


@contextlib.contextmanager
def _working(scratch: Path, processes: int, elsewhere: Elsewhere | None) -> Iterator[tuple[Path, Ordered, BinaryIO]]:
    """Make the scratch folder. Yields its absolute path, a `map` for the jobs, and an open file in the folder."""
    scratch.mkdir()
    with contextlib.ExitStack() as stack:
        details = stack.enter_context((scratch / "pictures").open("w+b"))
        if elsewhere:
            yield scratch.absolute(), elsewhere(scratch), details
        else:
            started = worker_processes.started_workers(processes, shards.__name__, chunk=1)
            yield scratch.absolute(), stack.enter_context(started), details
    shutil.rmtree(scratch)


def _hold(
    batches: Iterable[list[tuple[LabelledPicture, StoredExample]]],
    total: int,
    assigned: Mapping[str, str],
    details: BinaryIO,
    tally: "_Tally",
    progress: Progress,
) -> dict[str, _HeldPicture]:
    """Count the findings in all pictures, and hold the usable ones: large parts in a file, the rest in memory."""
    held: dict[str, _HeldPicture] = {}
    done = 0
    for batch in batches:
        for picture, example in batch:
            tally.note(picture.findings)
            if picture.usable:
                held[picture.name] = _HeldPicture(picture.as_candidate(assigned), example, details.tell())
                pickle.dump(picture, details)
            else:
                tally.unused.append(picture.name)
        done += len(batch)
        progress(done, total)
    return held


def _write_table(
    path: Path,
    held: Mapping[str, _HeldPicture],
    split_of: Mapping[str, str],
    options: RecordOptions,
    details: BinaryIO,
    tally: "_Tally",
) -> dict[str, list[RecordFile]]:
    """Write `boxes.csv` in the order of the records, and return each split's record files."""
    files = {}
    with path.open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for split in SPLITS:
            names = [name for name in held if split_of[name] == split]
            times = {name: _repetitions(held[name].candidate, options) if split == "train" else 1 for name in names}
            order = shards.order_of_split(times)
            files[split] = shards.divide_into_files(split, (held[name].example for name, _ in order), options.shards)
            tally.examples[split] = len(order)
            for name in (name for name, repetition in order if not repetition):
                details.seek(held[name].details)
                picture: LabelledPicture = pickle.load(details)
                tally.add(split, picture)
                rows.writerows([(name, split, *_cells(box)) for box in picture.boxes] or [(name, split, *[""] * 7)])
    return files


def _repetitions(candidate: Candidate, options: RecordOptions) -> int:
    """The number of times that train holds the picture: that of its most repeated class."""
    return max((options.repeat.get(label, 1) for label in candidate.classes), default=1)


class _Tally:
    """Counts and digests, collected while the records are made."""

    def __init__(self, label_map: LabelMap) -> None:
        self._label_map = label_map
        self._boxes: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self._max_boxes = dict.fromkeys(SPLITS, 0)
        self._found: dict[str, Counter[str]] = {}
        self._first: dict[str, list[str]] = {}
        self._digest = hashlib.sha256()
        self._images = dict.fromkeys(SPLITS, 0)
        self.examples = dict.fromkeys(SPLITS, 0)
        self.stopping: list[Finding] = []
        self.unused: list[str] = []

    def note(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._found.setdefault(finding.rule, Counter()).update(files=1, count=finding.count)
            first = self._first.setdefault(finding.rule, [])
            if len(first) < 4:
                first.append("..." if len(first) == 3 else printable(finding.path))
            self.stopping += stopping_findings([finding])

    def add(self, split: str, picture: LabelledPicture) -> None:
        self._images[split] += 1
        self._boxes[split].update(picture.class_counts)
        self._max_boxes[split] = max(self._max_boxes[split], len(picture.boxes))
        told = f"{split}\0{picture.name}\0{picture.image_sha256}\0{picture.xml_sha256}"
        self._digest.update(hashlib.sha256(told.encode()).digest())

    def found(self) -> dict[str, RuleCount]:
        return {
            rule: RuleCount(**self._found[rule], names=", ".join(self._first[rule]))
            for rule in RULES
            if rule in self._found
        }

    def splits(self, files: Mapping[str, Sequence[RecordFile]]) -> dict[str, manifest.Split]:
        return {
            split: manifest.Split(
                files=tuple(file.name for file in files[split]),
                images=self._images[split],
                boxes=self._boxes[split].total(),
                boxes_per_class={name: self._boxes[split][name] for name in self._label_map.names},
                max_boxes=self._max_boxes[split],
            )
            for split in SPLITS
        }

    def digest(self, options: RecordOptions) -> str:
        settings = {name: value for name, value in asdict(options).items() if name not in _SEEN_IN_SPLITS}
        content = [earlier_records.FORMAT, self._label_map.names, settings]
        self._digest.update(json.dumps(content, sort_keys=True).encode())
        return self._digest.hexdigest()


def _cells(box: Box) -> tuple[str, ...]:
    corners = (f"{value:.10g}" for value in (box.xmin, box.ymin, box.xmax, box.ymax))
    return (box.label, *corners, str(int(box.difficult)), str(int(box.truncated)))


@contextlib.contextmanager
def _partial_folder(annotations: Path) -> Iterator[Path]:
    """Make a folder inside `annotations` that is removed in the end. Files that a killed run left are removed first."""
    partial = annotations / _PARTIAL
    folder = partial / "files"
    try:
        refusal = f"{annotations}: another `make records` is writing there. Wait for it."
        with holding_lock(partial / "lock", refusal):
            try:
                if folder.exists():
                    shutil.rmtree(folder)
                folder.mkdir()
                yield folder
            finally:
                # With the lock file, which filelock locks for nobody once it is removed. Windows removes it later.
                shutil.rmtree(partial, ignore_errors=True)
    finally:
        for path in (partial, annotations):
            with contextlib.suppress(OSError):
                path.rmdir()  # fails unless it is empty


def _publish(folder: Path, annotations: Path) -> None:
    """Replace the old files. `records.json` is missing meanwhile, so that nobody reads a mix of old and new."""
    (annotations / manifest.NAME).unlink(missing_ok=True)
    for old in annotations.iterdir():
        if old.is_file() and old.name.partition(".record")[0] in SPLITS and ".record" in old.name:
            old.unlink()
    for file in sorted(folder.iterdir(), key=lambda file: file.name == manifest.NAME):
        file.replace(annotations / file.name)


def _fingerprint(
    root: Path,
    sources: Sequence[DiscoveredPicture],
    findings: Sequence[Finding],
    label_map: LabelMap,
    options: RecordOptions,
) -> str:
    """A digest over the names, sizes and times of all files; it changes when a file changes."""
    digest = hashlib.sha256()
    settings = [
        earlier_records.FORMAT,
        os.fspath(root.resolve()),
        label_map.names,
        asdict(options),
        [asdict(f) for f in findings],
    ]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for source in sources:
        for name in (source.name, source.xml):
            status = path_below(root, name).stat()
            digest.update(f"\0{name}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _whole(annotations: Path, inputs: Mapping[str, Any]) -> bool:
    """Whether all files of the earlier records are still there, with their sizes unchanged."""
    try:
        sizes = {name: (annotations / name).stat().st_size for name in inputs["bytes"]}
    except OSError:
        return False
    return sizes == inputs["bytes"] and (annotations / manifest.NAME).is_file()
