"""Build a page that finds faces in the browser, for any web host."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    run: Annotated[
        str,
        typer.Option(
            help=f"Name of the exported run, or {options.FAST} (which comes with facemask). Empty: "
            f"{options.RUN}, or {options.FAST} where no model was exported."
        ),
    ] = "",
    detector: Annotated[
        str, typer.Option(help="Empty or ssd (the exported run), or two_stage (YuNet and your own classifier).")
    ] = "",
    classifier: Annotated[str, typer.Option(help="Name of the classifier for two_stage.")] = "classifier",
    faces_model: Annotated[
        Path | None,
        typer.Option(
            help="YuNet's network that `make faces` trained (.onnx), or ready (the shipped one), for two_stage."
        ),
    ] = None,
    faces_size: Annotated[
        int, typer.Option(help="Longer side in pixels to which pictures are scaled for YuNet; 0: 960.", min=0, max=2048)
    ] = 0,
    threshold: options.Threshold = options.THRESHOLD,
    exported: options.Exported = options.EXPORTED,
    reports: options.Reports = options.REPORTS,
    out: Annotated[Path, typer.Option(help="Folder to write the page to.")] = Path("workspace/page"),
) -> None:
    """Write a static page that runs a detector in the browser. Needs npm."""
    from functools import partial

    from facemask.classifier.exported_classifier import read_exported_classifier
    from facemask.core.errors import UserError
    from facemask.core.exported_model import read_exported_model
    from facemask.detect.detector_choice import DetectorChoice, choose_detector, refuse_several
    from facemask.export import browser_networks
    from facemask.ready import shipped_detector
    from facemask.serving import page_build

    if detector not in ("", "ssd", "two_stage"):
        raise UserError(f"DETECTOR={detector}: the page runs ssd or two_stage.")
    choice = DetectorChoice(
        exported,
        run=run or options.RUN,
        run_was_named=bool(run),
        unnamed=options.FAST,
        detector=detector,
        faces_model=faces_model,
        faces_sizes=(faces_size,) if faces_size else (),
        classifier=classifier,
    )
    chosen = choose_detector(choice)
    refuse_several(chosen, "the page")
    about = {name: value for name, value in chosen.model.items() if name != "exported"}  # a path of this machine
    parts = Path(chosen.model["exported"])
    if "faces" in about:
        faces, [yunet] = about["faces"], chosen.faces_files
        write = partial(
            browser_networks.write_two_stage_networks,
            read_exported_classifier(parts),
            yunet,
            faces["sizes"][0],
            faces["alignment"],
        )
    elif parts == shipped_detector.FOLDER / shipped_detector.DETECTOR:
        raise UserError(f"RUN={run}: has no checkpoint, from which a page is made. Take RUN={options.FAST}.")
    else:
        from facemask.tfod import raw_network

        write = partial(raw_network.write_raw_network, read_exported_model(parts))
    size = page_build.build_page(about, chosen.label_map, chosen.parse_thresholds(threshold, reports), write, out)
    print(f"{out}: {size / 1e6:.1f} MB compressed; try it with: python3 -m http.server -d {out} --bind 127.0.0.1")
