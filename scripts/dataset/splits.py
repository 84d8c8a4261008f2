"""Which picture belongs to train, val and test, and stays there."""

import csv
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.support.errors import UserError

SPLITS = ("train", "val", "test")

_SCARCE = ("train", "test", "val")
"""Who gets the images of a class that has fewer images than there are splits: without train it cannot be learned,
without test nobody knows whether it was."""


@dataclass(frozen=True)
class Proportions:
    """The parts of the images that go to each split; they add up to 1."""

    train: float = 0.7
    val: float = 0.15
    test: float = 0.15

    @classmethod
    def parse(cls, text: str) -> "Proportions":
        """Read `70,15,15` or `0.7/0.15/0.15`: three shares of any sum.

        Raises:
            UserError: Not three numbers from 0 up, or nothing for train.
        """
        try:
            train, val, test = (float(part) for part in text.replace("/", ",").split(","))
        except ValueError:
            raise UserError(f"{text!r} are no proportions. Write the shares of train, val, test: 70,15,15.") from None
        whole = train + val + test
        if not (min(train, val, test) >= 0 and train > 0 and whole < float("inf")):
            raise UserError(f"{text!r}: no share may be negative, and train needs one. For example: 70,15,15.")
        return cls(train / whole, val / whole, test / whole)

    def of(self, split: str) -> float:
        """The split's part, 0..1."""
        return float(getattr(self, split))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to be assigned.

    Attributes:
        name: Its name, unique in the data set.
        classes: The classes of its boxes.
        fixed: The split that its folder names, or that it was assigned to before; None to be assigned.
    """

    name: str
    classes: frozenset[str]
    fixed: str | None = None


def place(name: str, salt: str = "") -> int:
    """A number in 0..2**64-1 from the file's name alone (not its folder): the same on every machine, for ever."""
    digest = hashlib.sha256((salt + name.rpartition("/")[2]).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def by_hash(name: str, proportions: Proportions) -> str:
    """The split that the name's hash falls into."""
    part = place(name) / 2**64
    if part < proportions.train:
        return "train"
    return "val" if part < proportions.train + proportions.val else "test"


def assign(candidates: Collection[Candidate], proportions: Proportions) -> dict[str, str]:
    """Give each picture its split.

    Fixed ones keep theirs. The others go where their name's hash falls; then, for each class from the rarest, splits
    that lack it get one of them from a split that can spare it. So every class with at least as many images as there
    are splits (with a share above 0) is in all of them, as far as images of several classes can be spread at all; of
    a class with fewer, train is served first, then test, then val.

    Returns:
        The split of each candidate's name. It depends on the set of candidates, not on their order.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.name)
    ordered.sort(key=lambda candidate: place(candidate.name))
    split_of = {c.name: c.fixed or by_hash(c.name, proportions) for c in ordered}
    holds: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for candidate in ordered:
        holds[split_of[candidate.name]].update(candidate.classes)
    total = sum(holds.values(), Counter())
    wanting = [split for split in _SCARCE if proportions.of(split) > 0]
    for label in sorted(total, key=lambda label: (total[label], label)):
        for rank, split in enumerate(wanting):
            if holds[split][label]:
                continue
            chosen = _spare(label, split, wanting[:rank], ordered, split_of, holds)
            if chosen is not None:
                holds[split_of[chosen.name]].subtract(chosen.classes)
                holds[split].update(chosen.classes)
                split_of[chosen.name] = split
    return split_of


def _spare(
    label: str,
    taker: str,
    served_first: Collection[str],
    candidates: Collection[Candidate],
    split_of: Mapping[str, str],
    holds: Mapping[str, Counter[str]],
) -> Candidate | None:
    """The image with `label` that its split misses least: one of several there, or one of a split that comes later."""

    def can_go(candidate: Candidate) -> bool:
        giver = split_of[candidate.name]
        if giver == taker:
            return False
        others = all(holds[giver][other] > 1 for other in candidate.classes if other != label)
        return others and (holds[giver][label] > 1 or giver not in served_first)

    able = [c for c in candidates if c.fixed is None and label in c.classes and can_go(c)]
    return max(able, key=lambda c: holds[split_of[c.name]][label], default=None)


def read_assigned(boxes_csv: Path) -> dict[str, str]:
    """The splits that images were given before, by name, from the `boxes.csv` of earlier records; empty without one.

    Raises:
        UserError: The file is not one that `make records` wrote.
    """
    try:
        with boxes_csv.open(encoding="utf-8", newline="") as file:
            return {row["image"]: row["split"] for row in csv.DictReader(file) if row["split"] in SPLITS}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        message = (
            f"{boxes_csv}: cannot be read as the table of earlier records ({error}). Delete it to assign all anew."
        )
        raise UserError(message) from None
