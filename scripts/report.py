"""`make report`: one HTML page of an evaluation, to open from disk, send, or keep."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    run: Annotated[str, typer.Option(help="Name of the evaluated run, or of the report's folder.")] = "default",
    mistakes: Annotated[int, typer.Option(min=0, help="Mistakes of each kind to show; 0 needs no images.")] = 12,
    note: Annotated[str, typer.Option(help="Where the images come from and their licence, for the model card.")] = "",
    models: Annotated[Path, typer.Option(help="Folder of the training runs, for their curves.")] = Path(
        "workspace/models"
    ),
    reports: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("workspace/reports"),
) -> None:
    """Write <reports>/<run>/report.html from what `make eval` measured; it needs no network to be read."""
    from scripts.scoring import evaluation, pages
    from scripts.support.files import replacing
    from scripts.tfod import runs

    saved = evaluation.read(runs.folder_of(reports, run))
    page = pages.report_with_extras(saved, models, mistakes, note)
    path = saved.folder / "report.html"
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    command.run(main)
