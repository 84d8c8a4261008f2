import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import made_data
import pytest
from made_data import CLASSES, box, save

from facemask.core.errors import UserError
from facemask.data import check_page, dataset_check, make_records, records_summary
from facemask.data.anchors import Anchors
from facemask.data.dataset_check import CheckedDataset
from facemask.data.splits import SPLITS, Proportions

ROOT = Path(__file__).parents[2]


def look(root: Path, annotations: Path, processes: int = 1) -> CheckedDataset:
    return dataset_check.check_data_set(root, annotations, CLASSES, Proportions(), Anchors(320, 2.0), processes)


def test_says_what_records_would_hold(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 30)
    save(root, "lost.jpg", [box(corners=(70, 1, 80, 9))])
    checked = look(root, tmp_path / "a")
    report = make_records.make_records(root, tmp_path / "a", CLASSES, make_records.RecordOptions())
    for split in SPLITS:
        held = report.manifest.splits[split]
        assert checked.images[split] == held.images
        assert checked.per_class(split) == held.boxes_per_class
    assert {finding.rule for finding in checked.findings} - {"box_tiny"} == set(report.found)
    assert checked.rarest == "mask_weared_incorrect"
    assert dataset_check.normalised_boxes(checked.pictures).shape == (len(checked.boxes), 4)
    assert checked.coverage[2.0] <= checked.coverage[checked.best_scale]


def test_other_proportions_change_the_splits_as_they_do_in_records(tmp_path: Path):
    root, other = made_data.data_set(tmp_path / "images", 30), Proportions(0.4, 0.3, 0.3)
    make_records.make_records(root, tmp_path / "a", CLASSES, make_records.RecordOptions())
    checked = dataset_check.check_data_set(root, tmp_path / "a", CLASSES, other, Anchors(320, 2.0))
    report = make_records.make_records(root, tmp_path / "a", CLASSES, make_records.RecordOptions(other))
    assert report.reassigned
    assert checked.images == {split: report.manifest.splits[split].images for split in SPLITS}


def test_processes_do_not_matter(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 20)
    one, two = look(root, tmp_path), look(root, tmp_path, processes=2)
    assert (one.findings, one.pictures, one.split_of) == (two.findings, two.pictures, two.split_of)


def test_splits_of_earlier_records_count(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 10)
    table = "image,split,class\n" + "".join(f"face00{n}.{'png' if n % 3 == 0 else 'jpg'},val,\n" for n in range(10))
    (tmp_path / "boxes.csv").write_text(table)
    assert look(root, tmp_path).images == {"train": 0, "val": 10, "test": 0}


def test_the_same_picture_in_train_and_test_is_an_error(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 6)
    picture = made_data.picture(77)
    save(root, "train/a.jpg", data=made_data.encoded(picture))
    save(root, "test/b.jpg", data=made_data.encoded(picture.resize((128, 96)), quality=60), size=(128, 96))
    checked = look(root, tmp_path)
    [leak] = [finding for finding in checked.findings if finding.rule == "alike_in_split_folders"]
    assert leak.detail == "test/b.jpg (test) and train/a.jpg (train)"
    with pytest.raises(UserError):
        dataset_check.refuse_errors(checked)


def test_tiny_boxes_depend_on_the_training_size(tmp_path: Path):
    save(tmp_path, "a.jpg", [box(corners=(10, 10, 12, 40)), box()])
    for size, tiny in ((64, ["box_tiny"]), (128, [])):
        checked = dataset_check.check_data_set(tmp_path, tmp_path, CLASSES, Proportions(), Anchors(size, 2.0))
        assert [finding.rule for finding in checked.findings] == tiny


def test_one_error_is_said_in_the_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save(tmp_path / "images", "a.jpg", [box("mask")])
    records_summary.print_checked(look(tmp_path / "images", tmp_path / "a"), tmp_path / "data.html")
    assert "\n1 error. Report: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("equal", "named"), [((1.0, 1.5, 2.0), 2.0), ((2.5, 4.0, 6.0), 2.5), ((4.0,), 4.0)], ids=["own", "nearest", "only"]
)
def test_of_anchor_scales_that_cover_as_much_the_models_own_is_named(
    tmp_path: Path, equal: tuple[float, ...], named: float
):
    save(tmp_path / "images", "a.jpg", [box("with_mask")])
    checked = look(tmp_path / "images", tmp_path / "a")
    coverage = {scale: 0.9 if scale in equal else 0.8 for scale in (1.0, 1.5, 2.0, 2.5, 4.0, 6.0)}
    assert dataclasses.replace(checked, coverage=coverage).best_scale == named


def test_page_is_whole_and_harmless(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 12)
    save(root, "<script>alert(1)<.jpg", [box("<img src=x onerror=alert(1)>")])
    save(root, "[bold]$x$.jpg", [box("mask_weared_incorrect", (1, 1, 90, 90))])
    page = tmp_path / "reports" / "data.html"
    checked = look(root, tmp_path / "a")
    check_page.write_check_page(checked, page)
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;.xml" in html
    # Nothing is fetched: addresses are only names of SVG's vocabulary.
    assert 'src="http' not in html
    assert 'href="http' not in html
    assert "url(http" not in html
    assert html.count("<svg") == 4
    assert html.count("data:image/png;base64,") == sum(checked.per_class(s)["mask_weared_incorrect"] for s in SPLITS)
    as_json = json.loads(page.with_suffix(".json").read_text())
    assert {split: as_json["splits"][split]["images"] for split in SPLITS} == checked.images
    assert len(as_json["findings"]) == len(checked.findings)
    check_page.write_check_page(checked, page)
    assert page.read_text(encoding="utf-8") == html


def test_a_set_without_a_single_box(tmp_path: Path):
    save(tmp_path / "i", "a.jpg", [])
    checked = look(tmp_path / "i", tmp_path)
    check_page.write_check_page(checked, tmp_path / "data.html")
    assert "usable images" in (tmp_path / "data.html").read_text()


@pytest.mark.parametrize("page", ["folder", "a.json", "file/data.html"])
def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path, page: str):
    save(tmp_path / "i", "a.jpg", [])
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=f"{tmp_path / page}: ") as error:
        check_page.write_check_page(look(tmp_path / "i", tmp_path), tmp_path / page)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "i"]


def test_the_commands_words(tmp_path: Path):
    root = made_data.data_set(tmp_path / "images", 8)
    save(root, "bad[/].jpg", [box("with mask")])
    (root / "face001.jpg").write_bytes(b"no image")
    options = ["--images", root, "--annotations", tmp_path / "a", "--page", tmp_path / "p" / "data.html"]
    command = [sys.executable, "-m", "scripts.check", *options, "--processes", "1"]
    done = subprocess.run([*command, "--strict"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "bad[/].xml" in done.stdout
    assert "did you mean with_mask?" in done.stdout
    assert "face001.jpg" in done.stdout
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["data.html", "data.json"]
    assert "2 error(s)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a").exists()
