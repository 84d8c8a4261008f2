"""A labelled data set -> record files: in processes, streamed, written beside and renamed.

A folder of records holds `label_map.pbtxt`, the record files, `boxes.csv` (a row for each box: image, split, class,
xmin, ymin, xmax, ymax in pixels, difficult, truncated; an image without boxes has one row with an empty class),
`records.json` (see `manifest`), and for the next `make records` `inputs.json`:

    {"format": 1, "fingerprint": "<sha256 over names, sizes and times of the files, the classes and the options>",
     "proportions": [0.7, 0.15, 0.15], "examples": {"train": 560, ...}, "bytes": {"train.record": 31415926, ...},
     "found": {"box_clipped": {"files": 10, "count": 11}, ...}, "unused": ["lost_all_its_boxes.jpg", ...]}
"""

import contextlib
import csv
import errno
import fcntl
import functools
import hashlib
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.dataset import audit, manifest, splits, tfexample, tfrecord, workers
from scripts.dataset.audit import Finding, Item
from scripts.dataset.label_map import LabelMap
from scripts.dataset.manifest import Manifest
from scripts.dataset.splits import SPLITS, Proportions
from scripts.dataset.voc import Box
from scripts.support.errors import UserError
from scripts.support.files import write_json
from scripts.support.provenance import made_by

SHARD_BYTES = 200 << 20
"""What a shard holds at most where their number is not given: the 100 to 200 MB that TensorFlow's guide on input
performance advises."""

_FORMAT = 1
_INPUTS = "inputs.json"
_PARTIAL = ".partial"
_COLUMNS = ("image", "split", "class", "xmin", "ymin", "xmax", "ymax", "difficult", "truncated")


@dataclass(frozen=True)
class Options:
    """What decides the records, apart from the data and the classes.

    Attributes:
        proportions: The splits' shares of the images that no folder assigns.
        shards: Files a split, named `-00000-of-00004`; 0 for one file each, and more of `SHARD_BYTES` for large splits.
        repeat: How often train holds the images of a class, by class; 1 for those that are not in it.
    """

    proportions: Proportions = field(default_factory=Proportions)
    shards: int = 0
    repeat: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """How often a rule was broken: in how many files, and how many times (boxes, where it is about boxes)."""

    files: int = 0
    count: int = 0


@dataclass(frozen=True)
class Report:
    """What `write` made, or found made.

    Attributes:
        manifest: The contents of `records.json`.
        examples: Examples in the files of each split; more than images where train repeats some.
        found: The broken rules by name; none of them stops.
        fresh: False where the inputs had not changed and nothing was done.
        reassigned: Images were given to the splits anew since other proportions were asked for.
    """

    manifest: Manifest
    examples: Mapping[str, int]
    found: Mapping[str, Found]
    fresh: bool
    reassigned: bool = False


def parse_repeat(text: str, label_map: LabelMap) -> dict[str, int]:
    """Read `mask_weared_incorrect=4,without_mask=2`; empty text repeats nothing.

    Raises:
        UserError: Not of that form, a class that is not in the label map, or a factor that is not from 1 to 100.
    """
    repeat = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        label, _, factor = part.rpartition("=")
        if not factor.isascii() or not factor.isdigit() or not 1 <= int(factor[:4]) <= 100:
            raise UserError(f"{part!r}: write a class and how often train holds its images, 1 to 100: CLASS=4.")
        if label.strip() not in label_map:
            raise UserError(f"{part!r}: no such class. There are: {', '.join(label_map.names)}.")
        repeat[label.strip()] = int(factor)
    return repeat


def write(
    root: Path,
    annotations: Path,
    label_map: LabelMap,
    options: Options,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    elsewhere: "Elsewhere | None" = None,
) -> Report:
    """Make the records of a data set, or leave them where nothing that they are made of has changed.

    The files are the same byte for byte whatever the number of processes. Nothing takes the place of earlier records
    before all is written; `records.json` comes last.

    Args:
        root: The folder with images and XML.
        annotations: Where the records go.
        label_map: The classes.
        options: What decides the records.
        processes: How many.
        progress: Called with the images done and all of them.
        elsewhere: What makes the record files instead of processes of this machine.

    Raises:
        UserError: A rule that stops is broken (all of that are listed), no image is usable, or writing failed.
    """
    items, findings = audit.discover(root)
    audit.refuse(root, findings)
    fingerprint = _fingerprint(root, items, findings, label_map, options)
    before = _read_inputs(annotations)
    if before.get("fingerprint") == fingerprint and _whole(annotations, before):
        found = {rule: Found(**value) for rule, value in before["found"].items()}
        return Report(manifest.read(annotations), before["examples"], found, fresh=False)
    shares = [options.proportions.of(split) for split in SPLITS]
    reassigned = before.get("proportions", shares) != shares
    assigned = {} if reassigned else splits.read_assigned(annotations / "boxes.csv")
    settings = {"images": root, "proportions": shares, "shards": options.shards, "repeat": dict(options.repeat)}
    try:
        with workers.started(processes, __name__) as ordered, _partial(annotations) as folder:
            candidates = audit.candidates(root, items, assigned, ordered)
            jobs, files = _plan(root, items, splits.assign(candidates, options.proportions), options)
            del items, candidates, assigned
            sums = _Sums(label_map)
            sums.note(findings)
            # Absolute: elsewhere the working directory is another one.
            make = functools.partial(_make, root.absolute(), label_map)
            results = elsewhere(make, jobs, folder) if elsewhere else ordered(make, jobs)
            _write_files(folder, files, jobs, _counted(results, len(jobs), progress), sums)
            audit.refuse(root, sums.stopping)
            if not any(sums.images.values()):
                raise UserError(f"{root}: no usable image in it.")
            sums.note(audit.same_pictures(sums.names, sums.held_in, sums.looks))
            made = Manifest(label_map.names, sums.splits(files), sums.digest(options), made_by("records", **settings))
            (folder / "label_map.pbtxt").write_text(label_map.to_pbtxt(), encoding="utf-8")
            inputs = {
                "format": _FORMAT,
                "fingerprint": fingerprint,
                "proportions": shares,
                "examples": sums.examples,
                "bytes": {file.name: file.stat().st_size for file in sorted(folder.iterdir())},
                "found": {rule: asdict(found) for rule, found in sums.found().items()},
                "unused": sums.unused,
            }
            write_json(folder / _INPUTS, inputs)
            manifest.write(folder, made)
            _publish(folder, annotations)
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise UserError(f"{annotations}: the records cannot be written ({why}).") from None
    return Report(made, sums.examples, sums.found(), fresh=True, reassigned=reassigned)


@dataclass(frozen=True, slots=True)
class Job:
    """An image, and the record file that it goes into."""

    item: Item
    repetition: int
    split: str
    file: str


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a job: `record` is framed, and empty where the image is not used, or is in its file already."""

    used: bool
    record: bytes
    boxes: tuple[Box, ...]
    findings: tuple[Finding, ...]
    looks: int
    digest: bytes


Make = Callable[[Job], Made]
Elsewhere = Callable[[Make, Sequence[Job], Path], Iterable[Made]]
"""Takes jobs in the order of their files, writes each file of their records into the folder, and gives what came of
each job, in the order of the jobs, without its record."""


def _make(root: Path, label_map: LabelMap, job: Job) -> Made:
    examined = audit.examine(root, job.item, label_map)
    image = examined.image
    if not examined.usable or image is None:
        return Made(False, b"", (), examined.findings, 0, b"")
    example = tfexample.encode(
        name=job.item.name,
        encoded=image.encoded,
        image_format=image.format,
        sha256=hashlib.sha256(image.encoded).hexdigest() if image.why_encoded else image.sha256,
        width=image.width,
        height=image.height,
        boxes=examined.boxes,
        label_map=label_map,
    )
    digest = hashlib.sha256(f"{job.split}\0{job.item.name}\0{image.sha256}\0{examined.xml_sha256}".encode()).digest()
    return Made(True, tfrecord.frame(example), examined.boxes, examined.findings, image.looks, digest)


class _Sums:
    """What is counted while the records are written."""

    def __init__(self, label_map: LabelMap) -> None:
        self._label_map = label_map
        self._boxes: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self._max_boxes = dict.fromkeys(SPLITS, 0)
        self._found: dict[str, Counter[str]] = {}
        self._digest = hashlib.sha256()
        self.images = dict.fromkeys(SPLITS, 0)
        self.examples = dict.fromkeys(SPLITS, 0)
        self.names: list[str] = []
        self.held_in: list[str] = []
        self.looks: list[int] = []
        self.stopping: list[Finding] = []
        self.unused: list[str] = []

    def note(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._found.setdefault(finding.rule, Counter()).update(files=1, count=finding.count)
            if audit.RULES[finding.rule].stops:
                self.stopping.append(finding)

    def add(self, job: Job, made: Made) -> None:
        split = job.split
        self.examples[split] += made.used
        if job.repetition:
            return
        self.note(made.findings)
        if not made.used:
            self.unused.append(job.item.name)
            return
        self.images[split] += 1
        self._boxes[split].update(box.label for box in made.boxes)
        self._max_boxes[split] = max(self._max_boxes[split], len(made.boxes))
        self._digest.update(made.digest)
        self.names.append(job.item.name)
        self.held_in.append(job.split)
        self.looks.append(made.looks)

    def found(self) -> dict[str, Found]:
        return {rule: Found(**self._found[rule]) for rule in audit.RULES if rule in self._found}

    def splits(self, files: Mapping[str, tuple[str, ...]]) -> dict[str, manifest.Split]:
        return {
            split: manifest.Split(
                files=files[split],
                images=self.images[split],
                boxes=self._boxes[split].total(),
                boxes_per_class={name: self._boxes[split][name] for name in self._label_map.names},
                max_boxes=self._max_boxes[split],
            )
            for split in SPLITS
        }

    def digest(self, options: Options) -> str:
        self._digest.update(json.dumps([_FORMAT, self._label_map.names, asdict(options)], sort_keys=True).encode())
        return self._digest.hexdigest()


def _plan(
    root: Path, items: Sequence[Item], split_of: Mapping[str, str], options: Options
) -> tuple[list[Job], dict[str, tuple[str, ...]]]:
    """Which image goes into which file, in the order of writing, and each split's files.

    The order is that of hashes: neighbours of a folder (the frames of a film) are far apart in the records, and so are
    the repetitions of an image.
    """
    jobs: list[Job] = []
    files = {}
    for split in SPLITS:
        held = [
            (item, repetition)
            for item in items
            if split_of[item.name] == split
            for repetition in range(_times(root, item, options) if split == "train" else 1)
        ]
        held.sort(key=lambda one: one[0].name)
        held.sort(key=lambda one: splits.place(one[0].name, salt=f"{one[1]}/"))
        count = options.shards
        if not count:
            size = sum(audit.file(root, item.name).stat().st_size for item, _ in held)
            count = max(1, -(-size // SHARD_BYTES))
        single = count == 1 and options.shards == 0
        names = [f"{split}.record" if single else f"{split}.record-{i:05d}-of-{count:05d}" for i in range(count)]
        files[split] = tuple(names)
        for number, (item, repetition) in enumerate(held):
            jobs.append(Job(item, repetition, split, names[number * count // len(held)]))
    return jobs, files


def _times(root: Path, item: Item, options: Options) -> int:
    """How often train holds the image: as its class that is repeated most."""
    if not options.repeat:
        return 1
    return max((options.repeat.get(label, 1) for label in audit.labels(root, item)), default=1)


def _write_files(
    folder: Path, files: Mapping[str, tuple[str, ...]], jobs: Sequence[Job], results: Iterable[Made], sums: _Sums
) -> None:
    """Write the record files and `boxes.csv` as the examples come, which is in the order of the files."""
    for name in itertools.chain(*files.values()):
        (folder / name).touch()
    with contextlib.ExitStack() as stack, (folder / "boxes.csv").open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(_COLUMNS)
        name, file = "", None
        # The jobs that come back from other processes are copies, and their names too.
        for job, made in zip(jobs, results, strict=True):
            if file is None or job.file != name:
                stack.close()
                name, file = job.file, stack.enter_context((folder / job.file).open("ab"))
            file.write(made.record)
            sums.add(job, made)
            if made.used and not job.repetition:
                head = (job.item.name, job.split)
                rows.writerows([(*head, *_cells(box)) for box in made.boxes] or [(*head, *[""] * 7)])


def _counted(results: Iterable[Made], total: int, progress: Callable[[int, int], None]) -> Iterator[Made]:
    for done, made in enumerate(results, start=1):
        yield made
        progress(done, total)


def _cells(box: Box) -> tuple[str, ...]:
    corners = (f"{value:.10g}" for value in (box.xmin, box.ymin, box.xmax, box.ymax))
    return (box.label, *corners, str(int(box.difficult)), str(int(box.truncated)))


@contextlib.contextmanager
def _partial(annotations: Path) -> Iterator[Path]:
    """A new folder inside `annotations` that goes away in the end; what a killed run left there goes first."""
    folder = annotations / _PARTIAL
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        # The system lets go of the lock when the process ends, however it ends.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in folder.iterdir():
            left.unlink()
        yield folder
        shutil.rmtree(folder)
    except BlockingIOError:
        raise UserError(f"{annotations}: another make records is writing there. Wait for it.") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            annotations.rmdir()  # only if it is empty, so if we made it
        raise
    finally:
        os.close(handle)


def _publish(folder: Path, annotations: Path) -> None:
    """Put the new files in the place of the old; without a `records.json` meanwhile, so that nobody reads a mix."""
    (annotations / manifest.NAME).unlink(missing_ok=True)
    for old in annotations.iterdir():
        if old.is_file() and old.name.partition(".record")[0] in SPLITS and ".record" in old.name:
            old.unlink()
    for file in sorted(folder.iterdir(), key=lambda file: file.name == manifest.NAME):
        file.replace(annotations / file.name)


def _fingerprint(
    root: Path, items: Sequence[Item], findings: Sequence[Finding], label_map: LabelMap, options: Options
) -> str:
    """A digest that changes when a file does, as make would see it: by its name, size and time."""
    digest = hashlib.sha256()
    settings = [_FORMAT, os.fspath(root.resolve()), label_map.names, asdict(options), [asdict(f) for f in findings]]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for item in items:
        for name in (item.name, item.xml):
            status = audit.file(root, name).stat()
            digest.update(f"\0{name}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _read_inputs(annotations: Path) -> dict[str, Any]:
    """What `inputs.json` says; nothing where there is none of this format."""
    try:
        value = json.loads((annotations / _INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and value.get("format") == _FORMAT else {}


def _whole(annotations: Path, inputs: Mapping[str, Any]) -> bool:
    """Whether all files that were made are still there, as large as they were."""
    try:
        sizes = {name: (annotations / name).stat().st_size for name in inputs["bytes"]}
    except OSError:
        return False
    return sizes == inputs["bytes"] and (annotations / manifest.NAME).is_file()
