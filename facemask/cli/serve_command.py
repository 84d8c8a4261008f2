"""Serve a page and an HTTP API that find faces, on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


@options.expand_groups
def main(
    which: options.DetectorOptions = options.DETECTOR,
    threshold: options.Threshold = options.THRESHOLD,
    host: options.Host = options.HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")] = 7860,
    max_mb: Annotated[int, typer.Option(min=1, max=256, help="Largest picture file in megabytes.")] = 20,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds for the upload of a picture, and again for its answer.")
    ] = 30.0,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that clients must send and the page asks for. Default: no token.",
            show_default=False,
        ),
    ] = None,
    label_studio: Annotated[
        str, typer.Option(help="Address of a Label Studio whose uploads are read when it asks for boxes.")
    ] = "",
    label_studio_token_file: Annotated[
        Path | None, typer.Option(help="File with a token of a Label Studio user.", show_default=False)
    ] = None,
    label_studio_files: Annotated[
        Path | None,
        typer.Option(help="Folder of Label Studio's local files, its LOCAL_FILES_DOCUMENT_ROOT.", show_default=False),
    ] = None,
    statistics: Annotated[
        Path, typer.Option(help="Database of make watch, whose statistics are shown at /statistics.")
    ] = Path("workspace/watch/watch.sqlite3"),
    reports: options.Reports = options.REPORTS,
) -> None:
    """Serve the page and the API on localhost until Ctrl-C."""
    from facemask.detect import detector_choice
    from facemask.serving import label_studio_pictures, served_runtimes, server
    from facemask.serving.detection_service import Limits
    from facemask.serving.token_file import read_token

    settings = server.ServerSettings(
        token=read_token(token_file) if token_file else None,
        label_studio=label_studio_pictures.open_pictures(label_studio, label_studio_token_file, label_studio_files),
        statistics=statistics,
    )
    choice = which.choice()
    chosen = detector_choice.choose_detector(choice)
    least = chosen.parse_thresholds(threshold, reports)
    openers = served_runtimes.openers_of(chosen, choice)
    server.serve(openers, chosen.model, server.Address(host, port), Limits(max_mb, timeout), least, settings)
