import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from facemask.cli import curves_command
from facemask.core.errors import UserError
from facemask.evaluation import training_curves

ROOT = Path(__file__).parents[2]


def write(folder, name, points):
    """Event files as TensorFlow 2 writes them, through TensorBoard's own writer: (wall time, step, tag, value)."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    folder.mkdir(exist_ok=True)
    with (folder / f"events.out.tfevents.{name}").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=0, file_version="brain.Event:2").SerializeToString())
        for time, step, tag, value in points:
            summary = Summary(value=[Summary.Value(tag=tag, tensor=make_tensor_proto(value))])
            writer.write(Event(wall_time=time, step=step, summary=summary).SerializeToString())


def test_a_resumed_run_counts_what_was_written_last(tmp_path):
    write(tmp_path, "1", [(1.0, 10, "Loss/total_loss", 3.0), (2.0, 20, "Loss/total_loss", 2.0), (2, 20, "image", b"x")])
    write(tmp_path, "2", [(5.0, 20, "Loss/total_loss", 1.5), (6.0, 30, "Loss/total_loss", 1.0), (6, 30, "rate", 0.5)])
    read = training_curves.read_events(tmp_path)
    assert sorted(read) == ["Loss/total_loss", "rate"]
    assert read["Loss/total_loss"].steps.tolist() == [10, 20, 30]
    assert read["Loss/total_loss"].values.tolist() == [3.0, 1.5, 1.0]


def test_a_file_cut_off_is_read_as_far_as_it_is_whole(tmp_path):
    write(tmp_path, "1", [(1.0, step, "loss", 1.0) for step in range(10)])
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    assert training_curves.read_events(tmp_path)["loss"].steps.tolist() == list(range(9))


def test_nothing_there(tmp_path):
    assert training_curves.read_events(tmp_path / "none") == {}


def test_without_tensorflow(tmp_path):
    write(tmp_path, "1", [(1.0, 1, "loss", 1.0)])
    code = (
        "import sys; from pathlib import Path; from facemask.evaluation import training_curves;"
        f"print(training_curves.read_events(Path({str(tmp_path)!r}))['loss'].values, 'tensorflow' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[1.] False\n", ran.stderr


@pytest.mark.parametrize("tag", ["Loss/total_loss", "learning_rate", "DetectionBoxes_Precision/mAP"])
def test_what_the_api_writes_is_drawn(tmp_path, tag):
    from facemask.core import charts

    write(tmp_path, "1", [(1.0, step, tag, 1.0) for step in (0, 10)])
    [(title, svg)] = charts.panel_svgs(training_curves.training_panels(training_curves.read_events(tmp_path)))
    assert title in ("Loss", "Learning rate", "Validation")
    assert svg.startswith("<svg")


def test_curves_are_drawn_into_one_png(tmp_path, monkeypatch):
    run = tmp_path / "models" / "one"
    run.mkdir(parents=True)
    about = {"format": 1, "model": "ssd", "classes": ["a"], "records_digest": "0"}
    (run / "run.json").write_text(json.dumps(about))
    folders = {"run": "one", "models": tmp_path / "models", "reports": tmp_path / "reports"}
    with pytest.raises(UserError, match=str(run)):
        curves_command.main(**folders)
    write(
        run / "train", "1", [(s, s, tag, 1 / s) for s in (10, 20, 30) for tag in ("Loss/total_loss", "learning_rate")]
    )
    curves_command.main(**folders)
    narrow = Image.open(tmp_path / "reports" / "one" / "curves.png").size
    write(run / "eval", "1", [(20, 20, "DetectionBoxes_Precision/mAP@.50IOU", 0.5)])
    curves_command.main(**folders)
    wide = Image.open(tmp_path / "reports" / "one" / "curves.png").size
    assert wide[0] == pytest.approx(narrow[0] * 3 / 2)
    assert json.loads((tmp_path / "reports" / "one" / "curves.json").read_text())["settings"]["last_step"] == 30


def test_tensorboard_shows_the_runs(tmp_path):
    run = tmp_path / "one"
    run.mkdir()
    command = [sys.executable, "-m", "scripts.tensorboard", "--models", str(tmp_path)]
    none = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (none.returncode, "no training run" in none.stderr) == (2, True)
    (run / "run.json").write_text("{}")
    write(run / "train", "1", [(1.0, 10, "loss", 3.0)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, stdout=said, stderr=said) as process,
    ):
        try:
            end = time.monotonic() + 120
            found = []
            while not found and time.monotonic() < end and process.poll() is None:
                time.sleep(0.5)
                with contextlib.suppress(OSError):
                    found = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/data/runs", timeout=10))
            assert found == ["one/train"], (tmp_path / "said").read_text()
        finally:
            process.kill()
