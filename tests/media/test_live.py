import http.server
import itertools
import threading
from collections.abc import Iterator

import cv2
import made_video
import numpy as np
import pytest
import rtsp_server

from facemask.core.errors import UserError
from facemask.media import live
from facemask.media.prefetch import never, read_ahead


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made."""
    pauses: list[float] = []
    monkeypatch.setattr(live, "interruptible_sleep", lambda seconds, stopped: pauses.append(seconds))
    return pauses


def images(count: int) -> Iterator[np.ndarray]:
    for i in range(count):
        yield made_video.frame(i)


def test_a_source_that_goes_away_is_asked_again_after_growing_pauses(no_waiting: list[float]) -> None:
    attempts = itertools.count()
    words: list[str] = []

    def connect() -> Iterator[np.ndarray]:
        attempt = next(attempts)
        if attempt in (0, 9):
            yield from images(3)
            raise live.GoneError("unplugged")
        if attempt == 10:
            yield from images(2)
        raise live.GoneError("refused")

    frames = list(itertools.islice(live.frames_with_retries("the camera", connect, never, words.append), 8))
    assert [frame.number for frame in frames] == list(range(8))
    times = [frame.time for frame in frames]
    assert times[0] == 0 and times == sorted(times)
    assert no_waiting == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert words[0] == "the camera is gone (unplugged); trying again in 1 s"
    assert words[1] == "the camera is gone (refused); trying again in 2 s"
    assert words.count("the camera is back") == 2


def test_after_healthy_seconds_the_pauses_start_again(no_waiting: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEALTHY", 0.0)
    frames = live.frames_with_retries("the camera", lambda: images(3), never, lambda words: None)
    list(itertools.islice(frames, 12))
    assert no_waiting == [1, 1, 1]


def test_a_source_that_was_never_there_is_an_error() -> None:
    def connect() -> Iterator[np.ndarray]:
        raise live.GoneError("refused")
        yield

    with pytest.raises(UserError, match=r"the camera: .*refused"):
        list(live.frames_with_retries("the camera", connect, never, print))


class FakeCamera:
    """A camera with three pictures."""

    released = 0

    def __init__(self, number: int) -> None:
        self.left = 3 if number == 4 else 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.left > 0

    def set(self, name: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.full((4, 6, 3), (255, 0, 0), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        FakeCamera.released += 1


def test_a_camera(monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    footage = live.open_camera("4")
    assert footage.title == "camera 4" and footage.live and footage.stem.startswith("camera-4_")
    words: list[str] = []
    frames = list(itertools.islice(footage.frames(never, words.append), 4))
    assert (frames[0].image == (0, 0, 255)).all(), "OpenCV gives BGR"
    assert FakeCamera.released == 2 and words[0].startswith("camera 4 is gone (it gives no more pictures)")
    with pytest.raises(UserError, match="camera 7: "):
        next(live.open_camera("7").frames(never, print))


class Mjpeg(http.server.BaseHTTPRequestHandler):
    """A camera that ends each connection after `per_connection` pictures, the third with an error."""

    connections = 0
    per_connection = 5
    silent: threading.Event | None = None

    def do_GET(self) -> None:
        cls = type(self)
        cls.connections += 1
        if cls.connections == 3:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for i in range(self.per_connection):
            data = made_video.jpeg(made_video.frame(10 * cls.connections + i))
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
        if self.silent is not None:
            self.silent.wait(60)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Mjpeg.connections = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mjpeg) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://user:secret@127.0.0.1:{running.server_port}/video?token=secret"
        running.shutdown()


def test_an_mjpeg_stream_that_breaks_off_and_comes_back(server: str, no_waiting: list[float]) -> None:
    words: list[str] = []
    frames = list(itertools.islice(live.open_stream(server).frames(never, words.append), 11))
    # FFmpeg looks at the first picture of a connection to see what comes, and without a buffer it is gone then.
    for frame, number in zip(frames, [*range(11, 15), *range(21, 25), *range(41, 44)], strict=True):
        [found] = made_video.SquareFinder().detect([frame.image])
        assert found.xyxy[0] == pytest.approx(made_video.square(number), abs=1)
    assert Mjpeg.connections == 4
    assert no_waiting == [1, 2, 4]
    assert not any("secret" in line for line in words) and len(words) == 5


def test_an_rtsp_stream(no_waiting: list[float]) -> None:
    jpegs = [made_video.jpeg(made_video.frame(i)) for i in range(50)]
    words: list[str] = []
    with rtsp_server.running(jpegs, made_video.WIDTH, made_video.HEIGHT) as url:
        frames = list(itertools.islice(live.open_stream(url).frames(never, words.append), 45))
    seen = []
    for frame in frames:
        [found] = made_video.SquareFinder().detect([frame.image])
        seen.append(next(i for i in range(50) if np.abs(found.xyxy[0] - made_video.square(i)).max() <= 1))
    # FFmpeg looks at some pictures of a connection to see what comes.
    again = next(i for i in range(1, 45) if seen[i] <= seen[i - 1])
    assert again >= 10
    for part in (seen[:again], seen[again:]):
        assert part == list(range(part[0], part[0] + len(part)))
    assert no_waiting == [1] and not any("secret" in line for line in words)


def test_a_stream_that_is_not_there_or_no_stream(server: str) -> None:
    Mjpeg.connections = 2
    for url in (server, "http://user:secret@127.0.0.1:1/video"):
        with pytest.raises(UserError, match=r"^http://127\.0\.0\.1:\d+/video: ") as error:
            next(live.open_stream(url).frames(never, print))
        assert "secret" not in str(error.value)


def test_a_stream_that_falls_silent_is_gone(
    server: str, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]
) -> None:
    """As when the cable is pulled: nobody closes the connection."""
    monkeypatch.setattr(live, "_TIMEOUT", 1.0)
    over = threading.Event()
    monkeypatch.setattr(Mjpeg, "silent", over)
    words: list[str] = []
    frames = list(itertools.islice(live.open_stream(server).frames(never, words.append), 6))
    over.set()
    assert len(frames) == 6 and Mjpeg.connections >= 2
    assert no_waiting[0] == 1 and words[0].startswith("http://127.0.0.1") and "is gone" in words[0]


def test_who_is_slow_sees_the_newest_picture(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mjpeg, "per_connection", 40)
    stop = threading.Event()
    source = live.open_stream(server).frames(stop.is_set, lambda words: stop.set())
    seen = []
    for frame in read_ahead(source, 1, newest=True):
        seen.append(frame.number)
        stop.wait(0.3)
    assert seen == sorted(seen) and seen[-1] == 38  # on a busy machine the first picture may be missed too
    assert len(seen) < 20
