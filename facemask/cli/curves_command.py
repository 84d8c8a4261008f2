"""Draw a run's loss, learning rate and validation into one PNG."""

from facemask.cli import options
from facemask.core.errors import UserError


def main(
    run: options.TrainingRun = options.RUN,
    models: options.Models = options.MODELS,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Draw loss, learning rate and validation of a run to <reports>/<run>/curves.png; it may still be training."""
    from facemask.core import charts
    from facemask.core.files import write_bytes, write_json
    from facemask.core.provenance import made_by
    from facemask.core.run_names import run_folder
    from facemask.evaluation import training_curves
    from facemask.tfod import training_runs

    folder = training_runs.read_run(run_folder(models, run)).folder
    series = training_curves.read_run_scalars(folder)
    if not series:
        raise UserError(f"{folder}: nothing to draw yet. `make train RUN={run}` writes a point every ten steps.")
    path = reports / run / "curves.png"
    write_bytes(path, charts.panels_png(training_curves.training_panels(series), f"run {run}"))
    last = max(int(one.steps[-1]) for one in series.values())
    write_json(path.with_suffix(".json"), made_by("curves", run=run, models=models, last_step=last))
    print(f"{path}: to step {last}")
