"""Assign pictures to train, val and test. A picture keeps its split when the data set grows."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from facemask.core.errors import UserError
from facemask.data.data_rules import Finding
from facemask.data.perceptual_hash import look_alikes

SPLITS = ("train", "val", "test")

_SCARCE = ("train", "test", "val")
"""The order in which splits get the images of a class that has fewer images than there are splits. The class cannot be
learned without an image in train, and cannot be measured without one in test."""


@dataclass(frozen=True)
class Proportions:
    """The shares of the images for train, val and test. They add up to 1."""

    train: float = 0.7
    val: float = 0.15
    test: float = 0.15

    @classmethod
    def parse(cls, text: str) -> "Proportions":
        """Parse `70,15,15` or `0.7/0.15/0.15`: three shares of any sum.

        Raises:
            UserError: The text is not three numbers, a number is negative, or train's is 0.
        """
        try:
            train, val, test = (float(part) for part in text.replace("/", ",").split(","))
        except ValueError:
            raise UserError(f"{text!r} is not three shares. Write those of train, val and test: 70,15,15.") from None
        whole = train + val + test
        if not (min(train, val, test) >= 0 and train > 0 and whole < float("inf")):
            raise UserError(f"{text!r}: no share may be negative, and train needs one. For example: 70,15,15.")
        return cls(train / whole, val / whole, test / whole)

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares of train, val and test."""
        return self.train, self.val, self.test


def parse_look_alikes(text: str) -> bool:
    """Whether look-alikes are kept in one split: True for `together`, False for `apart`.

    Raises:
        UserError: The text is neither of the two.
    """
    if text not in ("together", "apart"):
        raise UserError(f"LOOK_ALIKES={text}: write together or apart.")
    return text == "together"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to be assigned.

    Attributes:
        name: Its name, unique in the data set.
        classes: The classes of its boxes.
        folder_split: The split that its folder determines, or None.
        earlier_split: Its split in earlier records, or None.
        perceptual_hash: The hash for finding look-alikes; `assign_splits` does not need it.
    """

    name: str
    classes: frozenset[str]
    folder_split: str | None = None
    earlier_split: str | None = None
    perceptual_hash: int = 0


def number_of_name(name: str, salt: str = "") -> int:
    """A number in 0..2**64-1 that depends only on the file's name without its folder. It is the same everywhere."""
    digest = hashlib.sha256((salt + name.rpartition("/")[2]).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def split_of_name(name: str, proportions: Proportions) -> str:
    """The split that the name's number selects."""
    part = number_of_name(name) / 2**64
    if part < proportions.train:
        return "train"
    return "val" if part < proportions.train + proportions.val else "test"


def split_data_set(
    candidates: Sequence[Candidate], proportions: Proportions, look_alikes_together: bool = True
) -> tuple[dict[str, str], list[Finding]]:
    """Find the look-alikes among pictures and give each picture its split.

    Args:
        candidates: All usable pictures of the data set, with their perceptual hashes.
        proportions: The splits' shares.
        look_alikes_together: Keep pictures that look alike in one split; see `assign_splits`.

    Returns:
        The split of each name, and a finding for each group of look-alikes. A group with members in several of the
        user's own split folders stops `make records`, unless look-alikes may be apart.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.name)
    alike = look_alikes([candidate.perceptual_hash for candidate in ordered])
    groups = [[ordered[index].name for index in group] for group in alike]
    split_of = assign_splits(ordered, proportions, groups if look_alikes_together else ())
    apart = "alike_in_split_folders" if look_alikes_together else "alike_in_several_splits"
    findings = []
    for group in groups:
        first, *others = (f"{name} ({split_of[name]})" for name in group)
        rule = "alike" if len({split_of[name] for name in group}) == 1 else apart
        findings.append(Finding(rule, group[0], f"{first} and {', '.join(others)}", len(group)))
    return split_of, findings


def assign_splits(
    candidates: Collection[Candidate], proportions: Proportions, groups: Iterable[Collection[str]] = ()
) -> dict[str, str]:
    """Give each picture its split.

    A picture in a folder `train/`, `val/` or `test/` gets that split. A picture of earlier records keeps its split. The
    number of its name selects the split of any other picture. Then, from the rarest class on, each split that lacks the
    class gets a picture of it from a split that can spare one. So a class with at least as many pictures as there are
    splits (with a share above 0) is in all of them, as far as pictures of several classes allow it. If a class has
    fewer pictures, train gets one first, then test, then val.

    The pictures of a group get one split: that of a member in a split folder, or else that of a member in earlier
    records, or else one like any new picture. If members have several such splits, train comes before val before test,
    since a model may have learned from the picture. Only a member in another split folder stays there.

    Args:
        candidates: All pictures.
        proportions: The splits' shares.
        groups: Names of pictures to keep together; no name is in two groups.

    Returns:
        The split of each candidate's name. It depends on the set of candidates, not on their order.
    """
    by_name = {candidate.name: candidate for candidate in sorted(candidates, key=lambda candidate: candidate.name)}
    units: dict[str, tuple[Candidate, ...]] = {name: (candidate,) for name, candidate in by_name.items()}
    for group in groups:
        leader, *others = sorted(group)
        units[leader] = tuple(by_name[name] for name in (leader, *others))
        for name in others:
            del units[name]
    ordered = sorted(units, key=number_of_name)
    split_of: dict[str, str] = {}
    holds: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for leader in ordered:
        split = _known_split(units[leader]) or split_of_name(leader, proportions)
        for member in units[leader]:
            split_of[member.name] = member.folder_split or split
            holds[split_of[member.name]].update(member.classes)
    total = sum(holds.values(), Counter())
    free = [units[leader] for leader in ordered if _known_split(units[leader]) is None]
    wanting = [split for split in _SCARCE if getattr(proportions, split) > 0]
    for label in sorted(total, key=lambda label: (total[label], label)):
        for rank, split in enumerate(wanting):
            if holds[split][label]:
                continue
            chosen = _unit_to_spare(label, split, wanting[:rank], free, split_of, holds)
            for member in chosen or ():
                holds[split_of[member.name]].subtract(member.classes)
                holds[split].update(member.classes)
                split_of[member.name] = split
    return split_of


def _known_split(members: Sequence[Candidate]) -> str | None:
    """The split of a group of pictures according to their folders, or else to earlier records."""
    folders = [member.folder_split for member in members if member.folder_split]
    earlier = [member.earlier_split for member in members if member.earlier_split]
    return min(folders or earlier, key=SPLITS.index, default=None)


def _unit_to_spare(
    label: str,
    taker: str,
    served_first: Collection[str],
    free: Iterable[Sequence[Candidate]],
    split_of: Mapping[str, str],
    holds: Mapping[str, Counter[str]],
) -> Sequence[Candidate] | None:
    """The picture with `label`, with its look-alikes, that its split can spare best: from the split with the most
    pictures of the class. A split can give away its last one only if it is served later than the taker."""

    def can_go(members: Sequence[Candidate]) -> bool:
        giver = split_of[members[0].name]
        leaves = holds[giver].copy()
        for member in members:
            leaves.subtract(member.classes)
        others = all(leaves[other] > 0 for member in members for other in member.classes if other != label)
        return giver != taker and others and (leaves[label] > 0 or giver not in served_first)

    able = [members for members in free if any(label in member.classes for member in members) and can_go(members)]
    return max(able, key=lambda members: holds[split_of[members[0].name]][label], default=None)
