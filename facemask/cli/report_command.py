"""Write the page of an evaluation, with curves and the worst mistakes."""

from typing import Annotated

import typer

from facemask.cli import options


def main(
    run: Annotated[str, typer.Option(help="Name of the evaluated run or of the report's folder.")] = "default",
    mistakes: Annotated[int, typer.Option(min=0, help="Mistakes of each kind to show; 0 needs no images.")] = 12,
    note: Annotated[str, typer.Option(help="Origin and licence of the images, for the model card.")] = "",
    models: options.Models = options.MODELS,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write <reports>/<run>/report.html from the results of `make eval`. The page needs no network."""
    from facemask.core.files import replacing_file
    from facemask.core.run_names import run_folder
    from facemask.evaluation import evaluate
    from facemask.evaluation.report import report_pages

    saved = evaluate.read_evaluation(run_folder(reports, run))
    page = report_pages.render_report_with_extras(saved, models, mistakes, note)
    path = saved.folder / "report.html"
    with replacing_file(path) as beside:
        beside.write_text(page, encoding="utf-8")
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
