"""Read the labelled faces to train and measure a classifier: from the records, or from a folder of face pictures."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemask.classifier import face_crops
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import ground_truth, images, manifest, splits
from facemask.data.labelled_picture import GroundTruth
from facemask.data.splits import SPLITS, Candidate, Proportions

FindBoxes = Callable[[np.ndarray], np.ndarray]
"""A face detector: a picture, uint8 (height, width, 3) RGB -> (n, 4) boxes, xyxy in pixels."""

SAME_FACE = 0.5
"""The IoU with a labelled box from which a found box shows its face."""
NO_FACE = 0.3
"""A found box whose IoU with every labelled box is below this shows no labelled face."""

_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Faces:
    """The faces of one split.

    Attributes:
        crops: (n, size, size, 3) uint8, RGB.
        labels: (n,) int64, indices into the label map, from 0.
        names: The origin of each face: the picture's name; from records also the number of its box, from 1:
            `street.jpg#2`.
    """

    crops: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FaceSet:
    """The faces of all splits.

    Attributes:
        label_map: The K classes.
        splits: "train", "val" and "test"; train is not empty.
        left_out: The number of faces that were left out, by the reason in words.
        found: The boxes that a face detector finds in train, or None. The label of those that show no labelled face
            is K.
    """

    label_map: LabelMap
    splits: dict[str, Faces]
    left_out: dict[str, int]
    found: Faces | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over everything that a training run uses: the classes, train and val."""
        digest = hashlib.sha256("\0".join(self.label_map.names).encode())
        for faces in (self.splits["train"], self.splits["val"], *([self.found] if self.found else [])):
            digest.update(faces.labels.tobytes())
            digest.update(faces.crops.tobytes())
        return digest.hexdigest()

    @property
    def outputs(self) -> int:
        """The outputs of a network that is trained on them: the classes and, with `found`, one for no labelled face."""
        return len(self.label_map) + (self.found is not None)

    def __str__(self) -> str:
        """The number of faces of each split and class, and of those left out."""
        lines = [
            f"{split}: {len(self.splits[split])} faces ({', '.join(f'{c} {n}' for n, c in self.counts(split).items())})"
            for split in SPLITS
        ]
        if self.found is not None:
            none = int((self.found.labels == len(self.label_map)).sum())
            lines.append(f"found in train: {len(self.found) - none} labelled faces, {none} boxes without one")
        return "\n".join([*lines, *(f"left out: {count} {what}" for what, count in self.left_out.items())])

    def counts(self, split: str) -> dict[str, int]:
        """The faces of each class in a split."""
        numbers = np.bincount(self.splits[split].labels, minlength=len(self.label_map))
        return dict(zip(self.label_map.names, numbers.tolist(), strict=True))


def faces_from_records(
    annotations: Path, size: int, margin: float, min_face: float, find: FindBoxes | None = None
) -> FaceSet:
    """Cut the faces out of the pictures of the records. Each face is in the split of its picture.

    A picture that is repeated in train is used once.

    Args:
        annotations: Folder of the records.
        size: Side in pixels to which crops are resized.
        margin: The margin around each box, for `face_crops.cut_faces`.
        min_face: Boxes whose shorter side has fewer pixels are left out, in every split.
        find: Finds boxes in the pictures of train, for `FaceSet.found`.

    Raises:
        UserError: There are no records, or they hold too few faces for training.
    """
    label_map = LabelMap(manifest.read_manifest(annotations).classes)
    left_out: Counter[str] = Counter()
    by_split = {}
    found: list[tuple[np.ndarray, int, str]] = []

    for split in SPLITS:
        faces: list[tuple[np.ndarray, int, str]] = []
        for image, true in ground_truth.read_records(annotations, split):
            small = (true.boxes[:, 2:] - true.boxes[:, :2]).min(axis=1, initial=np.inf) < min_face
            left_out[f"smaller than {min_face:g} px in {split}"] += int((small & ~true.difficult).sum())
            left_out[f"marked difficult in {split}"] += int(true.difficult.sum())
            taken = np.flatnonzero(~small & ~true.difficult)
            crops = face_crops.cut_faces(image, true.boxes[taken], margin, size)
            for crop, box in zip(crops, taken, strict=True):
                faces.append((crop, int(true.class_ids[box]) - 1, f"{true.name}#{box + 1}"))
            if find is not None and split == "train":
                boxes = find(image)
                boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= min_face]
                labels = label_found_boxes(boxes, true, len(label_map))
                crops = face_crops.cut_faces(image, boxes[labels >= 0], margin, size)
                found += [(crop, int(label), true.name) for crop, label in zip(crops, labels[labels >= 0], strict=True)]
        by_split[split] = _stack(faces, size)
    reasons = {what: count for what, count in left_out.items() if count}
    return _checked(FaceSet(label_map, by_split, reasons, None if find is None else _stack(found, size)), annotations)


def label_found_boxes(boxes: np.ndarray, true: GroundTruth, classes: int) -> np.ndarray:
    """The labels of the boxes that a face detector found in a picture.

    Args:
        boxes: (n, 4) xyxy in pixels.
        true: The picture's labelled boxes.
        classes: The number of classes, K.

    Returns:
        (n,) int: the class, from 0, of the labelled face with which a box has an IoU of `SAME_FACE` or more; K where
        its IoU with all of them is below `NO_FACE`; -1 for boxes between the two and for difficult faces.
    """
    import supervision as sv

    if not len(boxes) or not len(true.boxes):
        return np.full(len(boxes), classes)
    iou = sv.box_iou_batch(boxes, true.boxes)
    nearest = iou.argmax(axis=1)
    labels = np.where(iou.max(axis=1) >= SAME_FACE, true.class_ids[nearest] - 1, -1)
    labels[true.difficult[nearest]] = -1
    return np.where(iou.max(axis=1) < NO_FACE, classes, labels)


def faces_from_folder(dataset: Path, classes: LabelMap, proportions: Proportions, size: int) -> FaceSet:
    """Read a folder with one sub-folder for each class, in which each picture shows one face.

    A picture's split follows from its content. Copies of a picture are used once.

    Args:
        dataset: The folder. Its sub-folders are named after the classes.
        classes: All known classes. The classifier gets those that have a sub-folder, in this order.
        proportions: The shares of the splits.
        size: Side in pixels to which pictures are resized.

    Raises:
        UserError: A sub-folder is empty, has the name of no class, or holds a file that is not an image; two classes
            hold the same picture; or there are too few classes or pictures.
    """
    label_map, folders = _class_folders(dataset, classes)
    problems: list[str] = []
    left_out: Counter[str] = Counter()
    by_digest: dict[str, tuple[np.ndarray, str, Path]] = {}
    for label, folder in folders.items():
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder))
        if not files:
            problems.append(f"{folder}: empty. Put pictures of {label} there, or remove the folder.")
        for path in files:
            try:
                data = images.read_bytes(path)
                digest = hashlib.sha256(data).hexdigest()
                if digest not in by_digest:
                    image = images.decode_image(data)
                    whole = np.array([[0, 0, image.shape[1], image.shape[0]]])
                    by_digest[digest] = face_crops.cut_faces(image, whole, 0.0, size)[0], label, path
                elif by_digest[digest][1] == label:
                    left_out["copies of another picture"] += 1
                else:
                    problems.append(
                        f"{path}: the same picture as {by_digest[digest][2]}, of another class. Remove one."
                    )
            except images.ImageError as error:
                problems.append(f"{path}: {error}. Only images belong there: remove it.")
    if problems:
        more = [f"... and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise UserError("\n".join([*problems[:_MOST_PROBLEMS], *more]))
    split_of = splits.assign_splits(
        [Candidate(d, frozenset([label])) for d, (_, label, _) in by_digest.items()], proportions
    )
    faces: dict[str, list[tuple[np.ndarray, int, str]]] = defaultdict(list)
    for digest, (crop, label, path) in sorted(by_digest.items()):
        name = path.relative_to(dataset).as_posix()
        faces[split_of[digest]].append((crop, label_map.id_of(label) - 1, name))
    return _checked(FaceSet(label_map, {s: _stack(faces[s], size) for s in SPLITS}, dict(left_out)), dataset)


def _class_folders(dataset: Path, classes: LabelMap) -> tuple[LabelMap, dict[str, Path]]:
    """The classes that have a sub-folder, in the order of the class list, and the sub-folders."""
    if not dataset.is_dir():
        raise UserError(
            f"{dataset}: no such folder. DATASET= names one that holds a folder of pictures for each class."
        )
    inside = [path for path in sorted(dataset.iterdir()) if not path.name.startswith(".")]
    strange = [path for path in inside if path.is_dir() and path.name not in classes]
    if strange:
        raise UserError(
            f"{strange[0]}: not the name of a class, which are {', '.join(classes.names)}. Rename the folder, or list "
            "its name in the class list (CLASSES=configs/classes.txt)."
        )
    loose = [path for path in inside if path.suffix.lower() in images.SUFFIXES]
    if loose:
        raise UserError(
            f"{loose[0]}: a picture outside the folders of the classes. Move it into the one it belongs to."
        )
    label_map = LabelMap(tuple(name for name in classes.names if (dataset / name).is_dir()))
    if len(label_map) < 2:
        there = f"only {label_map.names[0]}" if label_map.names else "none"
        raise UserError(
            f"{dataset}: holds sub-folders of too few classes ({there} of {', '.join(classes.names)}). A classifier "
            "needs at least two."
        )
    return label_map, {name: dataset / name for name in label_map.names}


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts) or path.name == "Thumbs.db"


def _stack(faces: Iterable[tuple[np.ndarray, int, str]], size: int) -> Faces:
    taken = list(faces)
    batch = np.stack([crop for crop, _, _ in taken]) if taken else np.zeros((0, size, size, 3), np.uint8)
    return Faces(batch, np.array([label for _, label, _ in taken], np.int64), tuple(name for _, _, name in taken))


def _checked(faces: FaceSet, source: Path) -> FaceSet:
    """The same faces, if they suffice for training; raises UserError otherwise."""
    because = "".join(f", {count} {what} left out" for what, count in faces.left_out.items())
    if len(faces.label_map) < 2:
        raise UserError(f"{source}: has one class only ({faces.label_map.names[0]}). A classifier needs at least two.")
    missing = [name for name, count in faces.counts("train").items() if not count]
    if missing:
        raise UserError(
            f"{source}: no face of {', '.join(missing)} in train{because}. Add pictures, or remove the class from the "
            "class list."
        )
    return faces
