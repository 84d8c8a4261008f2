"""Damaged and malicious labels: each is imported or refused in one message, and nothing is left of what is refused."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_labels
import pytest
from made_labels import MAKERS, TWO

from facemask.core.errors import UserError
from facemask.data.discovery import discover_pictures
from facemask.data.label_import import ImportOptions, import_labels

STRANGE: list[Any] = [
    None, True, -1, 0, 2**70, 1e308, -1e308, float("nan"), float("inf"), "", "x" * 5000, "../../etc/passwd",
    "/dev/zero", "\0", "\ud800", "a\nb", "=1+1", [], {}, [[]], [None], {"id": {}}, "1e999", "with_mask",
]  # fmt: skip

TOKENS = [
    b"nan", b"-1", b"1e999", b"<", b">", b'"', b"\0", b"\xff\xfe", b"]]>", b"&lol;", b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"- ", b"{", b"[", b"9" * 5000, b"../" * 9, b"\n", b": &a [*a]", b"!!python/object/apply:os.system ['touch pwned']",
]  # fmt: skip


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            data = data[:place]
        elif kind == 1:
            data = data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
        elif kind == 2:
            data = data[:place] + rng.choice(TOKENS) + data[place:]
        elif kind == 3:
            end = place + rng.randint(1, 20)
            data = data[:place] + data[end:]
        else:
            end = place + rng.randint(1, 60)
            data = data[:end] + data[place:end] * rng.randint(1, 3) + data[end:]
    return data


def change_value(value: Any, rng: random.Random) -> Any:
    """The JSON value with one of its parts replaced by something strange, or removed."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        copy = value.copy()
        key = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        if rng.random() < 0.1:
            del copy[key]
        else:
            copy[key] = change_value(copy[key], rng)
        return copy
    return rng.choice(STRANGE)


def change_json(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(change_value(json.loads(data), rng)).encode()


def attack(place: Path, seed: int) -> str:
    """One hostile source, imported. Returns `imported` or the message."""
    rng = random.Random(seed)
    name = rng.choice(list(MAKERS))
    source = place / "faces"
    shutil.copytree(place / "good" / name, source)
    labels = sorted(path for path in source.rglob("*") if path.suffix in (".json", ".yaml", ".xml", ".txt"))
    way: Callable[[bytes, random.Random], bytes] = change_bytes
    if name in ("coco", "label_studio") and rng.random() < 0.7:
        way = change_json
    target = rng.choice(labels)
    target.write_bytes(way(target.read_bytes(), rng))
    given = source
    if rng.random() < 0.2:
        given = made_labels.zipped(source, place / "faces.zip")
        if rng.random() < 0.7:
            given.write_bytes(change_bytes(given.read_bytes(), rng))
    images, annotations = place / "images", place / "annotations"
    options = ImportOptions(processes=1, skip=rng.random() < 0.3, clip=rng.random() < 0.3)
    try:
        report = import_labels(given, images, annotations, made_labels.mapping(), options)
    except UserError as error:
        assert str(error).isprintable() or "\n" in str(error)
        visible = [path for path in images.rglob("*") if not path.name.startswith(".")]
        assert (visible, annotations.exists()) == ([], False)
        return str(error)
    if report.folder is not None:
        labelled, findings = discover_pictures(images)
        assert (len(labelled), findings) == (report.images, [])
    return "imported"


def run(place: Path, count: int) -> None:
    for name, make in MAKERS.items():
        made_labels.pictures(place / "good" / name, list(TWO))
        make(place / "good" / name, TWO)
    before = sorted(place.parent.iterdir())
    outcomes = []
    for seed in range(count):
        try:
            outcomes.append(attack(place, seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        for left in ("faces", "images", "annotations"):
            shutil.rmtree(place / left, ignore_errors=True)
        (place / "faces.zip").unlink(missing_ok=True)
        assert sorted(path.name for path in place.iterdir()) == ["good"]
    assert sorted(place.parent.iterdir()) == before
    assert not Path("pwned").exists()
    assert 0.05 * count < outcomes.count("imported") < 0.95 * count


LAUGHS = "a0: &a0 ha\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 25))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 25))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data.yaml", f"{LAUGHS}names: [with_mask, without_mask]\nurl: *a24\nlicense: *a24\n", ""),
        ("data.yaml", f"{MERGES}names: [with_mask, without_mask]\n", "no labels in any known format"),
        ("data.yaml", f"names: [0x{'f' * 5000}, without_mask]\n", "data.yaml: its `names` hold a number"),
        ("README.roboflow.txt", "\n" * 900_000 + "no licence\n", ""),
        ("README.roboflow.txt", "License:" + " " * 900_000 + "\n", ""),
    ],
)
@pytest.mark.timeout(60)
def test_a_few_bytes_neither_hang_nor_fill_the_memory(tmp_path: Path, name: str, text: str, message: str) -> None:
    source = tmp_path / "faces"
    made_labels.pictures(source, list(TWO))
    made_labels.yolo(source, TWO)
    (source / name).write_text(text)
    if message:
        with pytest.raises(UserError, match=message):
            import_labels(source, tmp_path / "images", tmp_path / "annotations", made_labels.mapping())
    else:
        report = import_labels(source, tmp_path / "images", tmp_path / "annotations", made_labels.mapping())
        assert report.images == 2


def test_hundreds_of_hostile_sources(tmp_path: Path) -> None:
    run(tmp_path / "place", 200)


@pytest.mark.long
def test_ten_thousand_hostile_sources(tmp_path: Path) -> None:
    run(tmp_path / "place", 10_000)
