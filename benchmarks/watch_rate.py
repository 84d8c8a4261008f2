"""Measure how many frames per second `make watch` looks at, with one camera and with four, at 1920x1080.

    python -m benchmarks.watch_rate --run ready-fast [--cameras 1,4] [--seconds 20]

Each camera is an HTTP stream (MPEG-TS with H.264, 25 frames a second, made of drawn pictures), which a thread of this
process sends at that rate. The watch is that of `make watch`: it decodes every frame, and looks at the newest.

The output is one table, after about a minute. "processor ms a frame" is the processor time of the whole process, the
sending and the decoding of dropped frames included, for each frame that was looked at. The rates hold for a machine
that does nothing else: "cores busy" is what this process got, and the load is that of all processes. The frames are
detected as a whole, without slices.
"""

import http.server
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import video
from facemask.cli import options
from facemask.core import command_line, hardware
from facemask.core.label_map import LabelMap
from facemask.media import mp4

if TYPE_CHECKING:
    import supervision as sv

    from facemask.detect.detector import Detector

WARM_UP = 3.0
"""Seconds after the first detection that are not measured."""

CLIP_SECONDS = 4


@dataclass
class CountingDetector:
    """A `Detector` that notes when each call ends, and the processor time of the process until then."""

    detector: "Detector"
    calls: list[tuple[float, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        return self.detector.name

    @property
    def label_map(self) -> LabelMap:
        """See `Detector.label_map`."""
        return self.detector.label_map

    def detect(self, images: Sequence[np.ndarray]) -> "list[sv.Detections]":
        """See `Detector.detect`."""
        found = self.detector.detect(images)
        self.calls.append((time.monotonic(), time.process_time()))
        return found

    def passed(self) -> float:
        """The seconds since the first call."""
        return time.monotonic() - self.calls[0][0] if self.calls else 0.0


@options.expand_groups
def main(
    which: options.DetectorOptions = options.DETECTOR,
    cameras: Annotated[str, typer.Option(help="Numbers of cameras.")] = "1,4",
    seconds: Annotated[float, typer.Option(min=1, help="Measure so many seconds.")] = 20.0,
) -> None:
    """Measure, and print one table with a row for each number of cameras."""
    from facemask.detect import detector_choice

    chosen = detector_choice.choose_detector(which.choice(moving=True))
    detector = chosen.open(chosen.at_once).without_slices()
    table = Table("cameras", "frames/s of each", "frames/s together", "processor ms a frame", "cores busy")
    for column in table.columns:
        column.justify = "right"
    with tempfile.TemporaryDirectory() as scratch:
        clip = write_stream(Path(scratch) / "drawn.ts").read_bytes()
        for count in map(int, cameras.split(",")):
            with streaming_clip(clip) as url:
                wall, processor, frames = measure_watch(
                    detector, [url] * count, Path(scratch) / str(count), seconds, chosen.at_once
                )
            rate = frames / wall
            table.add_row(
                str(count),
                f"{rate / count:.1f}",
                f"{rate:.1f}",
                f"{1000 * processor / frames:.0f}",
                f"{processor / wall:.1f}",
            )
    console = Console(highlight=False)
    console.print(table)
    machine = f"{hardware.cpu_name()}, {hardware.usable_cores()} cores, load {os.getloadavg()[0]:.1f}"
    console.print(f"{chosen.name}, {detector.name}; {seconds:g} s of 1920x1080 each; {machine}")


def measure_watch(
    detector: "Detector", urls: Sequence[str], folder: Path, seconds: float, at_once: int
) -> tuple[float, float, int]:
    """Watch streams for some seconds after the warm-up.

    Returns:
        The seconds that passed, the processor seconds of the process, and the number of frames that were looked at.
    """
    from facemask.watch import watch_loop
    from facemask.watch.watch_config import Camera, Rule, Text, WatchConfig

    counting = CountingDetector(detector)
    sources = tuple(Camera(f"camera{number}", Text(url), slices=False) for number, url in enumerate(urls, start=1))
    rule = Rule("no-mask", classes=("without_mask",), seconds=3.0)
    config = WatchConfig(cameras=sources, rules=(rule,), database=folder / "watch.sqlite3")
    watch_loop.run_watch(
        config,
        counting,
        [0.5] * len(detector.label_map),
        watch_loop.open_sources(config),
        receivers={},
        halted=lambda: counting.passed() > WARM_UP + seconds,
        at_once=at_once,
    )
    calls = np.array([call for call in counting.calls if call[0] - counting.calls[0][0] >= WARM_UP])
    wall, processor = calls[-1] - calls[0]
    return float(wall), float(processor), len(calls) - 1


def write_stream(path: Path) -> Path:
    """Write a video of drawn people as a camera would send it."""
    import av

    codec = next(name for name in mp4.CODECS if name in av.codecs_available)
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream(codec, rate=video.RATE, options={"g": "50", "bf": "0", **mp4.CODECS[codec]})
        stream.width, stream.height, stream.pix_fmt = video.WIDTH, video.HEIGHT, "yuv420p"
        for image in video.drawn_frames(CLIP_SECONDS * video.RATE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return path


@contextmanager
def streaming_clip(clip: bytes) -> Iterator[str]:
    """Serve a video of `CLIP_SECONDS` at the rate of its frames, again and again. Yields the URL."""
    ended = threading.Event()
    part = -(-len(clip) // (CLIP_SECONDS * video.RATE))

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            due, place = time.monotonic(), 0
            while not ended.wait(max(0.0, due - time.monotonic())):
                try:
                    self.wfile.write(clip[place : place + part])
                except OSError:
                    return
                due, place = due + 1 / video.RATE, (place + part) % (CLIP_SECONDS * video.RATE * part)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/clip.ts"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
