"""`make infer`: find faces in pictures, videos, cameras and streams, and say how they wear their masks."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.detect import options
from scripts.support import command


def main(
    img: Annotated[
        str,
        typer.Option(
            help="A picture, a folder of pictures, a glob such as 'photos/*.jpg', a video, a camera's number such as "
            "0, or the URL of a stream: http:// (MJPEG) or rtsp://."
        ),
    ] = "",
    run: Annotated[str, typer.Option(help="Name of the exported run.")] = "default",
    threshold: Annotated[
        str,
        typer.Option(
            help="Score from which a box is kept: a number; or best, for each class the one of the highest F1 in the "
            "evaluation of this detector; or the metrics.json of an evaluation."
        ),
    ] = "0.5",
    out: Annotated[
        str,
        typer.Option(
            help="What is written, of image,json,csv,voc, or none. Empty: image,json for pictures; image,csv (an MP4, "
            "and a row for each face and frame) for the rest."
        ),
    ] = "",
    blur: Annotated[bool, typer.Option("--blur", help="Blur the faces in what is drawn.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show a video, camera or stream in a window.")] = False,
    seconds: Annotated[
        float, typer.Option(help="End a video, camera or stream after so many seconds of it; 0: at its end.", min=0)
    ] = 0.0,
    detector: options.Detector = "ssd",
    faces: options.Faces = "yunet",
    faces_model: options.FacesModel = None,
    faces_size: options.FacesSize = 0,
    classifier: options.Classifier = "classifier",
    runtime: options.Runtime = "auto",
    precision: options.Precision = "auto",
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
    predictions: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("workspace/predictions"),
    reports: Annotated[Path, typer.Option(help="Folder of the evaluations.")] = Path("workspace/reports"),
) -> None:
    """Draw boxes on pictures or video and write them to <predictions>/<run>/, with the boxes in pixels beside them."""
    from scripts.detect import choosing
    from scripts.media import inference, sources, video, window, writing
    from scripts.media.footage import Footage
    from scripts.scoring import evaluation, thresholds

    found = sources.find(img)
    kinds = writing.parse_kinds(out, moving=isinstance(found, Footage))
    if show:
        window.check(found)
    chosen = choosing.choose(
        choosing.Choice(exported, run, detector, faces, faces_model, faces_size, classifier, runtime, precision)
    )
    text = str(reports / chosen.name / evaluation.METRICS) if threshold == "best" else threshold
    least = thresholds.parse(text, chosen.label_map)
    assert least is not None  # only for "best"
    opened, folder = chosen.open(), predictions / chosen.name
    summary: video.Summary | inference.Summary
    if isinstance(found, Footage):
        summary = video.on_footage(opened, chosen.model, found, folder, least, kinds, blur, show, seconds)
    else:
        summary = inference.on_pictures(opened, chosen.model, found, folder, least, kinds, blur)
    print(summary.text())
    raise typer.Exit(summary.exit_code)


if __name__ == "__main__":
    command.run(main)
