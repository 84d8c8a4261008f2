import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemask.core.errors import UserError
from facemask.data import splits
from facemask.data.data_rules import RULES
from facemask.data.earlier_records import assigned_splits
from facemask.data.splits import SPLITS, Candidate, Proportions

CLASSES = ("a", "b", "c")


def candidate(name: str, *classes: str, fixed: str | None = None) -> Candidate:
    return Candidate(name, frozenset(classes), folder_split=fixed)


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
    assert [splits.split_of_name(name, Proportions()) for name in names] == EXPECTED
    assert splits.split_of_name("other/folder/" + names[0], Proportions()) == EXPECTED[0]


EXPECTED = ["val", "test", "train", "val", "val", "train"]


def test_proportions_are_met():
    count = Counter(splits.split_of_name(f"{number}.jpg", Proportions(0.6, 0.3, 0.1)) for number in range(10_000))
    assert count["train"] == pytest.approx(6000, abs=150)
    assert count["val"] == pytest.approx(3000, abs=150)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(st.sampled_from(CLASSES), max_size=1), max_size=60), st.randoms())
def test_every_class_is_in_every_split_that_can_hold_it(classes: list[set[str]], order: random.Random):
    candidates = [candidate(f"{number}.jpg", *labels) for number, labels in enumerate(classes)]
    split_of = splits.assign_splits(candidates, Proportions())
    for label in CLASSES:
        held = holders(candidates, split_of, label)
        served = SPLITS if held.total() >= 3 else ("train", "test")[: held.total()]
        assert all(held[split] for split in served), (label, held)
    shuffled = candidates.copy()
    order.shuffle(shuffled)
    assert splits.assign_splits(shuffled, Proportions()) == split_of


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.sampled_from(CLASSES)), min_size=40, max_size=60))
def test_images_of_several_classes_are_spread_too(classes: list[set[str]]):
    candidates = [candidate(f"{number}.jpg", *labels) for number, labels in enumerate(classes)]
    split_of = splits.assign_splits(candidates, Proportions())
    for label in CLASSES:
        held = holders(candidates, split_of, label)
        if held.total() >= 10:
            assert all(held[split] for split in SPLITS), (label, held)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from(CLASSES)), max_size=40), st.lists(st.sets(st.sampled_from(CLASSES)), max_size=40)
)
def test_an_image_stays_when_others_come(first: list[set[str]], later: list[set[str]]):
    old = [candidate(f"{number}.jpg", *labels) for number, labels in enumerate(first)]
    before = splits.assign_splits(old, Proportions())
    known = [Candidate(c.name, c.classes, earlier_split=before[c.name]) for c in old]
    new = [candidate(f"new{number}.jpg", *labels) for number, labels in enumerate(later)]
    after = splits.assign_splits([*new, *known], Proportions())
    assert {name: after[name] for name in before} == before
    assert after.keys() == {c.name for c in [*new, *known]}


def test_folders_are_respected_and_empty_shares_stay_empty():
    candidates = [candidate(f"train/{number}.jpg", "a", fixed="train") for number in range(5)]
    assert set(splits.assign_splits(candidates, Proportions()).values()) == {"train"}
    free = [candidate(f"{number}.jpg", "a") for number in range(50)]
    assert set(splits.assign_splits(free, Proportions(0.5, 0, 0.5)).values()) == {"train", "test"}


def test_earlier_assignments_are_read(tmp_path: Path):
    table = tmp_path / "boxes.csv"
    assert assigned_splits(tmp_path, Proportions()) == ({}, False)
    table.write_text('image,split,class\n"a,\nb.jpg",val,x\n"a,\nb.jpg",val,y\nc.jpg,test,\n', encoding="utf-8")
    assert assigned_splits(tmp_path, Proportions()) == ({"a,\nb.jpg": "val", "c.jpg": "test"}, False)
    for content in (b"\xff\xfe\x00", b"name\na\n"):
        table.write_bytes(content)
        with pytest.raises(UserError, match=r"boxes\.csv"):
            assigned_splits(tmp_path, Proportions())


GROUPED = st.lists(
    st.tuples(
        st.sets(st.sampled_from(CLASSES)),
        st.integers(0, 20),
        st.sampled_from([None, None, None, "train", "val", "test"]),
        st.sampled_from([None, None, *SPLITS]),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(GROUPED, st.randoms())
def test_look_alikes_are_in_one_split_and_folders_win(drawn: list[tuple], order: random.Random):
    pictures = [Candidate(f"{n}.jpg", frozenset(c), folder, earlier) for n, (c, _, folder, earlier) in enumerate(drawn)]
    groups: dict[int, list[Candidate]] = {}
    for picture, (_, group, _, _) in zip(pictures, drawn, strict=True):
        groups.setdefault(group, []).append(picture)
    alike = [[picture.name for picture in group] for group in groups.values() if len(group) > 1]
    split_of = splits.assign_splits(pictures, Proportions(), alike)
    assert split_of.keys() == {picture.name for picture in pictures}
    for group in groups.values():
        folders = {picture.folder_split for picture in group} - {None}
        earlier = {picture.earlier_split for picture in group} - {None}
        others = {split_of[picture.name] for picture in group if picture.folder_split is None}
        assert all(split_of[picture.name] == picture.folder_split for picture in group if picture.folder_split)
        assert len(others) <= 1
        assert others <= (folders or earlier or set(SPLITS))
    order.shuffle(pictures)
    order.shuffle(alike)
    assert splits.assign_splits(pictures, Proportions(), alike) == split_of


def test_a_group_takes_the_split_of_its_oldest_member():
    known = Candidate("z.jpg", frozenset("a"), earlier_split="test", perceptual_hash=0b11)
    new = Candidate("a.jpg", frozenset("a"), perceptual_hash=0b01)
    split_of, [finding] = splits.split_data_set([new, known], Proportions())
    assert split_of == {"a.jpg": "test", "z.jpg": "test"}
    assert (finding.rule, finding.path, finding.count) == ("alike", "a.jpg", 2)


def test_a_leak_between_the_users_folders_stops_unless_it_is_asked_for():
    leak = [Candidate("train/a.jpg", frozenset(), "train"), Candidate("test/b.jpg", frozenset(), "test")]
    for together, rule, stops in ((True, "alike_in_split_folders", True), (False, "alike_in_several_splits", False)):
        split_of, [finding] = splits.split_data_set(leak, Proportions(), together)
        assert split_of == {"train/a.jpg": "train", "test/b.jpg": "test"}
        assert (finding.rule, finding.path, RULES[finding.rule].stops) == (rule, "test/b.jpg", stops)


def test_look_alikes_move_together_to_a_split_that_lacks_their_class():
    pictures = [Candidate(f"{n}.jpg", frozenset("a"), perceptual_hash=2047 << 12 * (n // 2)) for n in range(8)]
    split_of, _ = splits.split_data_set(pictures, Proportions())
    assert set(split_of.values()) == set(SPLITS)
    assert all(split_of[f"{n}.jpg"] == split_of[f"{n + 1}.jpg"] for n in range(0, 8, 2))
