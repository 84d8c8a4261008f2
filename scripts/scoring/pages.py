"""The pages: one report of one evaluation, one comparison of several. Each is a single file that loads nothing."""

import base64
import dataclasses
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.dataset import manifest
from scripts.dataset.truth import Truth
from scripts.scoring import charts, comparison, evaluation, mistakes, source, tables, thresholds, training_curves
from scripts.scoring.comparison import Comparison
from scripts.scoring.evaluation import Saved, Scores
from scripts.scoring.mistakes import Mistake
from scripts.scoring.training_curves import Series
from scripts.support.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Environment

TITLES = {
    "missed face": "Missed faces",
    "false alarm": "False alarms",
    "wrong class": "Wrong classes",
    "bad box": "Bad boxes",
}
CROP = 220
"""Side in pixels of a crop on the page."""


@dataclass(frozen=True)
class Crop:
    """A mistake, cut out of its image.

    Attributes:
        name: The image's name.
        caption: What was taken for what.
        side: The crop is a square of this many pixels on the page; the rest is in these pixels.
        jpeg: The piece of the image, base64.
        image: x, y, width, height of that piece in the crop: it does not fill it where the image ends.
        truth: x, y, width, height of the face, or None.
        found: The same of the detection.
    """

    name: str
    caption: str
    side: int
    jpeg: str
    image: tuple[float, ...]
    truth: tuple[float, ...] | None
    found: tuple[float, ...] | None


@dataclass(frozen=True)
class Group:
    """The mistakes of one kind that are shown."""

    kind: str
    title: str
    crops: tuple[Crop, ...]


@dataclass(frozen=True)
class Extras:
    """What a report shows beside the evaluation, as far as it is there.

    Attributes:
        gallery: The mistakes, cut out.
        training: The run's scalars.
        splits: The records' splits, for the table of the data.
        files: (title, text) of files to show: the pipeline config, the run's settings.
        data_note: Where the images come from and their licence, as the user says it.
    """

    gallery: tuple[Group, ...] = ()
    training: dict[str, Series] = dataclasses.field(default_factory=dict)
    splits: tuple[dict[str, Any], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    data_note: str = ""


def gallery(saved: Saved, scores: Scores, pictures: Iterable[tuple[np.ndarray, Truth]], most: int) -> tuple[Group, ...]:
    """Cut the worst mistakes out of their images, one image in memory at a time.

    Args:
        saved: The evaluation.
        scores: Its scores, with the mistakes.
        pictures: The images again, in any order.
        most: Mistakes of each kind.

    Raises:
        UserError: An image is not the one that was evaluated, or not there any more.
    """
    shown = {kind: [one for one in scores.mistakes if one.kind == kind][:most] for kind in mistakes.KINDS}
    wanted: dict[int, list[Mistake]] = {}
    for group in shown.values():
        for mistake in group:
            wanted.setdefault(mistake.image_id, []).append(mistake)
    known = {truth.image_id: truth for truth in saved.truths}
    crops: dict[Mistake, Crop] = {}
    for image, truth in pictures if wanted else ():
        for mistake in wanted.pop(truth.image_id, ()):
            then = known[truth.image_id]
            if (truth.name, truth.width, truth.height) != (then.name, then.width, then.height):
                wanted[truth.image_id] = [mistake]
                break
            crops[mistake] = crop(image, truth.name, mistake, saved.label_map.names)
        if not wanted:
            break
    if wanted:
        name = known[next(iter(wanted))].name
        raise UserError(
            f"{name}: not the image that was evaluated, or gone. Run `make eval RUN={saved.folder.name}` again."
        )
    return tuple(Group(kind, TITLES[kind], tuple(crops[one] for one in group)) for kind, group in shown.items())


def crop(image: np.ndarray, name: str, mistake: Mistake, classes: Sequence[str]) -> Crop:
    """Cut a mistake out with as much around it as it is large.

    Args:
        image: RGB uint8 (height, width, 3).
        name: Its name, for the caption.
        mistake: What to show.
        classes: The class names in the order of their ids.
    """
    from PIL import Image

    boxes = np.array([box for box in (mistake.truth_box, mistake.box) if box is not None])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    center, side = (low + high) / 2, max(24.0, 2.0 * float((high - low).max()))
    height, width = image.shape[:2]
    # Inside the image as far as it is large enough.
    spare = np.array([width - side, height - side])
    corner = np.where(spare > 0, np.clip(center - side / 2, 0, np.maximum(spare, 0)), center - side / 2)
    left, top = np.clip(np.floor(corner), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corner + side), (left + 1, top + 1), (width, height)).astype(int)
    scale = CROP / side
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    piece = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right])).resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    piece.save(buffer, "JPEG", quality=82, optimize=True)

    def placed(box: Sequence[float] | None) -> tuple[float, ...] | None:
        if box is None:
            return None
        xmin, ymin, xmax, ymax = ((value - corner[index % 2]) * scale for index, value in enumerate(box))
        return tuple(round(float(value), 1) for value in (xmin, ymin, xmax - xmin, ymax - ymin))

    return Crop(
        name=name,
        caption=_caption(mistake, classes),
        side=CROP,
        jpeg=base64.b64encode(buffer.getvalue()).decode("ascii"),
        image=placed((left, top, right, bottom)) or (),
        truth=placed(mistake.truth_box),
        found=placed(mistake.box),
    )


def report(saved: Saved, scores: Scores, extras: Extras) -> str:
    """The report of one evaluation, as HTML."""
    metrics = saved.metrics
    curves = [thresholds.curve(one) for one in scores.matches]
    boxes = [int(one.truths.sum()) for one in scores.matches]
    least = evaluation.chosen(metrics)
    drawn = {
        "precision_recall": charts.precision_recall(curves, scores.operating),
        "f1": charts.f1_over_threshold(curves, boxes, scores.best),
        "by_size": charts.by_size(metrics["figures"]),
        "reliability": charts.reliability(scores.calibration),
        "histograms": [charts.score_histogram(one, index, least[index]) for index, one in enumerate(scores.matches)],
        "balance": charts.class_balance(metrics["classes"], [one["boxes"] for one in metrics["figures"]["classes"]]),
    }
    page = _environment(metrics).get_template("report.html.j2")
    return page.render(
        name=saved.folder.name,
        source=source.from_json(metrics["source"]).name,
        metrics=metrics,
        charts=_safe(drawn),
        notes=evaluation.notes(metrics, saved.truths),
        limits=limits(metrics),
        gallery=extras.gallery,
        training=_safe(charts.training(extras.training)),
        splits=extras.splits,
        facts=facts(metrics),
        files=extras.files,
        data_note=extras.data_note,
    )


def report_with_extras(saved: Saved, models: Path, most: int, data_note: str = "") -> str:
    """The report with all that can be found for it: mistakes, training curves, the records' splits, the configs.

    Args:
        saved: The evaluation.
        models: Folder of the training runs, `workspace/models`.
        most: Mistakes of each kind; with 0 the images are not looked at.
        data_note: Where the images come from and their licence.

    Raises:
        UserError: The images of the mistakes are not there any more.
    """
    scores = evaluation.scores_of(saved)
    origin = source.from_json(saved.metrics["source"])
    model = saved.metrics["model"]
    run = models / model["run"]
    splits: tuple[dict[str, Any], ...] = ()
    if origin.split is not None and (origin.path / manifest.NAME).exists():
        read = manifest.read(origin.path)
        if read.digest == origin.digest:
            splits = tuple({"name": name, **dataclasses.asdict(split)} for name, split in read.splits.items())
    pictures = source.pictures(origin, saved.label_map) if most else ()
    files = (
        ("pipeline.config", text_of(Path(model["exported"]) / "pipeline.config")),
        ("the run's settings (run.json)", text_of(run / "run.json", pretty_json=True)),
    )
    extras = Extras(
        gallery=gallery(saved, scores, pictures, most),
        training=training_curves.of_run(run),
        splits=splits,
        files=tuple((name, text) for name, text in files if text),
        data_note=data_note,
    )
    return report(saved, scores, extras)


def compare(saved: Sequence[Saved], compared: Comparison) -> str:
    """The comparison of several evaluations, as HTML."""
    systems = compared.systems
    curves = [[thresholds.curve(one) for one in evaluation.matches_of(each)] for each in saved]
    rows = [(system.name, system.map50, charts.color_of(index)) for index, system in enumerate(systems)]
    changes = [(system.name, system.change50, charts.color_of(index)) for index, system in enumerate(systems) if index]
    drawn = {
        "map50": charts.intervals(rows, "mAP@.5"),
        "change50": charts.intervals(changes, f"difference to {systems[0].name}", zero=True) if changes else "",
        "curves": [
            (name, charts.overlaid(name, [(each.name, own[index]) for each, own in zip(systems, curves, strict=True)]))
            for index, name in enumerate(saved[0].label_map.names)
        ],
    }
    columns = [dict(facts(each.metrics)) for each in saved]
    made = [(key, [column.get(key, "-") for column in columns]) for key in dict.fromkeys(k for c in columns for k in c)]
    page = _environment(compared.to_json()).get_template("compare.html.j2")
    return page.render(
        systems=systems,
        seed=compared.seed,
        source=source.from_json(saved[0].metrics["source"]).name,
        charts=_safe(drawn),
        verdicts=[comparison.verdict(system, systems[0]) for system in systems],
        hardware=sorted({system.hardware for system in systems}),
        facts=made,
    )


def facts(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """How an evaluation was made, as rows for people."""
    model, made, speed, origin = metrics["model"], metrics["made"], metrics["speed"], metrics["source"]
    steps = "" if model["steps"] is None else f", {model['steps']:,} steps"
    rows = [
        ("run", f"{model['run']}{steps}"),
        (
            "model",
            model["model"] + (", input {}\N{MULTIPLICATION SIGN}{}".format(*model["input"]) if model["input"] else ""),
        ),
        ("faces by", _part(model.get("faces"), "name", "at {size} pixels")),
        ("classes by", _part(model.get("classifier"), "run", "{backbone} at {size} pixels, margin {margin}")),
        ("run by", f"{model['detector']}, {speed['batch']} image(s) at once, on {speed['hardware']}"),
        (
            "speed",
            f"median {speed['latency_ms']:.1f} ms, 95% under {speed['latency_p95_ms']:.1f} ms; "
            f"{speed['images_per_second']:.2f} images a second with reading and decoding",
        ),
        ("images", source.from_json(origin).name),
        ("digest of the records", origin["digest"]),
        ("digest of the config", model["config_sha256"]),
        ("digest of the truth", metrics["files"][evaluation.TRUTH]),
        ("commit", made["commit"]),
        ("measured", made["made"]),
        ("Python", made["python"]),
        ("packages", ", ".join(f"{name} {version}" for name, version in made["packages"].items() if version)),
        ("settings", ", ".join(f"{name} {value}" for name, value in made["settings"].items())),
    ]
    return [(key, str(value)) for key, value in rows if value]


def _part(part: dict[str, Any] | None, name: str, about: str) -> str:
    """One part of a detector of two stages, for people: its name, what it is and the digests of its files."""
    if part is None:
        return ""
    said = [part[name], *([about.format(**part)] if part["size"] else [])]
    return ", ".join([*said, *(f"{file} {digest[:12]}" for file, digest in part["files"].items())])


def limits(metrics: dict[str, Any]) -> list[str]:
    """What the figures say the detector cannot do, and what they cannot say; sentences for the model card."""
    figures = metrics["figures"]
    found = []
    rated = [size for size in figures["sizes"] if size["ap50"] is not None]
    if len(rated) > 1:
        worst, top = min(rated, key=lambda size: size["ap50"]), max(rated, key=lambda size: size["ap50"])
        found.append(
            f"Of {worst['size']} faces it is worth less than of {top['size']} ones: AP@.5 {worst['ap50']:.2f} against "
            f"{top['ap50']:.2f}."
        )
    for one, chosen in zip(figures["classes"], metrics["operating"], strict=True):
        if one["boxes"] == 0:
            found.append(f"{one['name']}: not measured, there was no such face.")
        elif chosen["recall"] is not None and chosen["precision"] is not None:
            found.append(
                f"{one['name']}: at threshold {chosen['threshold']:.2f} it finds {100 * chosen['recall']:.0f}% of the "
                f"faces, and {100 * chosen['precision']:.0f}% of what it reports is right ({one['boxes']} faces)."
            )
        else:
            found.append(
                f"{one['name']}: at threshold {chosen['threshold']:.2f} it finds none of {one['boxes']} faces."
            )
    found.append(
        "It was measured on images like those it learnt from. Other cameras, places, ages, skin tones, beards, veils "
        "and masks can score differently and were not measured apart: measure on your own images before relying on it."
    )
    return found


def _caption(mistake: Mistake, classes: Sequence[str]) -> str:
    truth = "" if mistake.truth_id is None else classes[mistake.truth_id - 1]
    seen = "" if mistake.class_id is None else f"{classes[mistake.class_id - 1]} {mistake.score:.2f}"
    if mistake.kind == "missed face":
        return f"{truth}, not found"
    if mistake.kind == "false alarm":
        return f"{seen}, on a face found already" if mistake.iou >= 0.5 else f"{seen}, nothing there"
    if mistake.kind == "wrong class":
        return f"{truth}, taken for {seen}"
    return f"{truth}, found as {seen}, IoU {mistake.iou:.2f}"


def _environment(values: dict[str, Any]) -> "Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def lookup(path: str) -> Any:
        value: Any = values
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, (list, tuple)) else value[key]
        return value

    environment.globals.update(lookup=lookup, color=charts.color_of)
    environment.filters.update(
        form_as=form, span=tables.span, signed_span=lambda interval: tables.span(interval, tables.signed)
    )
    return environment


def form(value: float | None, kind: str) -> str:
    """A figure as the pages write it: `figure` 0.831, `count` 1,234, `ms` 78 ms, `signed` +0.012, `one` 12.3."""
    if value is None:
        return "-"
    return {
        "figure": tables.figure(value),
        "count": f"{value:,}",
        "ms": f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms",
        "signed": tables.signed(value),
        "one": f"{value:.1f}",
    }[kind]


def _safe(value: Any) -> Any:
    """Mark the charts as HTML; only what this package draws comes through here."""
    from markupsafe import Markup

    if isinstance(value, dict):
        return {key: _safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_safe(item) for item in value]
    if isinstance(value, tuple):  # (title, chart)
        return (value[0], Markup(value[1]))
    return Markup(value)


def text_of(path: Path, pretty_json: bool = False) -> str:
    """A small text file's contents, or nothing where it is not there."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if not pretty_json:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
