import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.dataset import splits
from scripts.dataset.splits import SPLITS, Candidate, Proportions
from scripts.support.errors import UserError

CLASSES = ("a", "b", "c")


def candidate(name: str, *classes: str, fixed: str | None = None) -> Candidate:
    return Candidate(name, frozenset(classes), fixed)


def holders(candidates: list[Candidate], split_of: dict[str, str], label: str) -> Counter[str]:
    return Counter(split_of[c.name] for c in candidates if label in c.classes)


def test_proportions():
    assert Proportions.parse("70,15,15") == Proportions() == Proportions.parse("0.7/0.15/0.15")
    assert Proportions.parse("1,0,0") == Proportions(1, 0, 0)
    for text in ("", "70,30", "a,b,c", "-1,1,1", "0,1,1", "nan,1,1", "inf,1,1", "1,inf,1"):
        with pytest.raises(UserError):
            Proportions.parse(text)


def test_the_name_alone_decides():
    # These are for ever: records that were made before must not mix.
    names = [f"maksssksksss{number}.jpg" for number in range(6)]
    assert [splits.by_hash(name, Proportions()) for name in names] == EXPECTED
    assert splits.by_hash("other/folder/" + names[0], Proportions()) == EXPECTED[0]


EXPECTED = ["val", "test", "train", "val", "val", "train"]


def test_proportions_are_met():
    count = Counter(splits.by_hash(f"{number}.jpg", Proportions(0.6, 0.3, 0.1)) for number in range(10_000))
    assert count["train"] == pytest.approx(6000, abs=150)
    assert count["val"] == pytest.approx(3000, abs=150)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sets(st.sampled_from(CLASSES), max_size=1), max_size=60), st.randoms())
def test_every_class_is_in_every_split_that_can_hold_it(classes: list[set[str]], order: random.Random):
    candidates = [candidate(f"{number}.jpg", *labels) for number, labels in enumerate(classes)]
    split_of = splits.assign(candidates, Proportions())
    for label in CLASSES:
        held = holders(candidates, split_of, label)
        served = SPLITS if held.total() >= 3 else ("train", "test")[: held.total()]
        assert all(held[split] for split in served), (label, held)
    shuffled = candidates.copy()
    order.shuffle(shuffled)
    assert splits.assign(shuffled, Proportions()) == split_of


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(st.sampled_from(CLASSES)), min_size=40, max_size=60))
def test_images_of_several_classes_are_spread_too(classes: list[set[str]]):
    candidates = [candidate(f"{number}.jpg", *labels) for number, labels in enumerate(classes)]
    split_of = splits.assign(candidates, Proportions())
    for label in CLASSES:
        held = holders(candidates, split_of, label)
        if held.total() >= 10:
            assert all(held[split] for split in SPLITS), (label, held)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from(CLASSES)), max_size=40), st.lists(st.sets(st.sampled_from(CLASSES)), max_size=40)
)
def test_an_image_stays_when_others_come(first: list[set[str]], later: list[set[str]]):
    old = [candidate(f"{number}.jpg", *labels) for number, labels in enumerate(first)]
    before = splits.assign(old, Proportions())
    known = [Candidate(c.name, c.classes, before[c.name]) for c in old]
    new = [candidate(f"new{number}.jpg", *labels) for number, labels in enumerate(later)]
    after = splits.assign([*new, *known], Proportions())
    assert {name: after[name] for name in before} == before
    assert after.keys() == {c.name for c in [*new, *known]}


def test_folders_are_respected_and_empty_shares_stay_empty():
    candidates = [candidate(f"train/{number}.jpg", "a", fixed="train") for number in range(5)]
    assert set(splits.assign(candidates, Proportions()).values()) == {"train"}
    free = [candidate(f"{number}.jpg", "a") for number in range(50)]
    assert set(splits.assign(free, Proportions(0.5, 0, 0.5)).values()) == {"train", "test"}


def test_earlier_assignments_are_read(tmp_path: Path):
    table = tmp_path / "boxes.csv"
    assert splits.read_assigned(table) == {}
    table.write_text('image,split,class\n"a,\nb.jpg",val,x\n"a,\nb.jpg",val,y\nc.jpg,test,\n', encoding="utf-8")
    assert splits.read_assigned(table) == {"a,\nb.jpg": "val", "c.jpg": "test"}
    for content in (b"\xff\xfe\x00", b"name\na\n"):
        table.write_bytes(content)
        with pytest.raises(UserError, match="Delete it"):
            splits.read_assigned(table)
