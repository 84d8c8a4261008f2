"""Build a page that finds faces in the browser, for any web host."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    run: Annotated[
        str,
        typer.Option(
            help="Name of the exported run, or ready-ssd (the SSD that comes with facemask). Empty: "
            f"{options.RUN}, or ready-ssd where no model was exported."
        ),
    ] = "",
    threshold: options.Threshold = options.THRESHOLD,
    exported: options.Exported = options.EXPORTED,
    reports: options.Reports = options.REPORTS,
    out: Annotated[Path, typer.Option(help="Folder to write the page to.")] = Path("workspace/page"),
) -> None:
    """Write a static page that runs an exported model in the browser. Needs npm."""
    import tempfile

    from facemask.core import exported_model
    from facemask.core.errors import UserError
    from facemask.core.run_names import run_folder
    from facemask.detect.score_thresholds import METRICS, parse_thresholds
    from facemask.ready import shipped_detector
    from facemask.serving import page_build
    from facemask.tfod import model_zoo, ready_start
    from facemask.tfod.raw_network import write_raw_network

    *of_two_networks, ssd = shipped_detector.FORMS
    own = run_folder(exported, run or options.RUN)
    is_own = exported_model.is_exported(own)
    if not is_own and run in of_two_networks:
        raise UserError(f"RUN={run}: is made of two networks, and the page runs one. Take RUN={ssd}.")
    if not is_own and not run:
        if others := exported_model.exported_runs(exported):
            raise UserError(f"{own}: no exported model. RUN= takes {', '.join((*others, ssd))}.")
        print(f"{exported}: no exported model, so this is RUN={ssd}, the SSD that comes with facemask", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        if is_own or run not in ("", ssd):
            model = exported_model.read_exported_model(own)
        else:
            template = model_zoo.read_models()[ready_start.read_ready_start().model].template
            model = ready_start.write_ready_export(ssd, template, Path(scratch))
        least = parse_thresholds(
            threshold, model.label_map, metrics=reports / model.run / METRICS, own=model.thresholds
        )
        size = page_build.build_page(model, least, write_raw_network, out)
    print(f"{out}: {size / 1e6:.1f} MB compressed; try it with: python3 -m http.server -d {out} --bind 127.0.0.1")
