"""Train and measure a system fold by fold, and pool the held-out images."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import app, make_variables, options, step_process
from facemask.core.errors import UserError


def main(
    system: Annotated[
        str,
        typer.Option(help="ssd, classifier, or a DETECTOR= that uses one or both: two_stage, rescored, fused."),
    ] = "ssd",
    name: Annotated[
        str, typer.Option(help="Name of the cross-validation and of its report. Default: crossval-<system>.")
    ] = "",
    train_options: Annotated[
        str,
        typer.Option(
            help='Variables of make train: "STEPS=1500 BATCH=8". Here and below {fold} in a value is the number of the '
            "fold."
        ),
    ] = "",
    export_options: Annotated[str, typer.Option(help="Variables of make export.")] = "",
    classifier_options: Annotated[str, typer.Option(help="Variables of make classifier.")] = "",
    classifiers: Annotated[
        int,
        typer.Option(
            help="Number of classifiers to train, with seeds that follow each other, and to average.", min=1, max=9
        ),
    ] = 1,
    faces_options: Annotated[
        str,
        typer.Option(
            help="Variables of make faces: two_stage and fused then train a face detector in each fold too, such as "
            '"MIRROR=0". Empty: the published one.'
        ),
    ] = "",
    eval_options: Annotated[str, typer.Option(help='Variables of make eval: "FACES=yunet RUNTIME=openvino".')] = "",
    reuse: Annotated[
        str,
        typer.Option(
            help="Names of cross-validations, by comma, whose trained models and options are taken: "
            "REUSE=crossval-ssd,crossval-classifier with SYSTEM=fused."
        ),
    ] = "",
    fold: Annotated[
        int | None, typer.Option(help="Number of the only fold to run and report, to screen a recipe. Default: all.")
    ] = None,
    threshold: Annotated[
        str,
        typer.Option(
            help="Lowest score that counts as detected in precision, recall, F1 and the confusion matrix: best (for "
            "each class the threshold with the highest F1 on the held-out images); a number; or a metrics.json."
        ),
    ] = "best",
    draws: options.Draws = options.DRAWS,
    seed: Annotated[
        int,
        typer.Option(
            help='Seed of the intervals. That of a training is one of its options: TRAIN_OPTIONS="SEED=1".', min=0
        ),
    ] = options.SEED,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the runs of the folds and start over.")] = False,
    annotations: options.Annotations = options.ANNOTATIONS,
    crossval: Annotated[Path, typer.Option(help="Folder of the cross-validations and their folds' runs.")] = Path(
        "workspace/crossval"
    ),
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write <reports>/<name>/ like `make eval`, from the held-out images of all folds. The same call continues."""
    from facemask.core.label_map import LabelMap
    from facemask.core.provenance import made_by
    from facemask.core.run_names import run_folder
    from facemask.data import fold_records
    from facemask.detect.score_thresholds import parse_thresholds
    from facemask.evaluation import cross_validation

    texts = {"train": train_options, "export": export_options, "classifier": classifier_options}
    texts |= {"faces": faces_options, "eval": eval_options}
    given = {step: _parse_options(step, text) for step, text in texts.items() if text}
    cross_validation.parse_plan(system, given, classifiers)
    name = name or f"crossval-{system}"
    folder, report = (run_folder(parent, name, "NAME") for parent in (crossval, reports))
    folds = fold_records.read_folds(annotations)
    others = [run_folder(crossval, other.strip(), "REUSE") for other in reuse.split(",") if other.strip()]
    for other in others:
        for step, theirs in cross_validation.options_of_reused(other, folds).items():
            if step == "export" and given.get(step):
                continue  # their trained models are exported again
            if given.get(step):
                raise UserError(f"{step.upper()}_OPTIONS: REUSE={other.name} brings them. Leave one of the two out.")
            if step in cross_validation.Plan(system, {**given, step: theirs}).steps:
                given[step] = theirs
    plan = cross_validation.parse_plan(system, given, classifiers)
    min_scores = None if threshold == "best" else parse_thresholds(threshold, LabelMap(folds.classes))
    settings = {"system": system, "name": name, "reuse": reuse, "fold": fold, "threshold": threshold}
    settings |= {"draws": draws, "seed": seed, "classifiers": classifiers}
    made = made_by("crossval", **settings, **{f"{step}_options": text for step, text in texts.items() if text})
    answer = cross_validation.answer_held_out_faces
    run_step = step_process.run_step_process
    cross_validation.cross_validate(folder, folds, plan, run_step, answer, made, fresh=fresh, reuse=others, fold=fold)
    if system == cross_validation.CLASSIFIER_SYSTEM:
        cross_validation.report_classifier(folder, folds, report, draws, seed, made, fold)
    else:
        cross_validation.report_detector(folder, folds, report, min_scores, draws, seed, made, fold)


def _parse_options(step: str, text: str) -> Mapping[str, str]:
    """The options in a text like `STEPS=1500 MODEL=ssd`, by name in lower case.

    Raises:
        UserError: A part is not NAME=value, a name comes twice, or the step has no such variable or refuses its value.
    """
    where = f"{step.upper()}_OPTIONS={text}"
    try:
        pairs = [part.partition("=") for part in shlex.split(text)]
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from None
    given = {name: value for name, _, value in pairs}
    if len(given) < len(pairs) or not all(equals for _, equals, _ in pairs):
        raise UserError(f"{where}: write each variable once, as NAME=value.")
    command = app.command_of(step)
    try:
        command.make_context(step, make_variables.to_arguments(command, step, given))
    except typer.BadParameter as error:
        raise UserError(f"{step.upper()}_OPTIONS: {make_variables.refusal(command, step, given, error)}") from None
    return {name.lower(): value for name, value in given.items() if value}  # an empty one means the default
