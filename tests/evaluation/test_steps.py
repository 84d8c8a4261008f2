"""The steps from end to end, with a detector that needs no TensorFlow, and their pages in a real browser."""

import base64
import html
import html.parser
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_detections import CLASSES, found, street, truth
from PIL import Image

from facemask.cli import compare_command, eval_command, records_command, report_command
from facemask.core import charts
from facemask.core.errors import UserError
from facemask.data import voc
from facemask.evaluation import comparison, evaluate, thresholds
from facemask.evaluation.mistakes import Mistake
from facemask.evaluation.report import report_charts, report_pages

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def workspace(tmp_path, exported, pictures, painted, monkeypatch):
    """Records, an exported model, and a detector in its place."""
    monkeypatch.setattr("facemask.detect.runtimes.load_model", lambda folder, *how: painted)
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join(CLASSES.names))
    records_command.main(
        images=pictures, annotations=tmp_path / "annotations", classes=classes, split="100,0,0", shards=1
    )
    return tmp_path


def run_eval(workspace, **options):
    folders = {name: workspace / name for name in ("annotations", "exported", "reports")}
    split = "" if "images" in options else "train"
    eval_command.main(**{"split": split, "threshold": "0.5", **folders, **options})


def metrics_of(workspace, name="default"):
    return json.loads((workspace / "reports" / name / "metrics.json").read_text())


def test_eval_on_records_and_on_the_folder_agree(workspace, pictures, painted, capsys):
    run_eval(workspace, voc=True)
    metrics = metrics_of(workspace)
    # All 12 red squares are found, and the green ones but where 40 + number is a multiple of 3: 2, 5, 8, 11. So recall
    # of class 2 is 8/12, at precision 1, on recall points 0 ... 0.66: AP = 67/101.
    with_mask, without_mask, incorrect = metrics["figures"]["classes"]
    assert (with_mask["ap"], without_mask["ap"], incorrect["ap"]) == (pytest.approx(1), pytest.approx(67 / 101), None)
    assert metrics["figures"]["map50"] == pytest.approx((1 + 67 / 101) / 2)
    assert metrics["confusion"]["counts"] == [[12, 0, 0, 0], [0, 8, 0, 4], [0] * 4, [0] * 4]
    assert metrics["mistakes"] == {"missed face": 4, "false alarm": 0, "wrong class": 0, "bad box": 0}
    assert metrics["source"]["digest"]
    assert painted.calls == 13  # each image once, and the first twice
    assert len(list((workspace / "reports" / "default" / "voc").rglob("*.xml"))) == 12
    said = capsys.readouterr().out
    assert f"{metrics['figures']['map50']:.3f}" in said
    assert "mask_weared_incorrect" in said

    run_eval(workspace, images=pictures, report="folder")
    again = metrics_of(workspace, "folder")
    for name in ("figures", "operating", "best", "confusion", "thresholds"):
        assert again[name] == metrics[name]


def test_what_eval_leaves_out_of_a_folder_is_named(workspace, pictures, painted, capsys):
    shutil.copy(pictures / "00.png", pictures / "[bold].png")
    (pictures / "phone.heic").write_bytes(b"")
    lost = voc.read_voc(pictures / "01.xml")
    voc.write_voc(pictures / "01.xml", replace(lost, boxes=(voc.Box("with_mask", 500, 500, 600, 600),)))
    run_eval(workspace, images=pictures)
    left_out = [
        "[bold].png: image without XML",
        "phone.heic: image in a format that is not read",
        "01.png: image that lost all its boxes",
    ]
    assert metrics_of(workspace)["source"]["left_out"] == left_out
    assert f"3 files of the folder are left out: {'; '.join(left_out)}\n" in capsys.readouterr().out
    outside = (pictures / "01.xml").read_bytes()
    for path in pictures.glob("*.xml"):
        path.write_bytes(outside)
    with pytest.raises(UserError, match=r"no usable image in it\. `make check IMAGES="):
        run_eval(workspace, images=pictures)


def test_large_pictures_are_measured_in_tiles_as_they_are_detected(workspace, painted, monkeypatch):
    monkeypatch.setattr("facemask.detect.tiling.LARGE", 120 * 90)
    run_eval(workspace)
    assert painted.calls >= 12 * 2  # each picture as a whole and in its tiles


def test_thresholds_of_another_evaluation(workspace):
    run_eval(workspace, report="val")
    run_eval(workspace, threshold=str(workspace / "reports" / "val" / "metrics.json"))
    first, second = metrics_of(workspace, "val"), metrics_of(workspace)
    assert [one["threshold"] for one in second["operating"]] == [*first["thresholds"].values(), 0.5]
    run_eval(workspace, threshold="best")
    assert metrics_of(workspace)["operating"] == second["operating"]


def test_bad_input_is_one_line_each(workspace, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for options, named in (
        ({"annotations": tmp_path / "nowhere"}, "nowhere"),
        ({"split": "val"}, "val"),
        ({"split": "tset"}, "tset"),
        ({"run": "other"}, "other"),
        ({"threshold": "2"}, "2"),
        ({"images": empty}, "empty"),
        ({"images": tmp_path / "pictures", "split": "val"}, "^SPLIT=val: .*IMAGES=.* Leave one of the two out"),
    ):
        with pytest.raises(UserError, match=named):
            run_eval(workspace, **options)

    model = workspace / "exported" / "default" / "model.json"
    text = model.read_text()
    model.write_text(text.replace('"without_mask"', '"bare"'))
    with pytest.raises(UserError, match="bare"):
        run_eval(workspace)
    model.write_text(text)

    # The record files of another, longer label map under this records.json.
    others = workspace / "others"
    classes = tmp_path / "more.txt"
    classes.write_text("\n".join(["a", "b", "c", *CLASSES.names]))
    records_command.main(images=tmp_path / "pictures", annotations=others, classes=classes, split="100,0,0", shards=1)
    for path in others.glob("*.record*"):
        shutil.copy(path, workspace / "annotations" / path.name)
    with pytest.raises(UserError, match="class id 4"):
        run_eval(workspace)
    for name in ("report", "compare"):
        command = [sys.executable, "-m", f"scripts.{name}", "--reports", str(tmp_path)]
        command += ["--runs", "a,b"] if name == "compare" else []
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert (ran.returncode, ran.stderr.count("\n"), "Traceback" in ran.stderr) == (2, 1, False)
        assert str(tmp_path) in ran.stderr
    assert not (workspace / "reports").exists()  # nothing half-written by any of these


@pytest.fixture
def both_pages(workspace, painted, monkeypatch):
    run_eval(workspace)
    worse = type(painted)()
    worse.look = lambda image: painted.look(image)[:1]
    monkeypatch.setattr("facemask.detect.runtimes.load_model", lambda folder, *how: worse)
    run_eval(workspace, report="worse")
    reports = workspace / "reports"
    report_command.main(
        run="default", reports=reports, models=workspace / "models", note="Painted <i>by</i> hand & CC0"
    )
    compare_command.main(runs="default, worse", reports=reports, draws=200)
    return reports / "default" / "report.html", reports / "compare.html"


class Page(html.parser.HTMLParser):
    """The figures that a page shows, by the path of each in the JSON behind it, and all addresses in it."""

    def __init__(self, text):
        super().__init__()
        self.figures, self.links, self.path = {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.path = attrs.get("data-metric")
        self.links += [attrs[name] for name in ("src", "href", "xlink:href", "action", "data") if attrs.get(name)]

    def handle_data(self, data):
        if self.path:
            self.figures.setdefault(self.path, set()).add(data.strip())
            self.path = None


def looked_up(value, path):
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def as_shown(value, texts):
    """Whether every text is this value, rounded as far as it is written out."""
    for text in texts:
        if value is None:
            if text != "-":
                return False
            continue
        number = text.replace(",", "").replace("\N{MINUS SIGN}", "-").removesuffix(" ms")
        digits = len(number.partition(".")[2])
        if abs(float(number) - value) > 0.5 * 10**-digits + 1e-9:
            return False
    return True


def check(text, behind, least):
    page = Page(text)
    assert len(page.figures) >= least
    wrong = {path: texts for path, texts in page.figures.items() if not as_shown(looked_up(behind, path), texts)}
    assert not wrong
    assert {link.partition(":")[0] for link in page.links if not link.startswith("#")} <= {"data"}
    assert not re.search(r"url\((?!#|&quot;#|\"#)|@import|<script", text)
    targets = set(re.findall(r'id="([^"]+)"', text))
    assert {link[1:] for link in page.links if link.startswith("#")} <= targets
    assert len(re.findall(r'<clipPath id="([^"]+)"', text)) == len(set(re.findall(r'<clipPath id="([^"]+)"', text)))


def test_pages_show_the_figures_and_load_nothing(both_pages):
    report_page, compare_page = both_pages
    text = report_page.read_text()
    check(text, metrics_of(report_page.parents[2]), 40)
    assert "Painted &lt;i&gt;by&lt;/i&gt; hand &amp; CC0" in text
    assert "&lt;b&gt;not HTML&lt;/b&gt;" in text
    assert text.count("data:image/jpeg") == 4  # the four missed squares
    check(compare_page.read_text(), json.loads(compare_page.with_suffix(".json").read_text()), 15)


PROBE = """<script>
// In the document before it has loaded, so that its load event waits for them.
const images = [...document.querySelectorAll("image")].map((element) => {
  const image = new Image(); image.src = element.getAttribute("href"); image.hidden = true;
  document.body.append(image);
  return [element, image];
});
addEventListener("load", () => {
  const sizes = images.map(([element, image]) =>
    image.complete && image.naturalWidth > 0 && element.getBoundingClientRect().width > 0);
  const charts = [...document.querySelectorAll("figure > svg:not(:has(image))")];
  const result = {
    images: sizes,
    charts: charts.map((svg) => svg.getBoundingClientRect().width > 100 && svg.querySelectorAll("path").length > 5),
    requests: performance.getEntriesByType("resource").map((entry) => entry.name).filter((n) => !n.startsWith("data:")),
    figures: Object.fromEntries([...document.querySelectorAll("[data-metric]")].map(
      (element) => [element.dataset.metric, element.innerText])),
    overflow: document.documentElement.scrollWidth - innerWidth,
  };
  const out = document.createElement("pre"); out.id = "probe"; out.textContent = JSON.stringify(result);
  document.body.append(out);
});
</script>"""


def browse(page, profile, *options):
    """Chromium's DOM of a page after loading, and what it wrote to its console."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--window-size=1200,900", *options]
    ran = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
def test_pages_in_a_browser(both_pages, tmp_path):
    report_page, compare_page = both_pages
    behind = [metrics_of(report_page.parents[2]), json.loads(compare_page.with_suffix(".json").read_text())]
    for page, values, images, charts_there in zip(both_pages, behind, (4, 0), (8, 4), strict=True):
        _, console = browse(page, tmp_path / "profile", "--dump-dom")
        assert console == []  # nothing refused, nothing missing
        # Once more with a script that looks around, which the page's own policy would refuse.
        text = page.read_text()
        probed = page.with_name("probed.html")
        probed.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", PROBE + "</body>"))
        dom, console = browse(probed, tmp_path / "profile", "--dump-dom")
        assert console == []
        said = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
        assert said, dom[-2000:]
        there = json.loads(html.unescape(said[1]))
        assert there["requests"] == []
        assert there["images"] == [True] * images
        assert len(there["charts"]) >= charts_there
        assert all(there["charts"])
        assert there["overflow"] <= 0
        assert len(there["figures"]) >= 15
        assert all(as_shown(looked_up(values, path), [text]) for path, text in there["figures"].items())


def test_report_without_its_images(workspace, pictures):
    run_eval(workspace, images=pictures)
    for path in pictures.iterdir():
        path.unlink()
    options = {"reports": workspace / "reports", "models": workspace / "models"}
    with pytest.raises(UserError):
        report_command.main(**options)
    report_command.main(mistakes=0, **options)
    assert "data:image/jpeg" not in (workspace / "reports" / "default" / "report.html").read_text()


def test_a_changed_image_is_not_shown_as_the_evaluated_one(workspace, pictures):
    run_eval(workspace, images=pictures)
    saved = evaluate.read_evaluation(workspace / "reports" / "default")
    scores = evaluate.recompute_result(saved)
    other = [(np.zeros((90, 120, 3), np.uint8), truth(i, size=(120, 90), name="other.png")) for i in range(1, 13)]
    with pytest.raises(UserError, match=r"other\.png|\.png"):
        report_pages.mistake_gallery(saved, scores, other, 3)


def test_a_crop_shows_its_box_in_its_place():
    image = np.zeros((200, 300, 3), np.uint8)
    image[150:190, 20:60] = 255
    mistake = Mistake("missed face", 1, 1600.0, (20, 150, 60, 190), 1, None, None, None, 0.0)
    crop = report_pages.crop_mistake(image, "a.jpg", mistake, CLASSES.names)
    piece = np.asarray(Image.open(io.BytesIO(base64.b64decode(crop.jpeg))).convert("L"))
    left, top, width, height = crop.image
    assert piece.shape == (round(height), round(width))
    x, y, w, h = crop.truth
    ys, xs = np.nonzero(piece > 128)
    assert (xs.min() + left, ys.min() + top, xs.max() + 1 + left, ys.max() + 1 + top) == pytest.approx(
        (x, y, x + w, y + h), abs=2
    )
    assert w == h == pytest.approx(110, abs=1)  # a 40 px box in an 80 px crop on 220 px


@pytest.mark.parametrize("box", [(-5, -5, 3, 3), (295, 195, 310, 215), (0, 0, 300, 200), (299, 0, 300, 1)])
def test_crops_at_the_edges(box):
    mistake = Mistake("false alarm", 1, 0.9, None, None, box, 1, 0.9, 0.0)
    crop = report_pages.crop_mistake(np.zeros((200, 300, 3), np.uint8), "a.jpg", mistake, CLASSES.names)
    assert crop.jpeg
    assert crop.found[2] == pytest.approx(
        (box[2] - box[0]) * 220 / max(24, 2 * max(box[2] - box[0], box[3] - box[1])), abs=1
    )


def test_verdicts():
    interval = comparison.ConfidenceInterval
    first = comparison.ComparedSystem("first", "", interval(0.5, 0.4, 0.6), interval(0, 0, 0), None, None, (), 1, 1, "")

    def verdict(*change):
        return comparison.describe_difference(
            comparison.ComparedSystem("other", "", first.map50, first.map, interval(*change), None, (), 1, 1, ""), first
        )

    better, worse, chance = verdict(0.10, 0.03, 0.17), verdict(-0.10, -0.17, -0.03), verdict(0.02, -0.01, 0.05)
    assert better.startswith("Better")
    assert worse.startswith("Worse")
    assert not chance.startswith(("Better", "Worse"))
    assert all(number in better for number in ("10.0", "+3.0", "+17.0"))


@pytest.mark.parametrize("text", ["", "one", "a,a", "a,,"])
def test_runs_to_compare_are_two_or_more(text):
    with pytest.raises(UserError, match="runs"):
        comparison.parse_run_names(text)


def test_charts_of_nothing():
    for truths in ([truth(1)], [truth(1, (1, 0, 0, 9, 9))]):
        result = evaluate.compute_metrics(truths, [found()], CLASSES, (0.5,) * 3)
        curves = [thresholds.precision_recall_curve(one) for one in result.matches]
        assert report_charts.precision_recall_chart(curves, result.operating).startswith("<svg")
        assert report_charts.f1_chart(curves, result.best).startswith("<svg")
        assert report_charts.calibration_chart(result.calibration).startswith("<svg")
        assert report_charts.class_score_histogram(result.matches[0], 0, 0.5).startswith("<svg")
        assert charts.count_bars("faces", CLASSES.names, [0, 0, 0], "faces").startswith("<svg")


def test_the_f1_chart_has_the_f1_of_each_threshold(monkeypatch):
    truths, detections = street(30, seed=3)
    result = evaluate.compute_metrics(truths, detections, CLASSES, (0.5,) * 3)
    curves = [thresholds.precision_recall_curve(one) for one in result.matches]
    drawn = []
    monkeypatch.setattr(charts, "line_chart", lambda name, lines, **labels: drawn.extend(lines) or "")
    report_charts.f1_chart(curves, result.best)
    for line, matches in zip(drawn, result.matches, strict=True):
        assert len(line.x) > 1
        assert line.y == pytest.approx([thresholds.operating_point_at(matches, score).f1 for score in line.x])
