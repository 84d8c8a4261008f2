"""Choose the pictures that teach a detector most, from a folder or a video, and put them where they are labelled.

Three rules make the choice:

- What the detector is unsure about, over all faces of a picture (`picture_worth`). To it come disagreements with a
  second detector, and in a video faces whose class flips or that are lost on their track.
- No two look alike, also not like a picture that is already there: by the perceptual hash, which also makes unlike
  pictures worth more.
- Frames of a video are seconds apart.

    workspace/images/<name>/            the pictures; the XML of a detector beside each, as `make prelabel` writes it
    workspace/images/<name>/next.json   what made it, and why each was chosen
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.files import filling, free_name, is_utf8, unique_names, write_json
from facemask.data import images as image_files
from facemask.data import voc
from facemask.data.data_rules import printable
from facemask.data.marked_voc import write_marked_voc
from facemask.data.perceptual_hash import MAX_DISTANCE, perceptual_hash
from facemask.data.picture_hashes import hash_pictures
from facemask.data.voc import Annotation
from facemask.detect.detector import RawDetector
from facemask.detect.opened_detector import one_box_per_face
from facemask.detect.score_thresholds import above_thresholds
from facemask.labelling import prelabelling
from facemask.labelling.picture_worth import disagreement, uncertainty
from facemask.media.footage import Footage, Frame
from facemask.media.picture_files import Picture
from facemask.media.prefetch import never
from facemask.media.sources import find_source
from facemask.media.tracking import Tracking

if TYPE_CHECKING:
    import supervision as sv

UNFINISHED = ".next"
"""The hidden folder, in that of the images, that is filled before it gets its name."""

EMPTY_SCENE = "scene known to be empty"
"""`<source><database>` of a picture that NEGATIVES=1 collects."""

UNLIKE = 40
"""Bits in which the hashes of two pictures differ that count as wholly unlike. Of the 294,000 pairs of the public data
set 7 in 10,000 differ in fewer."""

_LEAST = 0.02
"""Worth of a picture in which everything is clear, so that unlike ones come before like ones there too."""

_NAMED = 10
"""The most pictures that a note names."""


@dataclass(frozen=True)
class Candidate:
    """A picture, or a frame of a video, that could be labelled next.

    Attributes:
        name: For people: the picture's name, or that of the video and the time.
        path: The picture's file; None for a frame.
        number: The frame's number; -1 for a file.
        time: Seconds from the video's start; 0 for a file.
        worth: How much it may teach, 0 and more.
        reasons: The parts of its worth by name.
        hash: Its perceptual hash.
        width: Pixels, upright.
        height: Pixels, upright.
        faces: What was found: one box a face.
    """

    name: str
    path: Path | None
    number: int
    time: float
    worth: float
    reasons: dict[str, float]
    hash: int
    width: int
    height: int
    faces: "sv.Detections"


@dataclass(frozen=True)
class NextPictures:
    """What was chosen.

    Attributes:
        folder: The new folder.
        chosen: What is in it, the most useful first.
        seen: Pictures or frames that were looked at.
        prelabelled: How many have an XML of the detector to correct.
        negatives: Whether they are pictures without faces, labelled so.
        notes: Lines about what was left out.
    """

    folder: Path
    chosen: tuple[Candidate, ...]
    seen: int
    prelabelled: int
    negatives: bool
    notes: tuple[str, ...]

    def text(self) -> str:
        """The result for people."""
        first = [f"{printable(one.name)}: {_because(one)}" for one in self.chosen[:5]]
        what = f"Chose {len(self.chosen):,} of {self.seen:,} pictures, now in {self.folder}"
        done = "labelled as without faces" if self.negatives else f"{self.prelabelled:,} of them prelabelled"
        todo = "Look through them" if self.negatives else "Correct them now"
        return "\n".join([*first, *self.notes, f"{what}, {done}. {todo}: make label IMAGES={self.folder}"])


class _Rated(Protocol):
    """What `choose` needs to know of a picture."""

    @property
    def worth(self) -> float: ...

    @property
    def hash(self) -> int: ...

    @property
    def time(self) -> float: ...


@dataclass(frozen=True)
class NextOptions:
    """How to choose.

    Attributes:
        count: How many pictures at most.
        name: Name of the new folder; empty for one made of the source's.
        thresholds: The least score of a face of each class, in the order of the label map.
        negatives: The scene is known to be empty: collect what is detected, as pictures without faces.
        every: Seconds of a video from one frame that is looked at to the next.
        apart: Least seconds between two chosen frames of a video.
        processes: Pictures that are hashed at a time; 0 for one a core.
    """

    count: int
    name: str
    thresholds: tuple[float, ...]
    negatives: bool = False
    every: float = 0.2
    apart: float = 2.0
    processes: int = 0


def collect_next_pictures(
    source: str,
    folder: Path,
    detector: RawDetector,
    options: NextOptions,
    made: dict[str, Any],
    other: RawDetector | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NextPictures:
    """Look at a folder or a video, choose the pictures that teach most, and put them into a new folder.

    Args:
        source: A folder, a glob, a picture or a video file.
        folder: The folder of images.
        detector: The detector that is to learn.
        options: How to choose.
        made: `provenance.made_by`.
        other: A second detector; where the two disagree, a picture is worth more.
        progress: Called with the pictures or frames done, and all of them.

    Raises:
        UserError: The source is missing, live or inside `folder`, no picture can be read, or nothing is worth choosing.
    """
    found = find_source(source)
    footage = found if isinstance(found, Footage) else None
    notes: list[str] = []
    damaged: list[str] = []
    if isinstance(found, Footage):
        if found.live:
            raise UserError(f"FROM={found.title}: a camera or a stream has no end. Record a video, and give that.")
        looked = look_at_video(detector, found, options.thresholds, options.every, other, notes.append, progress)
        name = f"next-{found.stem}"
    else:
        if any(picture.path.resolve().is_relative_to(folder.resolve()) for picture in found):
            raise UserError(f"FROM={source}: lies in {folder}, where the chosen are copied to. Move it elsewhere.")
        for picture in found:
            if not is_utf8(picture.path.name):
                raise UserError(f"{printable(str(picture.path))}: its name is not UTF-8. Rename the file.")
        notes += _about_snapshots(found)
        looked = look_at_pictures(detector, found, other, damaged.append, progress)
        name = f"next-{Path(source).name}"
    candidates = list(looked)
    seen = len(candidates)
    if damaged:
        if not candidates:
            raise UserError(f"FROM={source}: none of {len(damaged):,} pictures can be read. {damaged[0]}")
        more = f" And {len(damaged) - _NAMED:,} more." if len(damaged) > _NAMED else ""
        notes.append(f"Left out, because they cannot be read: {len(damaged):,}. {' '.join(damaged[:_NAMED])}{more}")
    if options.negatives:
        name = name.replace("next-", "negatives-", 1)
        scores = [worth_as_negative(one, options.thresholds) for one in candidates]
        candidates = [
            replace(one, worth=score, reasons={"detected": round(score, 3)})
            for one, score in zip(candidates, scores, strict=True)
            if score > 0
        ]
        if not candidates:
            raise UserError(f"FROM={source}: nothing was detected in {seen:,} pictures, so there is nothing to learn.")
    there = [known.perceptual_hash for known in hash_pictures(folder, options.processes) if known.perceptual_hash >= 0]
    apart = options.apart if footage else 0.0
    places = choose(candidates, options.count, there, apart)
    if not places:
        which = "pictures with detections" if options.negatives else "pictures"
        raise UserError(f"FROM={source}: all of its {len(candidates):,} {which} look like pictures in {folder}.")
    if len(places) < options.count:
        notes.append(_about_the_others(candidates, places, apart, seen, folder))
    chosen = [candidates[place] for place in places]
    plain = options.name or re.sub(r"[^\w.-]+", "_", name).strip("._-")[:80]
    target, prelabelled = write_next(folder, plain, chosen, options, footage, made)
    return NextPictures(target, tuple(chosen), seen, prelabelled, options.negatives, tuple(notes))


def _about_the_others(
    candidates: Sequence[Candidate], places: Sequence[int], apart: float, seen: int, folder: Path
) -> str:
    """A note on fewer pictures than were wanted: why the others are not among them."""
    others = [one for place, one in enumerate(candidates) if place not in places]
    near = sum(any(abs(one.time - candidates[place].time) < apart for place in places) for one in others)
    counted = {
        f"less than {apart:g} s from a chosen frame": near,
        f"like a chosen picture or one in {folder}": len(others) - near,
        "without a detection": seen - len(candidates),
    }
    why = ", ".join(f"{count:,} {what}" for what, count in counted.items() if count)
    end = f". The others: {why}." if why else ": there are no others."
    return f"No more than {len(places):,} could be chosen{end}"


def _about_snapshots(pictures: Sequence[Picture]) -> list[str]:
    blurred = sum(re.fullmatch(r"snapshot-.+\.jpg", picture.path.name) is not None for picture in pictures)
    if not blurred:
        return []
    return [f"{blurred:,} are snapshots of make watch: their faces are blurred unless the action says blur: false."]


# ---- looking at all ----


def look_at_pictures(
    detector: RawDetector,
    pictures: Sequence[Picture],
    other: RawDetector | None = None,
    warn: Callable[[str], None] = print,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Candidate]:
    """Rate picture files, one in memory at a time. Those that cannot be read are left out.

    Args:
        detector: The detector that is to learn.
        pictures: The files.
        other: A second detector to disagree with.
        warn: Called with a sentence about each file that is left out: its path, and why.
        progress: Called with the pictures done and all of them.
    """
    for done, picture in enumerate(pictures, start=1):
        progress(done, len(pictures))
        try:
            image = image_files.read_image(picture.path)
        except UserError as error:
            warn(str(error))
            continue
        faces, parts = _rate(detector, other, image)
        yield _candidate(str(picture.name), picture.path, -1, 0.0, image, faces, parts)


def look_at_video(
    detector: RawDetector,
    footage: Footage,
    thresholds: Sequence[float],
    every: float,
    other: RawDetector | None = None,
    warn: Callable[[str], None] = print,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Candidate]:
    """Rate frames of a video, and follow the faces from one to the next.

    Args:
        detector: The detector that is to learn.
        footage: A video file.
        thresholds: The least score of a face of each class, for the tracks.
        every: Seconds from one frame that is looked at to the next.
        other: A second detector to disagree with.
        warn: Called with a line about damage in the file.
        progress: Called with the frames read and about how many there are.

    Raises:
        UserError: No frame can be decoded.
    """
    tracking = Tracking(detector.label_map, tuple(thresholds))
    due = 0.0
    for frame in footage.frames(never, warn):
        progress(frame.number + 1, footage.count or frame.number + 1)
        if frame.time + 1e-6 < due:
            continue
        due = frame.time + every
        faces, parts = _rate(detector, other, frame.image)
        flips = _flips(tracking, faces, frame)
        yield _candidate(
            f"{footage.title} at {frame.time:.2f} s",
            None,
            frame.number,
            frame.time,
            frame.image,
            faces,
            parts | {"track": flips},
        )


def _rate(
    detector: RawDetector, other: RawDetector | None, image: np.ndarray
) -> tuple["sv.Detections", dict[str, float]]:
    """One box for each face of a picture, and the parts of the picture's worth."""
    [found] = detector.detect_all([image])
    faces = one_box_per_face(found)
    parts = {"unsure": uncertainty(found, len(detector.label_map))}
    if other is not None:
        [seen] = other.detect_all([image])
        parts["disagreement"] = disagreement(faces, one_box_per_face(seen))
    return faces, parts


def _flips(tracking: Tracking, faces: "sv.Detections", frame: Frame) -> float:
    """The scores of the faces whose class is not that of their track, and of those that the track has just lost."""
    tracked = tracking.update(faces, frame.time)
    class_of = {tuple(np.round(box, 1)): int(name) for box, name in zip(faces.xyxy, faces.class_id, strict=True)}
    flipped = [
        float(score)
        for box, name, score in zip(tracked.found.xyxy, tracked.found.class_id, tracked.found.confidence, strict=True)
        if class_of.get(tuple(np.round(box, 1)), int(name)) != int(name)
    ]
    return sum(flipped) + float(np.sum(tracked.held.confidence))


def _candidate(
    name: str,
    path: Path | None,
    number: int,
    time: float,
    image: np.ndarray,
    faces: "sv.Detections",
    parts: dict[str, float],
) -> Candidate:
    return Candidate(
        name=name,
        path=path,
        number=number,
        time=time,
        worth=sum(parts.values()),
        reasons={part: round(value, 3) for part, value in parts.items()},
        hash=perceptual_hash(Image.fromarray(image)),
        width=image.shape[1],
        height=image.shape[0],
        faces=faces,
    )


# ---- choosing ----


def choose(candidates: Sequence[_Rated], count: int, there: Iterable[int] = (), apart: float = 0.0) -> list[int]:
    """Choose the pictures that are worth most, one by one, where one that resembles a chosen one is worth less.

    Args:
        candidates: What could be chosen.
        count: How many at most.
        there: Perceptual hashes of the pictures that are labelled already.
        apart: Least seconds between two frames; 0 for picture files.

    Returns:
        Their places, the most useful first. Fewer than `count` where the others look like chosen ones.

    Example:
        >>> places = choose(candidates, 50, there=[one.perceptual_hash for one in labelled_pictures])
    """
    hashes = [candidate.hash for candidate in candidates]
    nearest = np.full(len(hashes), float(UNLIKE))
    free = np.ones(len(hashes), bool)
    worth = np.array([candidate.worth for candidate in candidates]) + _LEAST
    times = np.array([candidate.time for candidate in candidates])
    for known in there:
        nearest = np.minimum(nearest, _distances(hashes, known))
    chosen: list[int] = []
    while len(chosen) < count:
        value = np.where(free, worth * np.clip((nearest - MAX_DISTANCE) / (UNLIKE - MAX_DISTANCE), 0, 1), 0)
        best = int(np.argmax(value)) if len(value) else -1
        if best < 0 or value[best] <= 0:
            break
        chosen.append(best)
        nearest = np.minimum(nearest, _distances(hashes, hashes[best]))
        free &= np.abs(times - times[best]) >= apart if apart else True
        free[best] = False
    return chosen


def _distances(hashes: Sequence[int], known: int) -> np.ndarray:
    return np.array([(value ^ known).bit_count() for value in hashes], float)


def worth_as_negative(candidate: Candidate, thresholds: Sequence[float]) -> float:
    """What a picture of an empty scene is worth: the scores of what was found in it, from the thresholds on."""
    return float(np.sum(above_thresholds(candidate.faces, thresholds).confidence))


# ---- writing ----


def write_next(
    folder: Path,
    name: str,
    chosen: Sequence[Candidate],
    options: NextOptions,
    footage: Footage | None,
    made: dict[str, Any],
) -> tuple[Path, int]:
    """Copy the chosen pictures into a new folder, with their XML. It appears when it is complete.

    Args:
        folder: The folder of images.
        name: The wanted name; a number is added where it is taken.
        chosen: What to copy.
        options: The thresholds of the boxes in the XML, and whether to label them as pictures without faces.
        footage: The video of the frames, which is read again; None for picture files.
        made: `provenance.made_by`.

    Returns:
        The new folder, and how many have an XML with boxes.

    Raises:
        UserError: It cannot be written, or a picture can no longer be read.
    """
    hidden = folder / UNFINISHED
    with filling(hidden, f"{folder}: another make next is running.", "Nothing was copied."):
        target = folder / free_name(name, lambda free: os.path.lexists(folder / free))
        files = _copy_files(hidden, chosen) if footage is None else _save_frames(hidden, chosen, footage)
        prelabelled, rows = 0, []
        for candidate, file in zip(chosen, files, strict=True):
            prelabelled += _write_xml(hidden, target, file, candidate, options)
            source = str(candidate.path) if candidate.path else footage.title if footage else ""
            where = {"frame": candidate.number, "seconds": round(candidate.time, 3)} if footage else {}
            worth = {"worth": round(candidate.worth, 4), "reasons": candidate.reasons}
            rows.append({"picture": file, "source": source, **where, **worth})
        write_json(hidden / "next.json", {"format": 1, "pictures": rows, "made": made})
        hidden.rename(target)
    return target, prelabelled


def _copy_files(hidden: Path, chosen: Sequence[Candidate]) -> list[str]:
    paths = [candidate.path for candidate in chosen if candidate.path is not None]
    files = []
    # Pictures of several folders may share a name, and those that differ in their suffix would share an XML.
    for path, stem in zip(paths, unique_names(path.stem for path in paths), strict=True):
        files.append(f"{stem}{path.suffix}")
        shutil.copyfile(path, hidden / files[-1])
    return files


def _save_frames(hidden: Path, chosen: Sequence[Candidate], footage: Footage) -> list[str]:
    file_of = {one.number: f"{footage.stem}-{one.time:08.2f}s.jpg" for one in chosen}
    left = dict(file_of)
    for frame in footage.frames(never, lambda line: None):
        if frame.number in left:
            Image.fromarray(frame.image).save(
                hidden / left.pop(frame.number), "JPEG", quality=image_files.JPEG_QUALITY, subsampling=0
            )
        if not left:
            break
    if left:
        raise UserError(f"{footage.title}: changed while it was read. Run make next again.")
    return [file_of[one.number] for one in chosen]


def _write_xml(hidden: Path, target: Path, file: str, candidate: Candidate, options: NextOptions) -> bool:
    """Write the XML of a picture; none where nothing was found. Returns whether it has boxes to correct."""
    xml = Path(file).with_suffix(".xml").name
    size = candidate.width, candidate.height
    if options.negatives:
        voc.write_voc(hidden / xml, Annotation(target / xml, file, *size, (), EMPTY_SCENE))
        return False
    boxes = prelabelling.boxes_in_pixels(above_thresholds(candidate.faces, options.thresholds), *size)
    if boxes:
        write_marked_voc(hidden / xml, Annotation(target / xml, file, *size, boxes), prelabelling.MARK)
    return bool(boxes)


def _because(candidate: Candidate) -> str:
    said = {
        "unsure": "unsure",
        "disagreement": "detectors disagree",
        "track": "flips or is lost on a track",
        "detected": "detected",
    }
    parts = [f"{said[part]} {value:.2f}" for part, value in candidate.reasons.items() if value >= 0.01]
    return ", ".join(parts) or "unlike the others"
