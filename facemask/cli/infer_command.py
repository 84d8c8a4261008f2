"""Draw boxes on pictures, videos, cameras and streams."""

from typing import Annotated

import typer

from facemask.cli import options


@options.expand_groups
def main(
    img: Annotated[
        str,
        typer.Option(
            help="A picture, a folder of pictures, a glob such as 'photos/*.jpg', a video, a camera's number such as "
            "0, or the URL of a stream: http:// (MJPEG) or rtsp://."
        ),
        options.POSITIONAL,
    ] = "",
    which: options.DetectorOptions = options.DETECTOR,
    threshold: options.Threshold = options.THRESHOLD,
    out: Annotated[
        str,
        typer.Option(
            help="Outputs to write: a list of image, json, csv and voc, or none. Empty: image,json for pictures; "
            "image,csv (an MP4, and a row for each face and frame) for videos, cameras and streams."
        ),
    ] = "",
    blur: Annotated[bool, typer.Option("--blur", help="Blur the faces in the output.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show a video, camera or stream in a window.")] = False,
    seconds: Annotated[
        float, typer.Option(help="Stop a video, camera or stream after this many seconds; 0: at its end.", min=0)
    ] = 0.0,
    detect_every: Annotated[
        str,
        typer.Option(
            help="Detect in every so many frames of a video, camera or stream; between them tracked faces move on at "
            "their speed. auto: in as many frames as keep up with real time."
        ),
    ] = "1",
    slices: Annotated[
        str,
        typer.Option(
            help="Look at pictures and frames from 2 million pixels on in more detail: with YuNet at twice the size, "
            "otherwise also in overlapping slices. This finds smaller faces and takes two to four times as long: "
            "yes, no, or auto (yes, but for cameras, streams and DETECT_EVERY=auto only if there is time)."
        ),
    ] = "auto",
    predictions: options.Predictions = options.PREDICTIONS,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Draw boxes on pictures or video and write them to <predictions>/<run>/, with the boxes in pixels beside them."""
    from facemask.detect import detector_choice
    from facemask.media import detection_pace, picture_inference, sources, video_inference, window, writing
    from facemask.media.footage import Footage

    found = sources.find_source(img)
    every = detection_pace.parse_detect_every(detect_every)
    sliced = detection_pace.parse_slices(slices)
    kinds = writing.parse_kinds(out, moving=isinstance(found, Footage))
    sources.refuse_unused_options(found, kinds, blur=blur, show=show, seconds=seconds, detect_every=every)
    if show:
        window.check_window()
    chosen = detector_choice.choose_detector(which.choice(moving=isinstance(found, Footage)))
    least = chosen.parse_thresholds(threshold, reports)
    at_once = chosen.at_once if isinstance(found, Footage) else 1
    opened, folder = chosen.open(at_once), predictions / chosen.name
    whole = opened.without_slices()
    about = chosen.model | {"slices": sliced is not False}
    detector, other = (whole, opened) if sliced is None else (opened if sliced else whole, None)
    summary: video_inference.FootageSummary | picture_inference.PictureSummary
    if isinstance(found, Footage):
        summary = video_inference.infer_footage(
            detector, about, found, folder, least, kinds, blur, show, seconds, every, other, at_once
        )
    else:
        summary = picture_inference.infer_pictures(other or detector, about, found, folder, least, kinds, blur)
    print(summary.text())
    raise typer.Exit(summary.exit_code)
