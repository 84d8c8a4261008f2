"""The options with which every step lets its user choose the detector (`choosing`). Imports nothing heavy."""

from pathlib import Path
from typing import Annotated

import typer

Detector = Annotated[
    str,
    typer.Option(
        help="ssd (the exported run), two_stage (faces first, then a classifier on each), or rescored (the exported "
        "run, its boxes scored again by the classifier)."
    ),
]
Faces = Annotated[
    str,
    typer.Option(help="What finds the faces for two_stage: yunet, res10, haar, or ssd (the exported run)."),
]
FacesModel = Annotated[
    Path | None, typer.Option(help="Your own file for it; empty: the published one, downloaded once.")
]
FacesSize = Annotated[
    int,
    typer.Option(min=0, max=8192, help="Longer side in pixels at which pictures are searched for faces; 0: its own."),
]
Classifier = Annotated[str, typer.Option(help="Name of the exported classifier for two_stage and rescored.")]
Runtime = Annotated[
    str, typer.Option(help="What runs the model: auto (the fastest there is), openvino, onnx, tflite, tensorflow.")
]
Precision = Annotated[str, typer.Option(help="What it computes in: auto, fp32, bf16, int8; auto never takes int8.")]
