"""Folds for cross-validation: look-alikes in one fold, the faces of each class spread evenly."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from facemask.core.errors import UserError
from facemask.data.perceptual_hash import look_alikes


class FoldPicture(Protocol):
    """The attributes of a picture that `assign_folds` needs; a `LabelledPicture` has them."""

    @property
    def name(self) -> str:
        """Unique in the data set."""

    @property
    def perceptual_hash(self) -> int:
        """See `facemask.data.perceptual_hash`."""

    @property
    def class_counts(self) -> Mapping[str, int]:
        """Number of faces of each class; a class without a face may be missing."""


def assign_folds(pictures: Iterable[FoldPicture], folds: int = 5, seed: int = 0) -> dict[str, int]:
    """Give each picture the fold in which it is tested.

    Pictures that look alike form a group, and a group stays together. From the rarest class on, the groups that hold
    the class go one by one, the one with most of its faces first, to the fold that has fewest of them. So the folds'
    counts of the rarest class differ by no more than the faces of one group; those of the other classes too, wherever
    the groups without rarer classes suffice to make up for the others. Groups without faces level the number of
    pictures.

    Args:
        pictures: All pictures of the data set.
        folds: How many folds, 2 and more.
        seed: Another seed gives other folds.

    Returns:
        A fold, 0..folds - 1, by picture name, in the order of the names. It does not depend on the order of `pictures`.

    Raises:
        UserError: Fewer groups of pictures than folds, or a class that fewer groups than folds show.

    Example:
        >>> fold_of = assign_folds(labelled_pictures, folds=5)
        >>> fold_of["maksssksksss0.jpg"]
        3
    """
    ordered = sorted(pictures, key=lambda picture: picture.name)
    if folds < 2:
        raise UserError(f"FOLDS={folds}: cross-validation needs 2 folds or more.")
    alike = look_alikes([picture.perceptual_hash for picture in ordered])
    alone = set(range(len(ordered))).difference(*alike)
    groups = [[ordered[index] for index in group] for group in [*alike, *([index] for index in alone)]]
    if len(groups) < folds:
        raise UserError(
            f"FOLDS={folds}: there are {len(ordered)} pictures, and {len(groups)} where look-alikes count once. "
            "Use fewer folds or add pictures."
        )
    faces = {id(group): sum((Counter(picture.class_counts) for picture in group), Counter()) for group in groups}
    total = sum(faces.values(), Counter[str]())
    rarest_first = sorted(total, key=lambda label: (total[label], label))
    for label in rarest_first:
        showing = sum(label in counts for counts in faces.values())
        if showing < folds:
            raise UserError(
                f"FOLDS={folds}: {label} has {total[label]} faces, on {showing} pictures where look-alikes count once. "
                f"Each fold needs one: use fewer folds or label more."
            )

    def seeded_order(group: list[FoldPicture]) -> bytes:
        return hashlib.sha256(f"{seed}/{group[0].name}".encode("utf-8", "surrogateescape")).digest()

    waiting = sorted(groups, key=seeded_order)
    held: list[Counter[str]] = [Counter() for _ in range(folds)]
    sizes = [0] * folds
    fold_of: dict[str, int] = {}
    # The last round, without a class, takes the groups that have no face.
    for number in range(len(rarest_first) + 1):
        ranks = rarest_first[number:]
        taken = [group for group in waiting if not ranks or ranks[0] in faces[id(group)]]
        waiting = [group for group in waiting if ranks and ranks[0] not in faces[id(group)]]
        for group in sorted(taken, key=lambda group: -faces[id(group)][ranks[0]] if ranks else 0):
            fold = min(range(folds), key=lambda fold: ([held[fold][label] for label in ranks], sizes[fold]))
            held[fold].update(faces[id(group)])
            sizes[fold] += len(group)
            fold_of.update((picture.name, fold) for picture in group)
    return dict(sorted(fold_of.items()))
