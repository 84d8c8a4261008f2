"""`make curves`: what a training run told TensorBoard, drawn into one PNG."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command
from scripts.support.errors import UserError


def main(
    run: Annotated[str, typer.Option(help="Name of the training run.")] = "default",
    models: Annotated[Path, typer.Option(help="Folder of the training runs.")] = Path("workspace/models"),
    reports: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("workspace/reports"),
) -> None:
    """Draw loss, learning rate and validation of a run to <reports>/<run>/curves.png; it may still be training."""
    from scripts.scoring import charts, training_curves
    from scripts.support.files import replacing, write_json
    from scripts.support.provenance import made_by
    from scripts.tfod import runs

    folder = runs.read(runs.folder_of(models, run)).folder
    series = training_curves.of_run(folder)
    if not series:
        raise UserError(f"{folder}: nothing to draw yet. `make train RUN={run}` writes a point every ten steps.")
    path = reports / run / "curves.png"
    with replacing(path) as beside:
        beside.write_bytes(charts.training_png(series, f"run {run}"))
    last = max(int(one.steps[-1]) for one in series.values())
    write_json(path.with_suffix(".json"), made_by("curves", run=run, models=models, last_step=last))
    print(f"{path}: to step {last}")


if __name__ == "__main__":
    command.run(main)
