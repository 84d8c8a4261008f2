"""`make serve`: a page and an HTTP API that find faces in pictures, on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.detect import options
from scripts.support import command


def main(
    run: Annotated[str, typer.Option(help="Name of the exported run.")] = "default",
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Score from which a box counts, unless a request says another.")
    ] = 0.5,
    detector: options.Detector = "ssd",
    faces: options.Faces = "yunet",
    faces_model: options.FacesModel = None,
    faces_size: options.FacesSize = 0,
    classifier: options.Classifier = "classifier",
    runtime: options.Runtime = "auto",
    precision: options.Precision = "auto",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets everyone in who reaches this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = 7860,
    max_mb: Annotated[int, typer.Option(min=1, max=256, help="Most megabytes of a picture's file.")] = 20,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds in which a picture must have arrived, and then be answered.")
    ] = 30.0,
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
) -> None:
    """Serve the page and the API on localhost until Ctrl-C."""
    from scripts.detect import choosing
    from scripts.serving import runtimes, server
    from scripts.serving.service import Limits

    choice = choosing.Choice(exported, run, detector, faces, faces_model, faces_size, classifier, runtime, precision)
    chosen = choosing.choose(choice)
    openers = runtimes.openers_of(chosen, choice)
    server.serve(openers, chosen.model, server.Address(host, port), Limits(max_mb, timeout), threshold)


if __name__ == "__main__":
    command.run(main)
