"""Measure where the time of `make infer` on a video goes, and whether it keeps real time.

    python -m benchmarks.video --run default [--img clip.mp4] [--seconds 10]

Without --img the video is made of drawn pictures: 1920 x 1080 at 25 frames a second, with faces that move. The first
table has each part of the work, one after the other: the mean time of a frame, and the mean processor time of all
threads. The processor time of a part that uses several cores is longer than its time. The detector is opened as for a
video: with OpenVINO, which detects in two frames at the same time, a frame has half of the cores. The second table has
whole runs, in which the parts overlap, with DETECT_EVERY=1 and auto. A run that takes no longer than its video keeps
real time.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from facemask.cli import options
from facemask.core import command_line, hardware

WIDTH, HEIGHT, RATE = 1920, 1080, 25
PARTS = ("decode", "detect", "track", "predict", "draw", "encode")

T = TypeVar("T")


@options.expand_groups
def main(
    img: Annotated[Path | None, typer.Option(help="A video; without it, one is made of drawn pictures.")] = None,
    which: options.DetectorOptions = options.DETECTOR,
    seconds: Annotated[float, typer.Option(min=1, help="Measure so many seconds of the video.")] = 10.0,
) -> None:
    """Measure, and print two tables."""
    from facemask.detect import detector_choice
    from facemask.media import recordings, video_inference

    console = Console(highlight=False)
    chosen = detector_choice.choose_detector(which.choice(moving=True))
    detector = chosen.open(chosen.at_once).without_slices()  # the parts are to be comparable, on a fast machine too
    thresholds = [0.5] * len(chosen.label_map)
    with tempfile.TemporaryDirectory() as scratch:
        clip = img or write_clip(Path(scratch) / "drawn.mp4", round(seconds * RATE))
        with console.status("one part after the other"):
            parts = measure_parts(detector, clip, Path(scratch) / "encoded.mp4", thresholds, seconds)
        table = Table("part", "ms a frame", "processor ms a frame", title=f"{detector.name}, one part after the other")
        for name in PARTS:
            wall, processor = parts[name]
            table.add_row(name, f"{wall:.1f}", f"{processor:.1f}")
        rows = []
        for every, name in ((1, "1"), (None, "auto")):
            folder = Path(scratch) / name
            begun = time.perf_counter()
            summary = video_inference.infer_footage(
                detector,
                chosen.model,
                recordings.open_file(clip),
                folder,
                thresholds,
                seconds=seconds,
                detect_every=every,
                at_once=chosen.at_once,
            )
            rows.append((name, time.perf_counter() - begun, summary))
    whole = Table("DETECT_EVERY", "seconds", "of video", "frames/s", "detected in", title="whole runs, MP4 and CSV")
    for name, took, summary in rows:
        covered = summary.seconds + 1 / RATE
        frames = f"{summary.detected} of {summary.frames}"
        whole.add_row(name, f"{took:.1f}", f"{covered:.1f}", f"{summary.frames / took:.1f}", frames)
    for shown in (table, whole):
        for column in shown.columns[1:]:
            column.justify = "right"
        console.print(shown)
    console.print(
        f"{hardware.cpu_name()}, {hardware.usable_cores()} cores; load {os.getloadavg()[1]:.1f} over the last 5 "
        "minutes. Other work on the machine makes the times unreliable."
    )


def measure_parts(
    detector: Any, clip: Path, target: Path, thresholds: Sequence[float], seconds: float
) -> dict[str, tuple[float, float]]:
    """The mean time and processor time of each of `PARTS`, in milliseconds a frame."""
    from facemask.core.colours import picture_colour
    from facemask.media import mp4, recordings, tracking, video_inference

    spent = {name: np.zeros(2) for name in PARTS}

    def timed(name: str, work: Callable[[], T]) -> T:
        before = np.array([time.perf_counter(), time.process_time()])
        result = work()
        spent[name] += np.array([time.perf_counter(), time.process_time()]) - before
        return result

    track = tracking.Tracking(detector.label_map, list(thresholds))
    colours = {name: picture_colour(number) for number, name in enumerate(detector.label_map.names, start=1)}
    frames = 0
    coming = recordings.open_file(clip).frames(lambda: False, print)
    with mp4.mp4_writer(target, live=False) as add:
        while (frame := timed("decode", lambda: next(coming, None))) is not None and frame.time < seconds:
            if not frames:
                detector.detect([frame.image])  # the first call may build the graph
            at, image = frame.time, frame.image
            [found] = timed("detect", lambda image=image: detector.detect([image]))  # type: ignore[misc]
            tracked = timed("track", lambda found=found, at=at: track.update(found, at))  # type: ignore[misc]
            timed("predict", lambda at=at: track.predict(at + 1 / RATE))  # type: ignore[misc]
            drawn = timed(
                "draw",
                lambda image=image, tracked=tracked: video_inference.draw_tracked(image, tracked, colours, False),  # type: ignore[misc]
            )
            timed("encode", lambda drawn=drawn, at=at: add(drawn, at))  # type: ignore[misc]
            frames += 1
    return {name: (1000 * both[0] / frames, 1000 * both[1] / frames) for name, both in spent.items()}


def write_clip(path: Path, frames: int) -> Path:
    """Write a video of drawn people, who move to the left."""
    from facemask.media import mp4

    with mp4.mp4_writer(path, live=False) as add:
        for number, image in enumerate(drawn_frames(frames)):
            add(image, number / RATE)
    return path


def drawn_frames(count: int) -> Iterator[np.ndarray]:
    """Frames of HEIGHT x WIDTH, cut from a wide strip of drawn pictures, three pixels further in each."""
    from PIL import Image

    from facemask.data import drawn_sample

    size = WIDTH // 2, HEIGHT // 2
    columns = -(-(WIDTH + 3 * count) // size[0])
    rows = []
    for row in range(2):
        pictures = (drawn_sample.draw_picture(0, index).image for index in range(row * columns, (row + 1) * columns))
        rows.append(np.hstack([np.asarray(Image.fromarray(picture).resize(size)) for picture in pictures]))
    strip = np.vstack(rows)
    for number in range(count):
        yield np.ascontiguousarray(strip[:, 3 * number : 3 * number + WIDTH])


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
