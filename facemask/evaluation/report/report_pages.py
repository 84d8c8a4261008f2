"""The HTML pages: the report of one evaluation, and the comparison of several. Each is one file that loads no other."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask.core import charts
from facemask.core.colours import chart_colour
from facemask.core.errors import UserError
from facemask.data import manifest
from facemask.data.labelled_picture import GroundTruth
from facemask.evaluation import (
    comparison,
    evaluate,
    evaluated_pictures,
    mistakes,
    thresholds,
    training_curves,
)
from facemask.evaluation.comparison import Comparison
from facemask.evaluation.evaluate import EvaluationResult, MatchedEvaluation, SavedEvaluation
from facemask.evaluation.mistakes import Mistake
from facemask.evaluation.report import metric_tables, report_charts
from facemask.evaluation.report.picture_crops import PictureCrop, crop_boxes
from facemask.evaluation.training_curves import Series

if TYPE_CHECKING:
    from jinja2 import Environment

TITLES = {
    "missed face": "Missed faces",
    "false alarm": "False alarms",
    "wrong class": "Wrong classes",
    "bad box": "Bad boxes",
}


@dataclass(frozen=True)
class MistakeGroup:
    """The mistakes of one kind that are shown."""

    kind: str
    title: str
    crops: tuple[PictureCrop, ...]


@dataclass(frozen=True)
class ReportExtras:
    """What a report shows besides the evaluation. A part that is empty is not shown.

    Attributes:
        gallery: Crops of the worst mistakes.
        training: The run's scalars.
        splits: The records' splits, for the table of the data.
        files: (title, text) of files to show: the pipeline config, the run's settings.
        data_note: The origin and the licence of the images, in the user's words.
    """

    gallery: tuple[MistakeGroup, ...] = ()
    training: dict[str, Series] = dataclasses.field(default_factory=dict)
    splits: tuple[dict[str, Any], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    data_note: str = ""


def mistake_gallery(
    saved: SavedEvaluation, result: EvaluationResult, pictures: Iterable[tuple[np.ndarray, GroundTruth]], most: int
) -> tuple[MistakeGroup, ...]:
    """Cut the worst mistakes out of their images. Only one image is in memory at a time.

    Args:
        saved: The evaluation.
        result: Its metrics and mistakes.
        pictures: The images, uint8 arrays of shape (height, width, 3), RGB, with their ground truth, in any order.
        most: The most mistakes of each kind.

    Raises:
        UserError: An image is missing, or is another one than was evaluated.
    """
    shown = {kind: [one for one in result.mistakes if one.kind == kind][:most] for kind in mistakes.KINDS}
    wanted: dict[int, list[Mistake]] = {}
    for group in shown.values():
        for mistake in group:
            wanted.setdefault(mistake.image_id, []).append(mistake)
    known = {truth.image_id: truth for truth in saved.truths}
    crops: dict[Mistake, PictureCrop] = {}
    for image, truth in pictures if wanted else ():
        for mistake in wanted.pop(truth.image_id, ()):
            then = known[truth.image_id]
            if (truth.name, truth.width, truth.height) != (then.name, then.width, then.height):
                wanted[truth.image_id] = [mistake]
                break
            crops[mistake] = crop_mistake(image, truth.name, mistake, saved.label_map.names)
        if not wanted:
            break
    if wanted:
        name = known[next(iter(wanted))].name
        raise UserError(
            f"{name}: missing, or another image than was evaluated. Run `make eval RUN={saved.folder.name}` again."
        )
    return tuple(MistakeGroup(kind, TITLES[kind], tuple(crops[one] for one in group)) for kind, group in shown.items())


def crop_mistake(image: np.ndarray, name: str, mistake: Mistake, classes: Sequence[str]) -> PictureCrop:
    """Cut a square with a mistake in its middle out of an image. Its side is twice that of the boxes, or 24 pixels.

    Args:
        image: RGB uint8 (height, width, 3).
        name: The image's name.
        mistake: The mistake.
        classes: The class names in the order of their ids.
    """
    return crop_boxes(image, name, _caption(mistake, classes), mistake.truth_box, mistake.box)


def render_report(saved: SavedEvaluation, result: EvaluationResult, extras: ReportExtras) -> str:
    """The report of one evaluation, as HTML."""
    metrics = saved.metrics
    curves = [thresholds.precision_recall_curve(one) for one in result.matches]
    chosen = evaluate.chosen_thresholds(metrics)
    drawn = {
        "precision_recall": report_charts.precision_recall_chart(curves, result.operating),
        "f1": report_charts.f1_chart(curves, result.best),
        "by_size": report_charts.face_size_chart(metrics["figures"]),
        "reliability": report_charts.calibration_chart(result.calibration),
        "histograms": [
            report_charts.class_score_histogram(one, index, chosen[index]) for index, one in enumerate(result.matches)
        ],
        "balance": charts.count_bars(
            "faces of each class", metrics["classes"], [one["boxes"] for one in metrics["figures"]["classes"]], "faces"
        ),
    }
    page = page_environment(metrics).get_template("report.html.j2")
    return page.render(
        name=saved.folder.name,
        source=evaluated_pictures.source_from_json(metrics["source"]).name,
        metrics=metrics,
        charts=_safe(drawn),
        notes=evaluate.list_caveats(metrics, saved.truths),
        limits=stated_limits(metrics),
        gallery=extras.gallery,
        training=_safe(charts.panel_svgs(training_curves.training_panels(extras.training))),
        splits=extras.splits,
        facts=provenance_rows(metrics),
        files=extras.files,
        data_note=extras.data_note,
    )


def render_report_with_extras(saved: SavedEvaluation, models: Path, most: int, data_note: str = "") -> str:
    """The report with crops of mistakes, training curves, the splits and the configs, as far as their files exist.

    Args:
        saved: The evaluation.
        models: Folder of the training runs, `workspace/models`.
        most: The most mistakes of each kind; with 0 the images are not read.
        data_note: The origin and the licence of the images.

    Raises:
        UserError: The images of the mistakes are missing.
    """
    result = evaluate.recompute_result(saved)
    origin = evaluated_pictures.source_from_json(saved.metrics["source"])
    model = saved.metrics["model"]
    run = models / model["run"]
    splits: tuple[dict[str, Any], ...] = ()
    if origin.split is not None and (origin.path / manifest.NAME).exists():
        read = manifest.read_manifest(origin.path)
        if read.digest == origin.digest:
            splits = tuple({"name": name, **dataclasses.asdict(split)} for name, split in read.splits.items())
    pictures = evaluated_pictures.read_pictures(origin, saved.label_map) if most else ()
    files = (
        ("pipeline.config", read_small_text(Path(model["exported"]) / "pipeline.config")),
        ("the run's settings (run.json)", read_small_text(run / "run.json", pretty_json=True)),
    )
    extras = ReportExtras(
        gallery=mistake_gallery(saved, result, pictures, most),
        training=training_curves.read_run_scalars(run),
        splits=splits,
        files=tuple((name, text) for name, text in files if text),
        data_note=data_note,
    )
    return render_report(saved, result, extras)


def render_comparison(saved: Sequence[MatchedEvaluation], compared: Comparison) -> str:
    """The comparison of several evaluations, as HTML."""
    systems = compared.systems
    curves = [[thresholds.precision_recall_curve(one) for one in each.matches] for each in saved]
    rows = [(system.name, system.map50) for system in systems]
    changes = [(system.name, system.change50) for system in systems[1:]]
    drawn = {
        "map50": report_charts.intervals_chart("mAP@.5", rows),
        "change50": report_charts.intervals_chart(f"difference to {systems[0].name}", changes, first_colour=1)
        if changes
        else "",
        "curves": [
            (
                name,
                report_charts.class_precision_recall_chart(
                    name, [(each.name, own[index]) for each, own in zip(systems, curves, strict=True)]
                ),
            )
            for index, name in enumerate(saved[0].label_map.names)
        ],
    }
    columns = [dict(provenance_rows(each.metrics)) for each in saved]
    made = [(key, [column.get(key, "-") for column in columns]) for key in dict.fromkeys(k for c in columns for k in c)]
    page = page_environment(compared.to_json()).get_template("compare.html.j2")
    return page.render(
        systems=systems,
        seed=compared.seed,
        source=evaluated_pictures.source_from_json(saved[0].metrics["source"]).name,
        charts=_safe(drawn),
        verdicts=[comparison.describe_difference(system, systems[0]) for system in systems],
        hardware=sorted({system.hardware for system in systems}),
        facts=made,
    )


def provenance_rows(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The provenance of an evaluation as rows (name, value) of a table."""
    model, made, speed, origin = metrics["model"], metrics["made"], metrics["speed"], metrics["source"]
    steps = "" if model["steps"] is None else f", {model['steps']:,} steps"
    rows = [
        ("run", f"{model['run']}{steps}"),
        (
            "model",
            model["model"] + (", input {}\N{MULTIPLICATION SIGN}{}".format(*model["input"]) if model["input"] else ""),
        ),
        ("faces by", _part(model.get("faces"), _faces_text)),
        ("classes by", _part(model.get("classifier"), _classifier_text)),
        ("run by", f"{model['detector']}, {speed['batch']} image(s) at once, on {speed['hardware']}"),
        (
            "speed",
            f"median {speed['latency_ms']:.1f} ms, 95% under {speed['latency_p95_ms']:.1f} ms; "
            f"{speed['images_per_second']:.2f} images a second with reading and decoding",
        ),
        ("images", evaluated_pictures.source_from_json(origin).name),
        ("digest of the records", origin["digest"]),
        ("digest of the config", model["config_sha256"]),
        ("digest of the truth", metrics["files"][evaluate.TRUTH_FILE]),
        ("commit", made["commit"]),
        ("measured", made["made"]),
        ("Python", made["python"]),
        ("packages", ", ".join(f"{name} {version}" for name, version in made["packages"].items() if version)),
        ("settings", ", ".join(f"{name} {value}" for name, value in made["settings"].items())),
    ]
    return [(key, str(value)) for key, value in rows if value]


def _part(part: dict[str, Any] | None, describe: Callable[[dict[str, Any]], str]) -> str:
    """One stage of a two-stage detector as text: its description and the digests of its files."""
    if part is None:
        return ""
    return ", ".join([describe(part), *(f"{file} {digest[:12]}" for file, digest in part["files"].items())])


def _faces_text(part: dict[str, Any]) -> str:
    sizes = " and ".join(str(size) for size in part["sizes"])
    return f"{part['name']}, at {sizes} pixels" if sizes else str(part["name"])


def _classifier_text(part: dict[str, Any]) -> str:
    runs = " and ".join(part["runs"])
    return f"{runs}, {part['backbone']} at {part['size']} pixels, margin {part['margin']}"


def stated_limits(metrics: dict[str, Any]) -> list[str]:
    """The detector's weaknesses according to the metrics, and what was not measured: sentences for the model card."""
    figures = metrics["figures"]
    found = []
    rated = [size for size in figures["sizes"] if size["ap50"] is not None]
    if len(rated) > 1:
        worst, top = min(rated, key=lambda size: size["ap50"]), max(rated, key=lambda size: size["ap50"])
        found.append(
            f"It finds {worst['size']} faces less well than {top['size']} ones: AP@.5 {worst['ap50']:.2f} against "
            f"{top['ap50']:.2f}."
        )
    for one, chosen in zip(figures["classes"], metrics["operating"], strict=True):
        if one["boxes"] == 0:
            found.append(f"{one['name']}: was not measured, because no image has such a face.")
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
        "It was measured on images like its training images. Other cameras, places, ages, skin tones, beards, veils "
        "and masks can score differently and were not measured separately: measure on your own images first."
    )
    return found


def _caption(mistake: Mistake, classes: Sequence[str]) -> str:
    truth = "" if mistake.truth_id is None else classes[mistake.truth_id - 1]
    seen = "" if mistake.class_id is None else f"{classes[mistake.class_id - 1]} {mistake.score:.2f}"
    if mistake.kind == "missed face":
        return f"{truth}, not found"
    if mistake.kind == "false alarm":
        return f"{seen}, on a face already found" if mistake.iou >= 0.5 else f"{seen}, nothing there"
    if mistake.kind == "wrong class":
        return f"{truth}, detected as {seen}"
    return f"{truth}, found as {seen}, IoU {mistake.iou:.2f}"


def page_environment(values: dict[str, Any]) -> "Environment":
    """The templates of the pages; `values` are what their macro `metric` looks up by path."""
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

    environment.globals.update(lookup=lookup, color=chart_colour)
    environment.filters.update(
        form_as=format_metric,
        span=metric_tables.interval_ends,
        signed_span=lambda interval: metric_tables.interval_ends(interval, metric_tables.with_sign),
    )
    return environment


def format_metric(value: float | None, kind: str) -> str:
    """Format a value for a page by its kind: figure 0.831, count 1,234, ms 78 ms, signed +0.012, one 12.3."""
    if value is None:
        return "-"
    return {
        "figure": metric_tables.three_decimals(value),
        "count": f"{value:,}",
        "ms": f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms",
        "signed": metric_tables.with_sign(value),
        "one": f"{value:.1f}",
    }[kind]


def _safe(value: Any) -> Any:
    """Mark charts as HTML that needs no escaping. All of them were drawn by this package."""
    from markupsafe import Markup

    if isinstance(value, dict):
        return {key: _safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_safe(item) for item in value]
    if isinstance(value, tuple):  # (title, chart)
        return (value[0], Markup(value[1]))
    return Markup(value)


def read_small_text(path: Path, pretty_json: bool = False) -> str:
    """The content of a small text file; empty if it cannot be read."""
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
