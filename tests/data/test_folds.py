from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemask.core.errors import UserError
from facemask.data.folds import assign_folds
from facemask.data.perceptual_hash import HASH_BITS

CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect")
RANDOM = np.random.default_rng(0)
HASHES = [int.from_bytes(RANDOM.bytes(HASH_BITS // 8), "big") for _ in range(60)]
"""Hashes of pictures that do not look alike: random ones differ in some 64 bits."""


@dataclass(frozen=True)
class Picture:
    name: str
    perceptual_hash: int
    class_counts: Mapping[str, int] = field(default_factory=dict)


counts = st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 12))
scenes = st.lists(st.tuples(st.sampled_from(HASHES), counts), min_size=1, max_size=60)


def made_pictures(drawn: list[tuple[int, dict[str, int]]]) -> list[Picture]:
    return [Picture(f"{number}.jpg", scene ^ (number & 1), c) for number, (scene, c) in enumerate(drawn)]


def scene_of(picture: Picture) -> int:
    return min(range(len(HASHES)), key=lambda n: (HASHES[n] ^ picture.perceptual_hash).bit_count())


def per_fold(pictures: list[Picture], fold_of: dict[str, int], label: str, folds: int) -> list[int]:
    held = Counter(dict.fromkeys(range(folds), 0))
    for picture in pictures:
        held[fold_of[picture.name]] += picture.class_counts.get(label, 0)
    return list(held.values())


@settings(max_examples=100, deadline=None)
@given(scenes, st.integers(2, 6), st.integers(0, 3), st.randoms(use_true_random=False))
def test_every_picture_once_groups_together_and_classes_balanced(drawn, folds, seed, rng):
    pictures = made_pictures(drawn)
    groups = {scene_of(picture): Counter() for picture in pictures}
    for picture in pictures:
        groups[scene_of(picture)].update(picture.class_counts)
    labels = {label for group in groups.values() for label in group}
    enough = len(groups) >= folds and all(sum(c in g for g in groups.values()) >= folds for c in labels)
    if not enough:
        with pytest.raises(UserError) as error:
            assign_folds(pictures, folds, seed)
        assert "\n" not in str(error.value)
        return
    fold_of = assign_folds(pictures, folds, seed)
    assert list(fold_of) == sorted(picture.name for picture in pictures)
    assert set(fold_of.values()) == set(range(folds))
    assert len({(scene_of(picture), fold_of[picture.name]) for picture in pictures}) == len(groups)
    if labels:
        rarest = min(labels, key=lambda label: (sum(g[label] for g in groups.values()), label))
        held = per_fold(pictures, fold_of, rarest, folds)
        assert min(held) > 0
        assert max(held) - min(held) <= max(group[rarest] for group in groups.values())
    rng.shuffle(pictures)
    assert assign_folds(pictures, folds, seed) == fold_of


def test_all_classes_of_a_data_set_like_the_public_one_are_balanced():
    rng = np.random.default_rng(1)
    pictures = []
    for number in range(700):
        found = {"with_mask": int(rng.geometric(0.25))}
        if number % 4 == 0:
            found["without_mask"] = int(rng.geometric(0.3))
        if number % 9 == 0:
            found["mask_weared_incorrect"] = 1 + number % 2
        pictures.append(Picture(f"{number}.jpg", int.from_bytes(rng.bytes(HASH_BITS // 8), "big"), found))
    fold_of = assign_folds(pictures)
    for label in CLASSES:
        held = per_fold(pictures, fold_of, label, 5)
        assert max(held) - min(held) <= max(picture.class_counts.get(label, 0) for picture in pictures)
    assert assign_folds(pictures, seed=1) != fold_of == assign_folds(pictures, seed=0)


@pytest.mark.parametrize(
    ("pictures", "folds", "named"),
    [
        ([Picture(f"{n}.jpg", HASHES[n]) for n in range(4)], 5, "4 pictures"),
        ([Picture(f"{n}.jpg", HASHES[n % 2], {"with_mask": 1}) for n in range(9)], 5, "2 where"),
        ([Picture(f"{n}.jpg", HASHES[n], {"dog": 1} if n < 3 else {}) for n in range(9)], 5, "dog has 3 faces"),
        ([Picture(f"{n}.jpg", HASHES[n]) for n in range(4)], 1, "FOLDS=1"),
    ],
)
def test_what_cannot_be_divided_is_one_clear_line(pictures: list[Picture], folds: int, named: str):
    with pytest.raises(UserError) as error:
        assign_folds(pictures, folds)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
