"""Compare several evaluations, with confidence intervals."""

from typing import Annotated

import typer

from facemask.cli import options


def main(
    runs: Annotated[
        str, typer.Option(help="Names of two or more evaluated runs: a,b,c. The others are compared with the first.")
    ] = "",
    draws: options.Draws = options.DRAWS,
    seed: options.Seed = options.SEED,
    out: Annotated[str, typer.Option(help="Name of the page in the folder of the reports.")] = "compare",
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write <reports>/compare.html and compare.json: the differences, and whether they are significant.

    Cross-validations of the classifier alone are compared in compare-classifiers.json, by macro F1.
    """
    from rich.console import Console

    from facemask.core.files import replacing_file, write_json
    from facemask.core.provenance import made_by
    from facemask.core.run_names import run_folder
    from facemask.evaluation import classifier_comparison, comparison, evaluate
    from facemask.evaluation.report import metric_tables, report_pages

    console = Console(highlight=False)
    folders = [run_folder(reports, name, "RUNS") for name in comparison.parse_run_names(runs)]
    run_folder(reports, out, "OUT")
    if all(map(evaluate.is_classifier_report, folders)):
        classifiers = classifier_comparison.compare_classifiers(folders, draws, seed)
        path = reports / f"{out}-classifiers.json"
        write_json(path, classifiers.to_json() | {"made": made_by("compare", runs=runs)})
        console.print(metric_tables.classifier_table(classifiers))
        for one in classifiers.classifiers[1:]:
            told = comparison.describe_change(one.change, folders[0].name, "macro F1")
            console.print(f"{one.name}: {told}", soft_wrap=True)
        console.print(f"{path}", soft_wrap=True)
        return
    # One after the other, so that the detections of only one are in memory.
    saved = [evaluate.read_evaluation(folder).match() for folder in folders]
    compared = comparison.compare_evaluations(saved, draws, seed)
    write_json(reports / f"{out}.json", compared.to_json() | {"made": made_by("compare", runs=runs)})
    path = reports / f"{out}.html"
    with replacing_file(path) as beside:
        beside.write_text(report_pages.render_comparison(saved, compared), encoding="utf-8")
    console.print(metric_tables.comparison_table(compared))
    for system in compared.systems[1:]:
        console.print(f"{system.name}: {comparison.describe_difference(system, compared.systems[0])}", soft_wrap=True)
    console.print(f"{path}", soft_wrap=True)
