import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import made_video
import numpy as np
import pytest

from facemask.media import mp4


@pytest.mark.parametrize("live", [False, True])
def test_frames_come_back_at_their_times_in_their_colours(tmp_path: Path, live: bool) -> None:
    path = tmp_path / "a.mp4"
    times = [0.0, 0.04, 0.3, 0.31, 2.0]  # as a camera gives them
    with mp4.mp4_writer(path, live) as add:
        for i, time in enumerate(times):
            add(made_video.frame(i * 5), time)
    back = made_video.read(path)
    assert [time for time, _ in back] == pytest.approx(times, abs=1e-3)
    for i, (_, image) in enumerate(back):
        assert np.abs(image.astype(int) - made_video.frame(i * 5)).mean() < 8
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, codec.colorspace, codec.color_range) == ("h264", "yuv420p", 6, 1)
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")


def test_a_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with mp4.mp4_writer(Path("12:30:00.mp4"), live=False) as add:
        add(np.zeros((40, 60, 3), np.uint8), 0.0)
    assert (tmp_path / "12:30:00.mp4").stat().st_size > 0


def test_odd_sizes_and_frames_of_another_size(tmp_path: Path) -> None:
    with mp4.mp4_writer(tmp_path / "a.mp4", live=False) as add:
        for i, (width, height) in enumerate([(161, 99), (161, 99), (320, 240), (50, 200)]):
            add(np.full((height, width, 3), 200, np.uint8), i / 10)
    back = made_video.read(tmp_path / "a.mp4")
    assert [image.shape for _, image in back] == [(100, 162, 3)] * 4
    assert abs(int(back[3][1][50, 81, 0]) - 200) < 8 and back[3][1][50, 5].max() < 20


def test_times_that_do_not_grow_lose_no_frame(tmp_path: Path) -> None:
    with mp4.mp4_writer(tmp_path / "a.mp4", live=False) as add:
        for time in (0.0, 0.5, 0.5, 0.4, 0.6):
            add(made_video.frame(0), time)
    assert len(made_video.read(tmp_path / "a.mp4")) == 5


def test_an_error_leaves_a_whole_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError), mp4.mp4_writer(tmp_path / "a.mp4", live=False) as add:
        for i in range(7):
            add(made_video.frame(i), i / 25)
        raise KeyError
    assert len(made_video.read(tmp_path / "a.mp4")) == 7


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_recording_that_was_killed_plays_up_to_there(tmp_path: Path) -> None:
    """The process is killed in the middle: no code of ours runs after that."""
    code = """
import os, signal, sys
from pathlib import Path
import made_video
from facemask.media import mp4
with mp4.mp4_writer(Path(sys.argv[1]), live=True) as add:
    for i in range(200):
        add(made_video.frame(i), i / 25)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code, str(tmp_path / "a.mp4")]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert len(made_video.read(tmp_path / "a.mp4")) >= 50
