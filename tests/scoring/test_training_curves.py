import subprocess
import sys
from pathlib import Path

import pytest

from scripts.scoring import training_curves

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
    read = training_curves.read(tmp_path)
    assert sorted(read) == ["Loss/total_loss", "rate"]
    assert read["Loss/total_loss"].steps.tolist() == [10, 20, 30]
    assert read["Loss/total_loss"].values.tolist() == [3.0, 1.5, 1.0]


def test_a_file_cut_off_is_read_as_far_as_it_is_whole(tmp_path):
    write(tmp_path, "1", [(1.0, step, "loss", 1.0) for step in range(10)])
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    assert training_curves.read(tmp_path)["loss"].steps.tolist() == list(range(9))


def test_nothing_there(tmp_path):
    assert training_curves.read(tmp_path / "none") == {}


def test_without_tensorflow(tmp_path):
    write(tmp_path, "1", [(1.0, 1, "loss", 1.0)])
    code = (
        "import sys; from pathlib import Path; from scripts.scoring import training_curves;"
        f"print(training_curves.read(Path({str(tmp_path)!r}))['loss'].values, 'tensorflow' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[1.] False\n", ran.stderr


@pytest.mark.parametrize("tag", ["Loss/total_loss", "learning_rate", "DetectionBoxes_Precision/mAP"])
def test_what_the_api_writes_is_drawn(tmp_path, tag):
    from scripts.scoring import charts

    write(tmp_path, "1", [(1.0, step, tag, 1.0) for step in (0, 10)])
    [(title, svg)] = charts.training(training_curves.read(tmp_path))
    assert title in ("Loss", "Learning rate", "Validation")
    assert svg.startswith("<svg")
