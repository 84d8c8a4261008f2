"""Measure the speed of `make train`, and compare it with the API's plain `model_main_tf2` on the same pipeline config.

    python -m benchmarks.train_step [--size 640] [--batch 2] [--steps 40] [--ways auto,fp32,plain]

Every way trains SSD ResNet50 V1 FPN from random weights on the same drawn pictures, in a process of its own, one after
the other. Seconds a step are the median of the `steps_per_sec` that the run wrote for TensorBoard, without the first
ten steps, in which the graph is traced. The seconds of the whole run are those of its process. Plain `model_main_tf2`
is changed in one point: it runs ten steps in one call instead of a hundred, so that it writes its speed more often.
"""

import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import processes
from benchmarks.processes import ROOT

PLAIN = """
import functools, sys
from facemask.tfod import compat
compat.install()
from absl import app
from object_detection import model_lib_v2, model_main_tf2
model_lib_v2.train_loop = functools.partial(model_lib_v2.train_loop, num_steps_per_iteration=10)
app.run(model_main_tf2.main)
"""


@dataclass(frozen=True)
class Way:
    name: str
    command: list[str]
    run: Path


@dataclass(frozen=True)
class Figures:
    seconds_a_step: float
    whole_run: float
    peak_memory: int


def main(
    size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 640,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 2,
    steps: Annotated[int, typer.Option(help="Steps of each way.", min=30)] = 40,
    ways: Annotated[str, typer.Option(help="PRECISION of make train, and plain for model_main_tf2.")] = (
        "auto,fp32,plain"
    ),
    folder: Annotated[Path | None, typer.Option(help="Folder for the runs, which are removed afterwards.")] = None,
) -> None:
    """Measure, and print one table."""
    title = f"{size} px, batch {batch}, {steps} steps"
    table = Table("way", "s/step", "images/s", "whole run, s", "peak memory, GB", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    measured: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        annotations = make_records(Path(scratch))
        config = make_config(Path(scratch), annotations, size, batch, steps)
        for name in ways.split(","):
            way = way_of(name, Path(scratch), annotations, config, size, batch, steps)
            print(f"{way.name} ...", file=sys.stderr, flush=True)
            measured[name] = figures = measure(way)
            table.add_row(
                way.name,
                f"{figures.seconds_a_step:.2f}",
                f"{batch / figures.seconds_a_step:.2f}",
                f"{figures.whole_run:.0f}",
                f"{figures.peak_memory / 2**30:.1f}",
            )
    Console().print(table)
    if {"auto", "plain"} <= measured.keys():
        times = measured["plain"].seconds_a_step / measured["auto"].seconds_a_step
        print(f"make train is {times:.2f} times as fast as plain model_main_tf2")


def make_records(folder: Path) -> Path:
    annotations = folder / "annotations"
    step("sample", out=folder / "images", count=40)
    step("records", images=folder / "images", annotations=annotations)
    return annotations


def step(name: str, **options: object) -> None:
    given = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    subprocess.run([sys.executable, "-m", f"scripts.{name}", *given], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def make_config(folder: Path, annotations: Path, size: int, batch: int, steps: int) -> Path:
    """The pipeline config of `make train` for these options."""
    from facemask.core.label_map import LabelMap
    from facemask.data import manifest
    from facemask.tfod import model_zoo, pipeline_config, training_runs

    records = manifest.read_manifest(annotations)
    model = model_zoo.find_model("ssd_resnet50_v1_fpn_640x640")
    run = training_runs.Run(folder / "config", model.name, LabelMap(records.classes), records.digest)
    settings = training_runs.make_settings(records, annotations, run.folder, size=size, steps=steps, batch=batch)
    training_runs.prepare_run(run, pipeline_config.make_config(model.template, settings), None, {}, fresh=False)
    return run.config


def way_of(name: str, folder: Path, annotations: Path, config: Path, size: int, batch: int, steps: int) -> Way:
    if name == "plain":
        run = folder / "plain"
        flags = [f"--pipeline_config_path={config}", f"--model_dir={run}", f"--num_train_steps={steps}"]
        return Way("model_main_tf2, float32", [sys.executable, "-c", PLAIN, *flags], run)
    options = [f"--run={name}", f"--models={folder}", f"--annotations={annotations}", f"--precision={name}"]
    options += ["--checkpoint=none", f"--size={size}", f"--batch={batch}", f"--steps={steps}", "--eval-every=0"]
    return Way(f"make train, PRECISION={name}", [sys.executable, "-m", "scripts.train", *options], folder / name)


def measure(way: Way) -> Figures:
    """Run one way to its end."""
    from facemask.evaluation import training_curves

    whole, peak = processes.measure(way.command)
    series = training_curves.read_events(way.run / "train")["steps_per_sec"]
    speeds = [value for at, value in zip(series.steps, series.values, strict=True) if at > 10]
    return Figures(1 / statistics.median(speeds), whole, peak)


if __name__ == "__main__":
    typer.run(main)
